"""How well cameras of opaque photographs are found: posed pictures are laid over drawn and photographed
backgrounds, with others of their kind parked beside them, cut out again as `generate` does, and their cameras
estimated.

Prints how well the objects were cut out, and how many cameras are right, within 30 degrees of azimuth and 10
of elevation: from the true cut-outs, and from what was found; nothing found is a wrong camera. Give it large
pictures, as photographs are.

sparsegen data cars cars_384.pack -n 10 --split val --size 384 --views 5 --pack
python benchmarks/photo_camera.py cars_384.pack backgrounds/
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from sparsegen.data.loading import load_viewsets
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.matting import remove_background
from sparsegen.metrics import alpha_iou
from sparsegen.models.camera_head import directions_to
from sparsegen.pose import estimate_camera
from sparsegen.tables import markdown_table
from sparsegen.training.scenes import Scenery, before_backgrounds, load_photographs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="packed file or folder of posed pictures with alpha")
    parser.add_argument("backgrounds", type=Path, help="a folder of photographs, searched with all below it")
    parser.add_argument("--model")
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model), load_viewsets(args.data)
    scenery = Scenery(viewsets, load_photographs(args.backgrounds))
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    overlaps, errors = [], []
    for index in tqdm(range(len(viewsets)), leave=False):
        objects = torch.from_numpy(viewsets.images[index].copy()).permute(0, 3, 1, 2) / 255
        photos, coverages = before_backgrounds(scenery, objects[:, :3], objects[:, 3], rng, generator)
        for photo, coverage, center in zip(photos, coverages, viewsets.cameras.centers[index], strict=True):
            own = error(pipeline, torch.cat([photo, coverage[None]]), center)
            try:
                opaque = torch.cat([photo, torch.ones_like(photo[:1])])
                rgba = remove_background(opaque, model=args.model).rgba
                overlaps.append(float(alpha_iou(rgba[3], coverage)))
                errors.append([own, error(pipeline, rgba, center)])
            except InputError:
                overlaps.append(0.0)
                errors.append([own, (180.0, 90.0)])
    turns, rises = np.array(errors).transpose(2, 1, 0)
    right = ((turns < 30) & (rises < 10)).mean(1)
    found = np.array(overlaps)
    print(
        f"{len(found)} cut-outs: intersection over union {np.median(found):.3f} in the median, "
        f"{found.mean():.3f} in the mean, above 0.9 for {np.mean(found > 0.9):.0%}\n"
    )
    rows = []
    for name, turn, rise, share in zip(["true", "found"], turns, rises, right, strict=True):
        medians = [f"{np.median(each):.0f}" for each in (turn, rise)]
        rows.append([name, *medians, f"{np.mean(turn > 150):.0%}", f"{share:.0%}"])
    print(markdown_table(["cut-out", "azimuth error", "elevation error", "turned around", "right"], rows))


def error(
    pipeline: Pipeline, rgba: Float[Tensor, "4 h w"], center: Float[Tensor, "3"]
) -> tuple[float, float]:
    """How far the likeliest direction is from the true one, in degrees of azimuth and of elevation."""
    azimuth, elevation = (float(angle) for angle in directions_to(center))
    best = estimate_camera(pipeline, rgba)[0]
    return abs((best.azimuth - azimuth + 180) % 360 - 180), abs(best.elevation - elevation)


if __name__ == "__main__":
    main()
