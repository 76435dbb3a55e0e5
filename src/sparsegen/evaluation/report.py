"""Scores as a table, as files, and as pictures to look at."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sparsegen.evaluation import bias
from sparsegen.evaluation.document import Block, Bullets, Document, Plot, Section, Table, Text
from sparsegen.evaluation.document import write as write_document
from sparsegen.evaluation.plots import histogram
from sparsegen.evaluation.scores import Scores
from sparsegen.formats.files import write_bytes
from sparsegen.tables import markdown_table


@dataclass(frozen=True)
class Column:
    """How a metric is printed, and what exactly it is."""

    title: str
    digits: int
    definition: str


COLUMNS = {
    "psnr": Column("PSNR ↑", 2, "dB, peak 1, of each view; mean over views, then objects"),
    "object_psnr": Column("PSNR inside ↑", 2, "the same over the pixels with true alpha above 1/2"),
    "ssim": Column(
        "SSIM ↑", 4, "as pytorch-msssim: 11-tap Gaussian, sigma 1.5, data range 1, windows inside the picture"
    ),
    "lpips_vgg": Column("LPIPS (VGG) ↓", 4, "version 0.1, VGG16, pictures scaled to [-1, 1]"),
    "lpips_alex": Column("LPIPS (AlexNet) ↓", 4, "version 0.1, AlexNet, pictures scaled to [-1, 1]"),
    "st_lpips": Column(
        "ST-LPIPS ↓", 4, "shift-tolerant, AlexNet, pictures scaled to [-1, 1]; not to be compared with LPIPS"
    ),
    "alpha_iou": Column("alpha IoU ↑", 4, "intersection over union of alpha above 1/2"),
    "depth_error": Column(
        "depth error ↓",
        4,
        "mean |expected depth − depth of the true surface| over the pixels where both have one (alpha above "
        "1/2), world units: the object's bounding box has diagonal 1",
    ),
    "gradient_energy": Column("edges → 1", 3, "mean gradient magnitude over the truth's; below 1 is blurred"),
    "dead_share": Column("dead ↓", 3, "share of Gaussians with opacity under 0.02"),
    "used_share": Column(
        "used ↑", 3, "share of Gaussians whose removal moves a channel of any pixel by more than 1/255"
    ),
    "query_spread": Column(
        "query spread", 3, "how far a query's Gaussians lie apart, over the same for Gaussians drawn by lot"
    ),
    "input_gap": Column(
        "input gap ↑", 2, "PSNR (dB) with the right input picture minus with another object's"
    ),
}


TITLES = {key: (column.title, column.digits) for key, column in COLUMNS.items()}

# Those of a section of their own.
_UTILIZATION = ("dead_share", "used_share", "query_spread")


@dataclass(frozen=True)
class Report:
    """Predictors' scores on one test set. `facts` are printed above the table, `notes` below it.

    `extras` are sections of their own, `pictures` those for the page, and `strips` the files of objects'
    pictures within the report's folder, by predictor and object; `measured` is more plain data for
    `metrics.json`.
    """

    scores: Sequence[Scores]
    facts: dict[str, str]
    notes: Sequence[str] = ()
    extras: Sequence[Section] = ()
    pictures: Sequence[Block] = ()
    utilization_pictures: Sequence[Block] = ()
    strips: dict[str, dict[str, str]] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The metrics that any predictor has."""
        return [key for key in COLUMNS if any(key in s.per_object for s in self.scores)]


def table(report: Report) -> str:
    """One line for each predictor, in Markdown."""
    scores = _score_table(report)
    return markdown_table(scores.header, scores.rows)


def problems(report: Report) -> list[str]:
    """One line for every object that no mean includes, so that none goes missing unseen."""
    lines = []
    for scores in report.scores:
        if scores.problems:
            total = len(scores.objects)
            lines.append(f"{scores.name}: {len(scores.problems)} of {total} objects not in the means:")
            lines += [f"  {name}: {problem}" for name, problem in scores.problems.items()]
    return lines


def document(report: Report) -> Document:
    """Everything that is to be read."""
    shown = [key for key in report.columns if key not in _UTILIZATION or key == "dead_share"]
    first = [
        Bullets([f"{key}: {value}" for key, value in report.facts.items()]),
        _score_table(report),
        Bullets([f"{COLUMNS[key].title}: {COLUMNS[key].definition}" for key in shown]),
    ]
    if report.notes:
        first.append(Bullets(report.notes))
    if lines := problems(report):
        first += [Text("Not in the means:"), Bullets([line.strip() for line in lines])]
    sections = [Section("", first)]
    if report.pictures:
        sections.append(Section("Objects", report.pictures))
    found = [bias.section(report.scores, TITLES), _utilization(report), *report.extras]
    return Document("Evaluation", [*sections, *(section for section in found if section)])


def _score_table(report: Report) -> Table:
    keys = [key for key in report.columns if key not in _UTILIZATION or key == "dead_share"]
    return Table(["", *(COLUMNS[key].title for key in keys)], _rows(report.scores, keys), bold=[0])


def _rows(scores: Sequence[Scores], keys: Sequence[str]) -> list[list[str]]:
    rows = []
    for one in scores:
        summary = one.summary()
        cells = [f"{summary[k][0]:z.{COLUMNS[k].digits}f}" if k in summary else "" for k in keys]
        rows.append([one.name, *cells])
    return rows


def _utilization(report: Report) -> Section | None:
    """What the Gaussians are used for (paper, figures 7 and 8)."""
    with_gaussians = [s for s in report.scores if s.opacities is not None]
    keys = [key for key in _UTILIZATION if key in report.columns]
    if not with_gaussians:
        return None
    header = ["", *(COLUMNS[key].title for key in keys)]
    blocks = [
        Table(header, _rows(with_gaussians, keys)),
        Bullets([f"{COLUMNS[key].title}: {COLUMNS[key].definition}" for key in keys]),
    ]
    plots = [_opacities(scores) for scores in with_gaussians]
    return Section("Utilization", [*blocks, *plots, *report.utilization_pictures])


def _opacities(scores: Scores) -> Plot:
    assert scores.opacities is not None
    shares = scores.opacities[scores.scored].sum(dim=0)
    shares = (shares / shares.sum()).tolist()
    edges = [n / len(shares) for n in range(len(shares) + 1)]
    return Plot(
        histogram(edges, shares, "opacity", "share of Gaussians"),
        f"Opacities of the Gaussians of {scores.name}, all scored objects.",
    )


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain data; infinities and NaN as the strings that `float` reads."""
    return {
        "sparsegen": version("sparsegen"),
        "facts": report.facts,
        "definitions": {key: COLUMNS[key].definition for key in report.columns},
        "predictors": [
            {
                "name": scores.name,
                "protocol": scores.protocol.name,
                "input_views": scores.protocol.input_views,
                "target_views": scores.target_views,
                "objects": len(scores.objects),
                "problems": scores.problems,
                "input_view_bias": {
                    key: _number(value) for key, (value, _) in bias.input_view_bias(scores).items()
                },
                "metrics": {
                    key: {"mean": _number(mean), "standard_error": _number(error)}
                    for key, (mean, error) in scores.summary().items()
                },
            }
            for scores in report.scores
        ],
        "notes": list(report.notes),
        "strips": report.strips,
        **report.measured,
    }


def per_object_csv(report: Report) -> str:
    """One line for each predictor and object; an object with a problem has empty cells and the problem."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["predictor", "object", *report.columns, "problem"])
    for scores in report.scores:
        for i, name in enumerate(scores.objects):
            problem = scores.problems.get(name, "")
            cells = [
                f"{scores.per_object[key][i].item():.6g}" if key in scores.per_object and not problem else ""
                for key in report.columns
            ]
            writer.writerow([scores.name, name, *cells, problem])
    return text.getvalue()


def write(report: Report, folder: Path) -> None:
    """The page, its Markdown, `metrics.json` and `per_object.csv` in `folder`, each whole or not at all."""
    write_document(document(report), folder, "report")
    write_bytes(
        folder / "metrics.json", (json.dumps(as_dict(report), indent=2, allow_nan=False) + "\n").encode()
    )
    write_bytes(folder / "per_object.csv", per_object_csv(report).encode())


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
