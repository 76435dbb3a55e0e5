"""Two reports on the same objects: what differs, how surely, and which objects changed most."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from sparsegen.errors import InputError
from sparsegen.evaluation.cost import Cost
from sparsegen.evaluation.document import Block, Bullets, Document, Picture, Section, Table, Text
from sparsegen.evaluation.report import COLUMNS
from sparsegen.evaluation.scaling import Point
from sparsegen.evaluation.scores import Scores
from sparsegen.formats.files import check_readable

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Resampling fewer objects than this gives intervals that are too narrow to say anything.
FEWEST = 10
# Objects shown on each side: those that lost most and those that won most.
SHOWN = 5


@dataclass(frozen=True)
class StoredReport:
    """The first predictor of a report folder: its numbers by metric and object, its pictures, and what one
    object costs, with all queries and with fewer."""

    folder: Path
    name: str
    facts: dict[str, str]
    values: dict[str, dict[str, float]]
    problems: dict[str, str]
    strips: dict[str, Path] = field(default_factory=dict)
    cost: Cost | None = None
    scaling: Sequence[Point] = ()


@dataclass(frozen=True)
class Difference:
    """Mean of B - A over `count` objects, and its confidence interval."""

    metric: str
    a: float
    b: float
    mean: float
    low: float
    high: float
    count: int

    @property
    def sure(self) -> bool:
        """Whether zero lies outside of an interval over enough objects."""
        return self.count >= FEWEST and (self.low > 0 or self.high < 0)


def load(folder: Path) -> StoredReport:
    """Read what `sparsegen eval` wrote into `folder`. Raises `InputError` where that cannot be read."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such report; give a folder that `sparsegen eval -o` wrote")
    stored = _read_json(check_readable(folder / "metrics.json"))
    path = check_readable(folder / "per_object.csv")
    try:
        predictor = stored["predictors"][0]
        name, problems = predictor["name"], dict(predictor["problems"])
        strips = {key: folder / file for key, file in stored["strips"].get(name, {}).items()}
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["predictor"] == name]
        values = {
            key: {row["object"]: float(row[key]) for row in rows if row.get(key)}
            for key in COLUMNS
            if any(row.get(key) for row in rows)
        }
        cost = Cost(**stored["cost"][name]) if "cost" in stored else None
        points = [Point(Cost(**point["cost"]), dict(point["metrics"])) for point in stored.get("scaling", ())]
        return StoredReport(folder, name, dict(stored["facts"]), values, problems, strips, cost, points)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder}: not a whole report of this version ({type(error).__name__}: {error}); evaluate again"
        ) from None


def as_stored(scores: Scores, folder: Path) -> StoredReport:
    """A predictor's numbers, as `load` will find them in the report in `folder`."""
    values = {
        key: {scores.objects[i]: per_object[i].item() for i in scores.scored}
        for key, per_object in scores.per_object.items()
    }
    return StoredReport(folder, scores.name, {}, values, scores.problems)


def compare(a: StoredReport, b: StoredReport) -> list[Difference]:
    """B - A for each metric that both have, over the objects that both scored.

    Raises `InputError` where no object is in both.
    """
    found = []
    for key in (key for key in COLUMNS if key in a.values and key in b.values):
        names = [
            name
            for name in a.values[key]
            if math.isfinite(a.values[key][name]) and math.isfinite(b.values[key].get(name, math.nan))
        ]
        if not names:
            continue
        left, right = (np.array([report.values[key][name] for name in names]) for report in (a, b))
        low, high = bootstrap(right - left)
        found.append(Difference(key, left.mean(), right.mean(), (right - left).mean(), low, high, len(names)))
    if not found:
        raise InputError(
            f"{a.folder} and {b.folder}: no object was scored in both; compare reports on the same data"
        )
    return found


def bootstrap(differences: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Percentile interval of the mean over objects drawn with replacement; NaN for a single object."""
    if len(differences) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(0)
    # In parts, so that thousands of objects take no more memory than a hundred.
    part = max(1, 2_000_000 // len(differences))
    means = [
        differences[generator.integers(0, len(differences), (count, len(differences)))].mean(axis=1)
        for count in _parts(RESAMPLES, part)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def changes(a: StoredReport, b: StoredReport) -> list[tuple[str, float]]:
    """Objects and how much their PSNR changed, from the largest loss to the largest gain."""
    before, after = (report.values.get("psnr", {}) for report in (a, b))
    pairs = [(name, after[name] - before[name]) for name in before if name in after]
    return sorted([pair for pair in pairs if math.isfinite(pair[1])], key=lambda pair: pair[1])


def difference_table(differences: Sequence[Difference]) -> Table:
    rows = []
    for one in differences:
        digits = COLUMNS[one.metric].digits
        numbers = [f"{one.a:z.{digits}f}", f"{one.b:z.{digits}f}", f"{one.mean:+z.{digits}f}"]
        interval = f"{one.low:+z.{digits}f} to {one.high:+z.{digits}f}" if math.isfinite(one.low) else ""
        differs = "too few" if one.count < FEWEST else "yes" if one.sure else "no"
        rows.append([COLUMNS[one.metric].title, *numbers, interval, differs, str(one.count)])
    header = ["", "A", "B", "B − A", f"{CONFIDENCE:.0%} interval", "differs", "objects"]
    bold = [n for n, one in enumerate(differences) if one.sure]
    return Table(header, rows, bold=bold)


def document(a: StoredReport, b: StoredReport) -> Document:
    """The whole comparison."""
    blocks: list[Block] = [Bullets([f"A: {_describe(a)}", f"B: {_describe(b)}"])]
    if a.facts.get("data") != b.facts.get("data") or a.facts.get("protocol") != b.facts.get("protocol"):
        blocks.append(Text("Data or protocol differ; objects of the same name are paired."))
    blocks += [
        difference_table(compare(a, b)),
        Text(
            f"Intervals: percentiles of the mean difference over {RESAMPLES} resamplings of the objects, "
            "pair by pair, with a fixed seed. They tell of other objects, not of other training runs."
        ),
    ]
    left_out = sorted({**a.problems, **b.problems})
    if left_out:
        blocks.append(Text(f"Not compared, for a problem in A or B: {', '.join(left_out)}."))
    for title, only in (("Only in A", _only(a, b)), ("Only in B", _only(b, a))):
        if only:
            blocks.append(Text(f"{title}: {len(only)} objects, {', '.join(only[:SHOWN])}"))
    return Document("Comparison", [Section("", blocks), _most_changed(a, b)])


def _most_changed(a: StoredReport, b: StoredReport) -> Section:
    found = changes(a, b)
    lost = [pair for pair in found[:SHOWN] if pair[1] < 0]
    won = [pair for pair in found[-SHOWN:][::-1] if pair[1] > 0]
    rows = [
        [name, f"{a.values['psnr'][name]:.2f}", f"{b.values['psnr'][name]:.2f}", f"{change:+.2f}"]
        for name, change in (*lost, *won)
    ]
    if not rows:
        return Section("Objects that changed most", [Text("No object's PSNR changed.")])
    blocks: list[Block] = [Table(["", "PSNR in A", "PSNR in B", "B − A"], rows)]
    for name, change in (*lost, *won):
        for letter, report in (("A", a), ("B", b)):
            strip = report.strips.get(name)
            if strip and strip.is_file():
                caption = f"{name} in {letter}: {report.values['psnr'][name]:.2f} dB ({change:+.2f})"
                blocks.append(Picture(strip.read_bytes(), caption))
    return Section("Objects that changed most", blocks)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return stored
    except ValueError:
        pass
    raise InputError(f"{path}: not a report's metrics; evaluate again")


def _only(one: StoredReport, other: StoredReport) -> list[str]:
    there = {name for values in other.values.values() for name in values} | set(other.problems)
    return sorted({name for values in one.values.values() for name in values} - there)


def _describe(report: StoredReport) -> str:
    return f"{report.folder.name}: {report.name}; {'; '.join(report.facts.values())}"


def _parts(total: int, part: int) -> list[int]:
    return [min(part, total - start) for start in range(0, total, part)]
