"""Several reports in one table (paper, table 3): what each model loses or gains against the first.

Reports of one name are runs of one model, with other seeds: their objects' scores are averaged, and their
means' spread is told.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsegen.errors import InputError
from sparsegen.evaluation import comparison, scaling
from sparsegen.evaluation.comparison import Difference, StoredReport
from sparsegen.evaluation.document import Block, Bullets, Document, Section, Table, Text
from sparsegen.evaluation.document import write as write_document
from sparsegen.evaluation.report import COLUMNS, TITLES
from sparsegen.evaluation.scaling import Point
from sparsegen.formats.files import write_bytes

Runs = Mapping[str, Sequence[StoredReport]]


def group(names: Sequence[str], reports: Sequence[StoredReport]) -> Runs:
    """The reports of each name, names in their first order."""
    runs: dict[str, list[StoredReport]] = {}
    for name, report in zip(names, reports, strict=True):
        runs.setdefault(name, []).append(report)
    return runs


def shared(runs: Runs) -> Runs:
    """The same runs with the metrics that all have, over the objects that all scored.

    Raises `InputError` where there is none.
    """
    every = [report for some in runs.values() for report in some]
    values: dict[str, set[str]] = {}
    for key in COLUMNS:
        scored = [{n for n, v in report.values.get(key, {}).items() if math.isfinite(v)} for report in every]
        if objects := set.intersection(*scored):
            values[key] = objects
    if not values:
        folders = ", ".join(str(report.folder) for report in every)
        raise InputError(f"{folders}: no object was scored in all; compare reports on the same data")
    return {
        name: [
            replace(
                r, values={k: {n: r.values[k][n] for n in r.values[k] if n in v} for k, v in values.items()}
            )
            for r in some
        ]
        for name, some in runs.items()
    }


def mean_of(reports: Sequence[StoredReport]) -> StoredReport:
    """One report with the means of the runs' scores, object by object; the runs have the same objects."""
    values = {
        key: {name: statistics.fmean(r.values[key][name] for r in reports) for name in objects}
        for key, objects in reports[0].values.items()
    }
    return replace(reports[0], values=values)


def spread(reports: Sequence[StoredReport], key: str) -> float:
    """Standard deviation of the runs' means over objects; NaN for a single run."""
    means = [statistics.fmean(report.values[key].values()) for report in reports]
    return statistics.stdev(means) if len(means) > 1 else math.nan


def differences(runs: Runs) -> dict[str, list[Difference]]:
    """Each model minus the first; `runs` are `shared`."""
    first, *others = runs
    base = mean_of(runs[first])
    return {name: comparison.compare(base, mean_of(runs[name])) for name in others}


def document(runs: Runs) -> Document:
    """The whole comparison."""
    told = shared(runs)
    every = [report for some in told.values() for report in some]
    counts = {len(objects) for objects in every[0].values.values()}
    words = [
        f"{max(counts)} objects, scored in all reports",
        "±: standard deviation of the runs' means, where a model has several runs",
    ]
    blocks: list[Block] = [Bullets([*every[0].facts.values(), *words]), _means(told)]
    if any(report.facts.get(key) != every[0].facts.get(key) for report in every for key in every[0].facts):
        blocks.insert(0, Text("Data, protocol or noise differ; objects of the same name are paired."))
    if left_out := _left_out(runs, told):
        blocks.append(Text(f"Not compared, for a problem in a report or for not being in all: {left_out}."))
    sections = [Section("", blocks)]
    if len(told) > 1:
        sections.append(difference_section(told))
    if curves := query_curves(told):
        sections.append(scaling.section(curves, TITLES))
    return Document("Models compared", sections)


def as_dict(runs: Runs) -> dict[str, Any]:
    """The comparison as plain data."""
    told = shared(runs)
    found = minus_first(told)
    models = []
    for name, some in told.items():
        mean = mean_of(some)
        metrics = {
            key: {
                "mean": statistics.fmean(objects.values()),
                "objects": len(objects),
                **({"spread_of_runs": spread(some, key)} if len(some) > 1 else {}),
            }
            for key, objects in mean.values.items()
        }
        models.append(
            {
                "name": name,
                "reports": [report.folder.name for report in some],
                "metrics": metrics,
                "minus_first": found.get(name, {}),
            }
        )
    return {"confidence": comparison.CONFIDENCE, "models": models}


def minus_first(runs: Runs) -> dict[str, dict[str, dict[str, float | None]]]:
    """`differences` as plain data, by model and metric."""
    return {
        name: {
            one.metric: {"mean": one.mean, "low": _number(one.low), "high": _number(one.high)} for one in some
        }
        for name, some in differences(runs).items()
    }


def query_curves(runs: Runs) -> dict[str, list[Point]]:
    """Quality over queries: of each report that has such a curve; and one through the other models, where
    they have different numbers of queries."""
    curves: dict[str, list[Point]] = {}
    single: list[Point] = []
    for name, some in runs.items():
        if some[0].scaling:
            curves[name] = list(some[0].scaling)
        elif some[0].cost and some[0].cost.queries:
            mean = mean_of(some)
            means = {key: statistics.fmean(objects.values()) for key, objects in mean.values.items()}
            single.append(Point(some[0].cost, means))
    if len({point.queries for point in single}) > 1:
        curves["one model each"] = sorted(single, key=lambda point: point.queries)
    return curves


def write(runs: Runs, folder: Path, name: str) -> Document:
    """Write the comparison as a page, Markdown and JSON under `name` in `folder`."""
    text = document(runs)
    write_document(text, folder, name)
    write_bytes(folder / f"{name}.json", (json.dumps(as_dict(runs), indent=2) + "\n").encode())
    return text


def _left_out(runs: Runs, told: Runs) -> str:
    """Names of the objects that some report has and the comparison has not."""
    reports = [report for some in runs.values() for report in some]
    every = {name for r in reports for objects in (*r.values.values(), r.problems) for name in objects}
    kept = {name for objects in next(iter(told.values()))[0].values.values() for name in objects}
    return ", ".join(sorted(every - kept))


def _means(runs: Runs) -> Table:
    """A line for each model: metrics, size and time."""
    keys = list(next(iter(runs.values()))[0].values)
    rows = []
    for name, some in runs.items():
        cells = []
        for key, objects in mean_of(some).values.items():
            digits, deviation = COLUMNS[key].digits, spread(some, key)
            cell = f"{statistics.fmean(objects.values()):z.{digits}f}"
            cells.append(cell if math.isnan(deviation) else f"{cell} ± {deviation:.{digits}f}")
        rows.append([name, str(len(some)), *cells, *_size_and_time(some)])
    titles = [COLUMNS[key].title for key in keys]
    return Table(["", "runs", *titles, "queries", "primitives", "float32, KB", "milliseconds"], rows)


def _size_and_time(reports: Sequence[StoredReport]) -> list[str]:
    costs = [report.cost for report in reports if report.cost]
    if not costs:
        return [""] * 4
    seconds = statistics.median(cost.seconds for cost in costs)
    first = costs[0]
    return [f"{first.queries}", f"{first.primitives}", f"{first.float32_kb:.1f}", f"{1000 * seconds:.0f}"]


def difference_section(runs: Runs) -> Section:
    """What each model has more or less than the first, and how surely; `runs` are `shared`."""
    found = differences(runs)
    rows = [
        [COLUMNS[some[0].metric].title, *map(_difference_cell, some)]
        for some in zip(*found.values(), strict=True)
    ]
    words = (
        f"In brackets: {comparison.CONFIDENCE:.0%} intervals, percentiles over {comparison.RESAMPLES} "
        "resamplings of the objects, pair by pair. They tell of other objects, not of other training runs.",
        f"*: zero lies outside of the interval, over at least {comparison.FEWEST} objects",
    )
    first = next(iter(runs))
    return Section(f"Differences from {first}", [Table(["", *found], rows), Bullets(words)])


def _difference_cell(one: Difference) -> str:
    digits = COLUMNS[one.metric].digits
    cell = f"{one.mean:+z.{digits}f}"
    if math.isfinite(one.low):
        cell += f" ({one.low:+z.{digits}f} to {one.high:+z.{digits}f})"
    return cell + "*" * one.sure


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
