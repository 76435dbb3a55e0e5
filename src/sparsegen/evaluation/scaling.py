"""Quality against the number of anchor queries (paper, figure 6), beside size and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.evaluation import cost
from sparsegen.evaluation.cost import Cost
from sparsegen.evaluation.document import Block, Bullets, Plot, Section, Table
from sparsegen.evaluation.plots import Series, line_chart
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.scores import Scores

TITLE = "Scaling with queries"
# What the table tells, and what a chart is drawn of, where it was computed; `metrics.json` has all.
TOLD = ("psnr", "ssim", "lpips_vgg", "st_lpips", "alpha_iou", "depth_error", "dead_share", "used_share")
CHARTED = ("psnr", "lpips_vgg", "st_lpips")


@dataclass(frozen=True)
class Point:
    """Means over objects of every metric, and the cost, with `cost.queries` anchor queries."""

    cost: Cost
    metrics: Mapping[str, float]

    @property
    def queries(self) -> int:
        return self.cost.queries


def smaller(model: Generated, counts: Sequence[int]) -> dict[int, Generated]:
    """The model with each number of queries, fewest first.

    Raises `InputError` if it does not have so many.
    """
    most = model.pipeline.model.num_queries
    if counts and not most:
        raise InputError("--queries: this model has none; leave it out")
    if wrong := [count for count in counts if not 1 <= count <= most]:
        raise InputError(f"--queries {wrong[0]}: expected 1 to {most}, the model's number of queries")
    return {count: replace(model, queries=count) for count in sorted(set(counts))}


def points(
    models: Mapping[int, Generated], scores: Mapping[int, Scores], viewsets: Viewsets, seed: int
) -> list[Point]:
    """A point for each number of queries."""
    one = next(iter(scores.values()))
    named = {str(count): model for count, model in models.items()}
    costs = cost.measure(named, viewsets, one.protocol, one.scored, seed)
    return [
        Point(costs[str(count)], {key: mean for key, (mean, _) in found.summary().items()})
        for count, found in scores.items()
    ]


def section(points: Mapping[str, Sequence[Point]], titles: Mapping[str, tuple[str, int]]) -> Section:
    """Table and charts of the points of each model; `titles` are the metrics' names and digits."""
    every = [point for some in points.values() for point in some]
    keys = [key for key in TOLD if all(key in point.metrics for point in every)]
    rows = [
        [
            *(name, f"{point.queries}", *cost.cells(point.cost)),
            *(f"{point.metrics[key]:z.{titles[key][1]}f}" for key in keys),
        ]
        for name, some in points.items()
        for point in some
    ]
    header = ["", "queries", *cost.header(every[0].cost.device), *(titles[key][0] for key in keys)]
    blocks: list[Block] = [Table(header, rows), *charts(points, titles), Bullets(cost.NOTES)]
    return Section(TITLE, blocks)


def charts(points: Mapping[str, Sequence[Point]], titles: Mapping[str, tuple[str, int]]) -> list[Plot]:
    """Metrics over the number of queries, a curve for each model."""
    plots = []
    for key in CHARTED:
        curves = [
            Series(name, [point.queries for point in some], [point.metrics[key] for point in some])
            for name, some in points.items()
            if all(key in point.metrics for point in some)
        ]
        if curves:
            chart = line_chart(curves, "anchor queries", titles[key][0])
            plots.append(Plot(chart, f"{titles[key][0]} over the number of anchor queries."))
    return plots
