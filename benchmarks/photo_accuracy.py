"""How well opaque photographs become objects: posed pictures are laid over drawn and photographed
backgrounds, with others of their kind parked beside them, and cut out again, and their cameras estimated, as
`generate` does.

Prints how well the objects were cut out; how many cameras are right, within 30 degrees of azimuth and 10 of
elevation; and PSNR in dB at all other views of the object, with the true cameras and the estimated ones: from
the true cut-outs, and from what was found. Nothing found is a wrong camera, and has no PSNR in any row. Give
it large pictures, as photographs are. With `--boxed` each is cut out in a box around the object that is a
little too large.

sparsegen data cars cars_384.pack -n 10 --split val --size 384 --views 5 --pack
python benchmarks/photo_accuracy.py cars_384.pack backgrounds/
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from cutout_accuracy import loose_box
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sparsegen.box import Box
from sparsegen.cameras import Cameras
from sparsegen.data.loading import load_viewsets
from sparsegen.errors import InputError
from sparsegen.formats.cutout import whole
from sparsegen.generation import Pipeline
from sparsegen.matting import remove_background
from sparsegen.metrics import alpha_iou
from sparsegen.models.camera_head import directions_to
from sparsegen.pose import estimate_camera, view_from
from sparsegen.splatting import render
from sparsegen.tables import markdown_table
from sparsegen.training.scenes import Scenery, before_backgrounds, load_photographs
from sparsegen.views import Views


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="packed file or folder of posed pictures with alpha")
    parser.add_argument("backgrounds", type=Path, help="a folder of photographs, searched with all below it")
    parser.add_argument("--model")
    parser.add_argument("--boxed", action="store_true", help="with a box around each object")
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model), load_viewsets(args.data)
    scenery = Scenery(viewsets, load_photographs(args.backgrounds))
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    boxes = np.random.default_rng(0)  # of its own, so that the photographs are the same without boxes
    overlaps: list[float] = []
    scores: dict[str, list[list[float]]] = {"true": [], "found": []}
    for index in tqdm(range(len(viewsets)), leave=False):
        objects = torch.from_numpy(viewsets.images[index].copy()).permute(0, 3, 1, 2) / 255
        cameras = viewsets.cameras[index]
        photos, coverages = before_backgrounds(
            scenery, objects[:, :3], objects[:, 3], rng, generator, developed=False
        )
        for view in range(len(photos)):
            box = loose_box(coverages[view], boxes) if args.boxed else None
            found = cut_out(photos[view], args.model, box)
            overlaps.append(0.0 if found is None else float(alpha_iou(found[3], coverages[view])))
            own = score(pipeline, objects[view], view, objects, cameras)
            if found is None:
                scores["true"].append([*own[:2], np.nan, np.nan])
                scores["found"].append([180.0, 90.0, np.nan, np.nan])
            else:
                scores["true"].append(own)
                scores["found"].append(score(pipeline, found, view, objects, cameras))
    good = np.array(overlaps)
    print(
        f"{len(good)} cut-outs: intersection over union {np.median(good):.3f} in the median, "
        f"{good.mean():.3f} in the mean, above 0.9 for {np.mean(good > 0.9):.0%}\n"
    )
    rows = []
    for name, values in scores.items():
        turns, rises, known, estimated = np.array(values).T
        right = (turns < 30) & (rises < 10)
        medians = [f"{np.median(each):.0f}" for each in (turns, rises)]
        shares = [f"{np.mean(each):.0%}" for each in (turns > 150, right)]
        rows.append([name, *medians, *shares, *(f"{np.nanmean(each):.2f}" for each in (known, estimated))])
    titles = ["azimuth error", "elevation error", "turned around", "right", "camera known", "estimated"]
    print(markdown_table(["cut-out", *titles], rows))


def cut_out(
    photo: Float[Tensor, "3 h w"], model: str | None, box: Box | None
) -> Float[Tensor, "4 h w"] | None:
    """The object of an opaque photograph, or None where none is found."""
    try:
        return remove_background(torch.cat([photo, torch.ones_like(photo[:1])]), model=model, box=box).rgba
    except InputError:
        return None


@torch.no_grad()
def score(
    pipeline: Pipeline,
    rgba: Float[Tensor, "4 h w"],
    view: int,
    objects: Float[Tensor, "v 4 h w"],
    cameras: Cameras,
) -> list[float]:
    """How far the camera that is estimated for one of an object's views is from the true one, in degrees of
    azimuth and of elevation; PSNR at the other views with the true camera, and with the estimated one."""
    size = pipeline.model.config.image_size
    azimuth, elevation = (float(angle) for angle in directions_to(cameras.centers[view]))
    best = estimate_camera(pipeline, rgba)[0]
    image, alpha = whole(rgba, size)
    small = cameras.resized(size, size)
    in_place = Views(image[None, None], small[view][None, None], alpha[None, None])
    others = [other for other in range(len(objects)) if other != view]
    truth = torch.stack([whole(objects[other], size)[0] for other in others])
    found = []
    for views in (in_place, view_from(pipeline, rgba, best.azimuth, best.elevation)):
        rendering = render(pipeline.reconstruct(views), small[others][None], depth=False)
        found.append(float(-10 * (rendering.rgb[0] - truth).square().mean((1, 2, 3)).log10().mean()))
    return [*best.away_from(azimuth, elevation), *found]


if __name__ == "__main__":
    main()
