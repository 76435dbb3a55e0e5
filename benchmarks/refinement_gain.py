"""What corrections inside the network, and refinement against the input picture after it, do to the input
view and to novel views, on held-out objects.

python benchmarks/refinement_gain.py outputs/cars_test.pack --steps 0 30 50 100
"""

import argparse

import torch
from tqdm import tqdm

from sparsegen.data.packed import load_packed
from sparsegen.data.viewpoints import INPUT_VIEW
from sparsegen.generation import Pipeline
from sparsegen.metrics import gradient_energy_ratio, psnr, ssim
from sparsegen.refinement import refine
from sparsegen.splatting import render
from sparsegen.tables import markdown_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--model")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 30, 50, 100])
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model, "cpu"), load_packed(args.data)
    judged = torch.tensor([[v for v in range(viewsets.images.shape[1]) if v != INPUT_VIEW]])
    uncorrected = "no corrections"
    scores: dict[str, list[list[float]]] = {row: [] for row in [uncorrected, *map(str, args.steps)]}
    for index in tqdm(range(len(viewsets)), leave=False):
        here = torch.tensor([index])
        inputs = viewsets.views(here, torch.tensor([[INPUT_VIEW]]))
        targets = viewsets.views(here, judged)
        start = pipeline(inputs)[0]
        objects = {uncorrected: pipeline.reconstruct(inputs, layers="uncorrected")[0]}
        for steps in args.steps:
            objects[str(steps)] = refine(start, inputs, steps) if steps else start
        for row, gaussians in objects.items():
            seen = render(gaussians, inputs.cameras[0], depth=False).rgb.clamp(0, 1)
            novel = render(gaussians, targets.cameras[0], depth=False).rgb.clamp(0, 1)
            truth = targets.images[0]
            values = (psnr(seen, inputs.images[0]), psnr(novel, truth), ssim(novel, truth))
            sharpness = gradient_energy_ratio(novel, truth)
            scores[row].append([v.mean().item() for v in (*values, sharpness)])
    rows = []
    for row, values in scores.items():
        means = torch.tensor(values).mean(0).tolist()
        rows.append([row, *(f"{m:.2f}" for m in means[:2]), *(f"{m:.3f}" for m in means[2:])])
    print(markdown_table(["steps", "input view PSNR", "novel views PSNR", "SSIM", "edges"], rows))


if __name__ == "__main__":
    main()
