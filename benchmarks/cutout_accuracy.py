"""How well objects are cut out of photographs: cut-out pictures are laid over others, and cut out again.

Prints for every method the intersection over union of its coverage with the true one (above a half), 0 where
nothing is found, and how many are above 0.9. Objects lie without shadows, anywhere, on square parts of the
backgrounds. The method "box" is what "auto" does in a box around the object that is a little too large.

python benchmarks/cutout_accuracy.py cutouts/ backgrounds/ --methods network grabcut box
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from sparsegen.box import Box
from sparsegen.errors import InputError
from sparsegen.formats.cutout import is_cut_out, object_boxes
from sparsegen.formats.images import load_image, pictures_below, save_image
from sparsegen.matting import AUTO, remove_background
from sparsegen.metrics import alpha_iou
from sparsegen.tables import markdown_table

SIZE = 512
BOX = "box"
LOOSE = 0.04  # of the object's width or height, at most, that each edge of a box lies away from it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cutouts", type=Path, help="a folder of pictures with alpha")
    parser.add_argument("backgrounds", type=Path, help="a folder of pictures, searched with all below it")
    parser.add_argument("--methods", nargs="+", default=["grabcut"])
    parser.add_argument("--each", type=int, default=4, help="backgrounds for each object")
    parser.add_argument("--save", type=Path, help="also write the composed pictures to this folder")
    args = parser.parse_args()
    rng, boxes = np.random.default_rng(0), np.random.default_rng(0)
    objects = {path.stem: load_image(path) for path in pictures_below(args.cutouts)}
    backgrounds = [load_image(path)[:3] for path in pictures_below(args.backgrounds)]
    scores: dict[str, list[list[float]]] = {}
    for name, rgba in tqdm(objects.items(), leave=False):
        if not is_cut_out(rgba):
            raise SystemExit(f"{args.cutouts}: {name} has no alpha; give cut-out pictures")
        for number in range(args.each):
            background = backgrounds[rng.integers(len(backgrounds))]
            photo, truth = compose(rgba, background, rng)
            if args.save is not None:
                save_image(args.save / f"{name}_{number}.png", photo)
            box = loose_box(truth, boxes)
            found = [score(photo, truth, method, box) for method in args.methods]
            scores.setdefault(name, []).append(found)
    rows = [[name, *(f"{x:.2f}" for x in np.mean(found, axis=0))] for name, found in scores.items()]
    every = np.concatenate(list(scores.values()))
    rows.append(["all, median", *(f"{x:.3f}" for x in np.median(every, axis=0))])
    rows.append(["all, mean", *(f"{x:.3f}" for x in every.mean(axis=0))])
    rows.append(["all, above 0.9", *(f"{x:.0%}" for x in (every > 0.9).mean(axis=0))])
    print(markdown_table(["object", *(Path(method).name for method in args.methods)], rows))


def compose(
    rgba: Float[Tensor, "4 h w"], background: Float[Tensor, "3 h2 w2"], rng: np.random.Generator
) -> tuple[Float[Tensor, "3 s s"], Float[Tensor, "s s"]]:
    """The object, half to four fifths as wide or high as the picture, over a part of the background."""
    side = round(min(background.shape[1:]) * rng.uniform(0.5, 1.0))
    top, left = (int(rng.integers(length - side + 1)) for length in background.shape[1:])
    part = background[None, :, top : top + side, left : left + side]
    photo = F.interpolate(part, (SIZE, SIZE), mode="bilinear", antialias=True)[0]
    scale = SIZE * rng.uniform(0.5, 0.8) / max(rgba.shape[1:])
    size = [max(1, round(scale * length)) for length in rgba.shape[1:]]
    premultiplied = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])
    small = F.interpolate(premultiplied[None], size, mode="bilinear", antialias=True)[0]
    y, x = (int(rng.integers(SIZE // 20, SIZE - length - SIZE // 20)) for length in size)
    truth = torch.zeros(SIZE, SIZE)
    truth[y : y + size[0], x : x + size[1]] = small[3]
    window = photo[:, y : y + size[0], x : x + size[1]]
    window.copy_(small[:3] + (1 - small[3]) * window)
    return photo, truth


def loose_box(truth: Float[Tensor, "h w"], rng: np.random.Generator) -> Box:
    """A box around an object as people draw it."""
    top, bottom, left, right = object_boxes((truth > 0.5).float()[None])[0].tolist()
    across, down = right - left, bottom - top
    away = rng.uniform(0, LOOSE, 4) * [across, down, across, down]
    return Box(left - away[0], top - away[1], right + away[2], bottom + away[3])


def score(photo: Float[Tensor, "3 s s"], truth: Float[Tensor, "s s"], method: str, box: Box) -> float:
    """Intersection over union; 0 where nothing is found."""
    rgba = torch.cat([photo, torch.ones(1, SIZE, SIZE)])
    boxed = method == BOX
    try:
        cut = remove_background(rgba, AUTO if boxed else method, box=box if boxed else None)
    except InputError:
        return 0.0
    return float(alpha_iou(cut.rgba[3], truth))


if __name__ == "__main__":
    main()
