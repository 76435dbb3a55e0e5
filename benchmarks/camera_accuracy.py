"""How well the camera of a single picture is found, on a packed set of held-out objects.

python benchmarks/camera_accuracy.py outputs/cars_test.pack --objects 10 --views 13 15 17 19 22
"""

import argparse

import numpy as np
import torch
from tqdm import tqdm

from sparsegen.data.packed import load_packed
from sparsegen.generation import Pipeline
from sparsegen.models.camera_head import directions_to
from sparsegen.pose import estimate_camera
from sparsegen.tables import markdown_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--model")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--views", type=int, nargs="+", default=[13, 15, 17, 19, 22])
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model), load_packed(args.data)
    rows = []
    for view in args.views:
        # The test spiral is the same for all.
        azimuth, elevation = (float(x) for x in directions_to(viewsets.cameras.centers[0, view]))
        errors, heights = [], []
        for index in tqdm(range(args.objects), leave=False):
            rgba = torch.from_numpy(viewsets.images[index, view].copy()).permute(2, 0, 1) / 255
            best = estimate_camera(pipeline, rgba)[0]
            errors.append(abs((best.azimuth - azimuth + 180) % 360 - 180))
            heights.append(abs(best.elevation - elevation))
        near = np.mean(np.array(errors) < 30)
        rows.append(
            [
                f"{view} ({azimuth:.0f}, {elevation:.0f})",
                f"{np.median(errors):.0f}",
                f"{near:.0%}",
                f"{np.median(heights):.0f}",
            ]
        )
    titles = ["view (azimuth, elevation)", "azimuth error, median", "within 30 degrees", "elevation error"]
    print(markdown_table(titles, rows))


if __name__ == "__main__":
    main()
