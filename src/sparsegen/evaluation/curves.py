"""Learning curves of training runs as one picture, from their logs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from sparsegen.errors import InputError
from sparsegen.evaluation.plots import Series, line_chart
from sparsegen.formats.files import write_bytes

LOG = "log.jsonl"
# What is drawn: a chart's vertical axis, by what values are multiplied, and their name in the log.
_CHARTS = (
    ("PSNR of novel views, dB", 1, "psnr"),
    ("the same from two views, dB", 1, "psnr_two"),
    ("the same inside the alpha, dB", 1, "psnr_inside"),
    ("input gap, dB", 1, "gap"),
    ("edges, gradient energy over the truth's", 1, "sharpness"),
    ("alpha IoU, %", 100, "iou"),
    ("training loss, thousandths", 1000, "loss"),
    ("dead Gaussians, %", 100, "dead"),
)
# Of a run's clock or of its samples, for the horizontal axis: the name in the log, a divisor, a title.
AXES = {
    "minutes": ("seconds", 60, "minutes of training"),
    "objects": ("samples", 1000, "thousand objects seen"),
}
_SVG = "http://www.w3.org/2000/svg"
_COLUMNS, _GAP = 2, 12


def write_curves(runs: Sequence[Path], path: Path, axis: str = "minutes") -> None:
    """Write an SVG with the validations of one or several runs, of folders with a `log.jsonl`."""
    if axis not in AXES:
        raise InputError(f"axis {axis}: expected {' or '.join(AXES)}")
    histories = {run.name: _validations(run) for run in runs}
    charts = []
    for y_title, factor, name in _CHARTS:
        series = [_series(run, entries, name, factor, axis) for run, entries in histories.items()]
        charts.append(line_chart([one for one in series if len(one.x)], AXES[axis][2], y_title))
    write_bytes(path, _in_columns(charts))


def _series(label: str, entries: Sequence[dict[str, float]], name: str, factor: float, axis: str) -> Series:
    """A score over time, where it was logged."""
    key, divisor, _ = AXES[axis]
    known = [entry for entry in entries if name in entry]
    return Series(label, [entry[key] / divisor for entry in known], [factor * entry[name] for entry in known])


def _validations(run: Path) -> list[dict[str, float]]:
    path = run / LOG
    try:
        entries = [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected the folder of a training run") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a training run's log ({error})") from None
    validations = [entry for entry in entries if entry.get("event") == "validation"]
    if not validations:
        raise InputError(f"{path}: holds no validation yet; train longer, with data.val set")
    return validations


def _in_columns(charts: Sequence[str]) -> bytes:
    """Charts side by side on white, in one SVG."""
    ElementTree.register_namespace("", _SVG)
    drawings = [ElementTree.fromstring(chart) for chart in charts]
    rows = [drawings[i : i + _COLUMNS] for i in range(0, len(drawings), _COLUMNS)]
    y, width = 0.0, max(sum(float(d.get("width", 0)) + _GAP for d in row) for row in rows)
    page = ElementTree.Element(f"{{{_SVG}}}svg")
    ElementTree.SubElement(page, f"{{{_SVG}}}rect", width="100%", height="100%", fill="white")
    for row in rows:
        x = 0.0
        for drawing in row:
            drawing.set("x", f"{x:g}")
            drawing.set("y", f"{y:g}")
            page.append(drawing)
            x += float(drawing.get("width", 0)) + _GAP
        y += max(float(drawing.get("height", 0)) for drawing in row) + _GAP
    page.set("viewBox", f"0 0 {width:g} {y:g}")
    page.set("width", f"{width:g}")
    page.set("height", f"{y:g}")
    return ElementTree.tostring(page)
