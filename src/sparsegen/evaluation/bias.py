"""Input-view bias: how much better the views are that went in (paper, table 5), and how quality falls with
the angle to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sparsegen.evaluation.document import Block, Plot, Section, Table, Text
from sparsegen.evaluation.plots import Series, line_chart
from sparsegen.evaluation.scores import Scores
from sparsegen.metrics import mean_std_error

BIN_DEGREES = 15


@dataclass(frozen=True)
class AngleBin:
    """Mean of a metric over the views whose angle to the nearest input view is in [low, high); over the input
    views themselves where both are 0."""

    low: float
    high: float
    count: int
    mean: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    def __str__(self) -> str:
        return f"{self.low:g}° to {self.high:g}°" if self.high else "0°, input views"


def input_view_bias(scores: Scores) -> dict[str, tuple[float, float]]:
    """For each metric the mean over objects, and its standard error, of m_cond - m_novel."""
    ids = scores.scored
    return {
        key: mean_std_error(values[ids].mean(dim=1) - scores.per_object[key][ids])
        for key, values in scores.at_inputs.items()
    }


def by_angle(scores: Scores, key: str) -> list[AngleBin]:
    """A metric over the angle to the nearest input view: on the input views, and in bins that hold any judged
    view."""
    if scores.angles is None:
        return []
    seen = scores.at_inputs[key][scores.scored]
    angles, values = scores.angles[scores.scored].flatten(), scores.per_view[key][scores.scored].flatten()
    angles, values = angles[~values.isnan()], values[~values.isnan()]
    places = (angles / BIN_DEGREES).long()
    bins = [AngleBin(0, 0, seen.numel(), seen.nanmean().item())]
    for place in places.unique().tolist():
        inside = values[places == place]
        low = place * BIN_DEGREES
        bins.append(AngleBin(low, low + BIN_DEGREES, len(inside), inside.mean().item()))
    return bins


def section(every: Sequence[Scores], titles: dict[str, tuple[str, int]]) -> Section | None:
    """The table and the curves; `titles` are the metrics' names and digits. None without input views."""
    scored = [scores for scores in every if scores.at_inputs]
    if not scored:
        return None
    keys = [key for key in titles if key in scored[0].at_inputs]
    rows = []
    for scores in scored:
        bias = input_view_bias(scores)
        # Not every metric is known of every predictor: pictures have no depth.
        cells = (_cell(*bias[key], titles[key][1]) if key in bias else "" for key in keys)
        rows.append([scores.name, *cells])
    blocks: list[Block] = [
        Text(
            "Δm = m_cond − m_novel: the metric on the input views minus that on the judged views. Views "
            "differ in difficulty too: what predictors without the input have is not bias. ±: standard error "
            "over objects."
        ),
        Table(["Δ", *(titles[key][0] for key in keys)], rows),
    ]
    if all(scores.angles is not None for scores in scored):
        blocks += _angles(scored, [key for key in ("psnr", "lpips_vgg", "st_lpips") if key in keys], titles)
    return Section("Input-view bias", blocks)


def _cell(mean: float, error: float, digits: int) -> str:
    return f"{mean:+.{digits}f}" + (f" ± {error:.{digits}f}" if math.isfinite(error) else "")


def _angles(scored: Sequence[Scores], keys: Sequence[str], titles: dict[str, tuple[str, int]]) -> list[Block]:
    blocks: list[Block] = []
    for key in keys:
        title, digits = titles[key]
        found = [by_angle(scores, key) for scores in scored]
        header = ["angle to the nearest input view", "views", *(scores.name for scores in scored)]
        rows = [
            [str(bin), str(bin.count), *(f"{b[n].mean:.{digits}f}" for b in found)]
            for n, bin in enumerate(found[0])
            if all(n < len(b) and b[n].low == bin.low for b in found)
        ]
        chart = line_chart(
            [
                Series(scores.name, [b.middle for b in bins], [b.mean for b in bins])
                for scores, bins in zip(scored, found, strict=True)
            ],
            "angle to the nearest input view, degrees",
            title,
            [(bin.middle, bin.count) for bin in found[0]],
        )
        blocks += [Text(f"{title} over the angle to the nearest input view:"), Table(header, rows)]
        blocks.append(
            Plot(chart, f"{title} on the input views and in bins of {BIN_DEGREES}°; grey: number of views.")
        )
    return blocks
