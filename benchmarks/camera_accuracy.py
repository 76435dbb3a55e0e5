"""How well the camera of a single picture is found, on a packed set of held-out objects, and what that costs.

The cost is in dB of PSNR at all other views of the object: from the picture as it is with its true camera,
from its cut-out, framed as the camera head sees it and under its estimated camera, the same where the focal
length is known, and from its cut-out framed as a typical object. --tilt turns the cut-outs, one clockwise and
the next counterclockwise, as tilted cameras do.

python benchmarks/camera_accuracy.py outputs/cars_test.pack --objects 10 --views 13 15 17 19 22
"""

import argparse
import math

import numpy as np
import torch
from tqdm import tqdm

from sparsegen.data.packed import Viewsets, load_packed
from sparsegen.formats.cutout import level
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.models.camera_head import directions_to
from sparsegen.photos import FILM_DIAGONAL, frame
from sparsegen.pose import estimate_camera, view_from
from sparsegen.splatting import render
from sparsegen.tables import markdown_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--model")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--views", type=int, nargs="+", default=[13, 15, 17, 19, 22])
    parser.add_argument("--tilt", type=float, default=0.0, help="degrees")
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model), load_packed(args.data)
    size = pipeline.model.config.image_size
    rows = []
    for view in args.views:
        # The test spiral is the same for all.
        azimuth, elevation = (float(x) for x in directions_to(viewsets.cameras.centers[0, view]))
        turns, rises, scores = [], [], []
        for index in tqdm(range(args.objects), leave=False):
            rgba = torch.from_numpy(viewsets.images[index, view].copy()).permute(2, 0, 1) / 255
            if args.tilt:
                rgba = level(rgba, args.tilt if index % 2 else -args.tilt)
            best = estimate_camera(pipeline, rgba)[0]
            turn, rise = best.away_from(azimuth, elevation)
            turns.append(turn)
            rises.append(rise)
            focal = float(viewsets.cameras.Ks[index, view, 0, 0])
            focal_length = FILM_DIAGONAL * focal / math.hypot(*rgba.shape[1:])
            ways = [
                viewsets.views(np.array([index]), np.array([[view]])),
                view_from(pipeline, rgba, best.azimuth, best.elevation),
                view_from(pipeline, rgba, best.azimuth, best.elevation, focal_length),
                frame(rgba, size, best.azimuth, best.elevation),
            ]
            scores.append([elsewhere(pipeline.reconstruct(way), viewsets, index, view) for way in ways])
        rows.append(
            [
                f"{azimuth:.0f}, {elevation:.0f}",
                f"{np.median(turns):.0f}",
                f"{np.mean(np.array(turns) < 30):.0%}",
                f"{np.median(rises):.0f}",
                *(f"{score:.2f}" for score in np.mean(scores, axis=0)),
            ]
        )
    titles = ["azimuth, elevation", "azimuth error", "within 30 degrees", "elevation error"]
    print(markdown_table([*titles, "camera known", "estimated", "lens known", "typical frame"], rows))


@torch.no_grad()
def elsewhere(gaussians: Gaussians, viewsets: Viewsets, index: int, view: int) -> float:
    """Mean PSNR over the other views of an object."""
    others = [other for other in range(viewsets.images.shape[1]) if other != view]
    truth = viewsets.views(np.array([index]), np.array([others]))
    rendering = render(gaussians, truth.cameras, depth=False)
    return float(-10 * (rendering.rgb - truth.images).square().mean((2, 3, 4)).log10().mean())


if __name__ == "__main__":
    main()
