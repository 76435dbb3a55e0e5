"""Quality against the number of anchor queries that one checkpoint uses, on a packed set of held-out objects.

python benchmarks/elastic_queries.py outputs/cars_test.pack
"""

import argparse

import torch
from tqdm import tqdm

from sparsegen.data.packed import load_packed
from sparsegen.data.viewpoints import INPUT_VIEW
from sparsegen.generation import Pipeline
from sparsegen.metrics import psnr
from sparsegen.splatting import render
from sparsegen.tables import markdown_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--model")
    parser.add_argument("--queries", type=int, nargs="+", default=[16, 32, 48, 64, 96, 128])
    args = parser.parse_args()
    pipeline, viewsets = Pipeline.from_pretrained(args.model, "cpu"), load_packed(args.data)
    judged = torch.tensor([[v for v in range(viewsets.images.shape[1]) if v != INPUT_VIEW]])
    scores: dict[int, list[float]] = {queries: [] for queries in args.queries}
    for index in tqdm(range(len(viewsets)), leave=False):
        objects = torch.tensor([index])
        inputs = viewsets.views(objects, torch.tensor([[INPUT_VIEW]])).without_alphas()
        targets = viewsets.views(objects, judged)
        for queries in args.queries:
            gaussians = pipeline.generate(inputs, [0], queries=queries)
            pictures = render(gaussians, targets.cameras, depth=False).rgb.clamp(0, 1)
            scores[queries].append(psnr(pictures, targets.images).mean().item())
    expansion = pipeline.model.expansion
    rows = [[str(q), f"{q * expansion:,}", f"{sum(s) / len(s):.2f}"] for q, s in scores.items()]
    print(markdown_table(["queries", "Gaussians", "PSNR"], rows))


if __name__ == "__main__":
    main()
