"""How far samples from one picture differ, and at what cost: `python benchmarks/sample_diversity.py PACK`.

PACK holds objects on the test spiral (`sparsegen data cars ... --split test --pack`). In one step, sample 0
is one pass of the network and the others follow exemplars; with more steps, samples follow noise.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsegen.data.loading import load_viewsets
from sparsegen.generation import Pipeline
from sparsegen.metrics import psnr
from sparsegen.smoothing import photograph

INPUT = 17
# Cosine between the directions of the picture and of a view that shows the other side.
HIDDEN = -0.2


def main() -> None:
    parser = argparse.ArgumentParser(description="How far samples from one picture differ, and at what cost.")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--model", type=Path, help="model folder (default: shipped weights)")
    parser.add_argument("--every", type=int, default=5, help="one object of so many (default: 5)")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4])
    args = parser.parse_args()
    pipeline = Pipeline.from_pretrained(args.model)
    data = load_viewsets(args.pack)
    chosen = range(0, len(data), args.every)
    print(f"{len(chosen)} objects, {args.samples} samples each, from view {INPUT}; PSNR in dB")
    print("| steps | alike, all views | alike, hidden side | picture: sample 0 | others |", end="")
    print(" hidden side: sample 0 | others | best of all |")
    print("|---:|" + 7 * "---:|")
    for steps in args.steps:
        rows = [study(pipeline, data, i, steps, args.samples) for i in chosen]
        cells = " | ".join(f"{x:.1f}" for x in torch.stack(rows).mean(0).tolist())
        print(f"| {steps} | {cells} |", flush=True)


@torch.no_grad()
def study(pipeline: Pipeline, data, index: int, steps: int, samples: int) -> Tensor:
    """A row of the table, for one object."""
    everything = torch.arange(data.images.shape[1])
    truth = data.views(torch.tensor([index]), everything[None]).without_alphas()
    objects = pipeline(truth.select([INPUT]), steps=steps, samples=samples)
    pictures = torch.stack([photograph(g, truth.cameras[0])[0].clamp(0, 1) for g in objects])
    directions = F.normalize(truth.cameras.centers[0], dim=-1)
    hidden = directions @ directions[INPUT] < HIDDEN
    novel = everything != INPUT
    alike = torch.stack([psnr(a, b) for a, b in combinations(pictures, 2)])
    score = torch.stack([psnr(p, truth.images[0]) for p in pictures])
    behind = score[:, hidden].mean(1)
    values = [alike[:, novel].mean(), alike[:, hidden].mean(), score[0, INPUT], score[1:, INPUT].mean()]
    return torch.stack([*values, behind[0], behind[1:].mean(), behind.max()])


if __name__ == "__main__":
    main()
