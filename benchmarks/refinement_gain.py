"""What refinement against the input picture does to the input view and to novel views, on held-out objects.

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
    scores: dict[int, list[list[float]]] = {steps: [] for steps in args.steps}
    for index in tqdm(range(len(viewsets)), leave=False):
        objects = torch.tensor([index])
        inputs = viewsets.views(objects, torch.tensor([[INPUT_VIEW]]))
        targets = viewsets.views(objects, judged)
        start = pipeline(inputs)[0]
        for steps in args.steps:
            gaussians = refine(start, inputs, steps) if steps else start
            seen = render(gaussians, inputs.cameras[0], depth=False).rgb.clamp(0, 1)
            novel = render(gaussians, targets.cameras[0], depth=False).rgb.clamp(0, 1)
            truth = targets.images[0]
            values = (psnr(seen, inputs.images[0]), psnr(novel, truth), ssim(novel, truth))
            sharpness = gradient_energy_ratio(novel, truth)
            scores[steps].append([v.mean().item() for v in (*values, sharpness)])
    rows = []
    for steps, values in scores.items():
        means = torch.tensor(values).mean(0).tolist()
        rows.append([str(steps), *(f"{m:.2f}" for m in means[:2]), *(f"{m:.3f}" for m in means[2:])])
    print(markdown_table(["steps", "input view PSNR", "novel views PSNR", "SSIM", "edges"], rows))


if __name__ == "__main__":
    main()
