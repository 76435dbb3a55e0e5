"""What comes after a network's first guess is worth, on held-out objects in pictures larger than its own:
corrections inside it, smoothing of its Gaussians for pictures of any size, refinement against the input
picture (`--refine`), and detail from it (`--detail`).

    sparsegen data cars large.pack -n 10 --split test --size 512 --pack
    python benchmarks/refinement_gain.py large.pack -o docs/detail.png
"""

import argparse
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from sparsegen.data.packed import load_packed
from sparsegen.data.viewpoints import INPUT_VIEW
from sparsegen.detail import STEPS, add_detail
from sparsegen.evaluation.sheet import spread
from sparsegen.formats.images import contact_sheet
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.metrics import gradient_energy_ratio, psnr, view_angles
from sparsegen.photos import as_large
from sparsegen.refinement import refine
from sparsegen.splatting import render
from sparsegen.tables import markdown_table
from sparsegen.views import Views

# Views at most so far from the input, or from its mirror image, are near; in degrees.
NEAR = 45.0
# What the picture shows, from the input view and so many others, each so large.
SHOWN, SIZE = 4, 256
PICTURED = ("truth", "as the network makes it", "smoothed", f"--detail, {STEPS} steps")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="packed viewset of large pictures")
    parser.add_argument("-o", "--output", type=Path, help="a picture of some of the objects")
    parser.add_argument("--objects", type=int, help="so many alone (default: all)")
    parser.add_argument("--pictured", nargs="+", metavar="NAME", help="objects in the picture (default: all)")
    parser.add_argument("--model")
    parser.add_argument("--steps", type=int, nargs="+", default=[STEPS])
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model, "cpu"), load_packed(args.data)
    scores: dict[str, list[list[float]]] = {}
    rows, labels = [], []
    for index in tqdm(range(len(viewsets))[: args.objects], leave=False):
        every = torch.arange(viewsets.images.shape[1])[None]
        truth = viewsets.views(torch.tensor([index]), every)
        objects = refined(pipeline, truth.select([INPUT_VIEW]), args.steps)
        others = [view for view in every[0].tolist() if view != INPUT_VIEW]
        shown = [INPUT_VIEW, *spread(others, SHOWN)]
        drawn = {"truth": truth.images[0]}
        for name, gaussians in objects.items():
            drawn[name] = render(gaussians, truth.cameras[0], depth=False).rgb.clamp(0, 1)
            scores.setdefault(name, []).append(judged(drawn[name], truth))
        if args.pictured is None or viewsets.names[index] in args.pictured:
            for name in PICTURED:
                rows.append([as_large(drawn[name][view], SIZE) for view in shown])
                labels.append(name)
    table = []
    for name, values in scores.items():
        means = torch.tensor(values).mean(0).tolist()
        table.append([name, *(f"{m:.2f}" for m in means)])
    print(markdown_table(["", "input view", "near views", "far views", "edges, near", "edges, far"], table))
    if args.output is not None:
        contact_sheet(rows, args.output, ["input", *["other views"] * SHOWN], labels)


def refined(pipeline: Pipeline, given: Views, steps: list[int]) -> dict[str, Gaussians]:
    """The object of one large view at every stage."""
    views = _small(given, pipeline.model.config.image_size)
    made, smooth = pipeline.sample(0, views), pipeline(views)[0]
    objects = {
        "without corrections": pipeline.reconstruct(views, layers="uncorrected")[0],
        "as the network makes it": made,
        "smoothed": smooth,
    }
    for count in steps:
        objects[f"--refine {count}"] = refine(smooth, given, count)
        detailed, _ = add_detail(smooth, given, pipeline.model.symmetric, count)
        objects[f"--detail, {count} steps"] = detailed
    return objects


def judged(rgb: Float[Tensor, "v 3 h w"], truth: Views) -> list[float]:
    """PSNR of the input view, of those near it and far from it, and the edges of the latter two."""
    given = truth.cameras[0, INPUT_VIEW : INPUT_VIEW + 1]
    away = [view_angles(truth.cameras[0], camera) for camera in (given, given.mirrored())]
    is_near = torch.stack(away).amin(0) <= NEAR
    near = [v for v in range(len(rgb)) if is_near[v] and v != INPUT_VIEW]
    far = [v for v in range(len(rgb)) if not is_near[v]]
    decibels, edges = psnr(rgb, truth.images[0]), gradient_energy_ratio(rgb, truth.images[0])
    parts = [decibels[[INPUT_VIEW]], decibels[near], decibels[far], edges[near], edges[far]]
    return [part.mean().item() for part in parts]


def _small(views: Views, size: int) -> Views:
    """The same views as the network takes them."""
    large = views.images.shape[-1]
    if large % size:
        raise SystemExit(f"pictures of {large} pixels: expected a multiple of the network's {size}")
    images = F.avg_pool2d(views.images.flatten(0, 1), large // size)[None]
    return Views(images, views.cameras.resized(size, size))


if __name__ == "__main__":
    main()
