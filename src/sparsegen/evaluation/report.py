"""Scores as a table, as files, and as pictures to look at."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sparsegen.evaluation.scores import Scores
from sparsegen.formats.files import atomic_path
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
    "lpips_vgg": Column("LPIPS ↓", 4, "version 0.1, VGG16, pictures scaled to [-1, 1]"),
    "alpha_iou": Column("alpha IoU ↑", 4, "intersection over union of alpha above 1/2"),
    "gradient_energy": Column("edges → 1", 3, "mean gradient magnitude over the truth's; below 1 is blurred"),
    "dead_share": Column("dead ↓", 3, "share of Gaussians with opacity under 0.02"),
    "input_gap": Column(
        "input gap ↑", 2, "PSNR (dB) with the right input picture minus with another object's"
    ),
}


@dataclass(frozen=True)
class Report:
    """Predictors' scores on one test set. `facts` are printed above the table, `notes` below it."""

    scores: Sequence[Scores]
    facts: dict[str, str]
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """The metrics that any predictor has."""
        return [key for key in COLUMNS if any(key in s.per_object for s in self.scores)]


def table(report: Report) -> str:
    """One line for each predictor, in Markdown."""
    rows = []
    for scores in report.scores:
        summary = scores.summary()
        cells = [f"{summary[k][0]:z.{COLUMNS[k].digits}f}" if k in summary else "" for k in report.columns]
        rows.append([scores.name, *cells])
    return markdown_table(["", *(COLUMNS[key].title for key in report.columns)], rows)


def problems(report: Report) -> list[str]:
    """One line for every object that no mean includes, so that none goes missing unseen."""
    lines = []
    for scores in report.scores:
        if scores.problems:
            total = len(scores.objects)
            lines.append(f"{scores.name}: {len(scores.problems)} of {total} objects not in the means:")
            lines += [f"  {name}: {problem}" for name, problem in scores.problems.items()]
    return lines


def markdown(report: Report) -> str:
    """The whole report as text."""
    parts = [
        "# Evaluation",
        "\n".join(f"- {key}: {value}" for key, value in report.facts.items()),
        table(report),
    ]
    parts.append("\n".join(f"- {COLUMNS[key].title}: {COLUMNS[key].definition}" for key in report.columns))
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    if lines := problems(report):
        parts.append("```\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts) + "\n"


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
                "metrics": {
                    key: {"mean": _number(mean), "standard_error": _number(error)}
                    for key, (mean, error) in scores.summary().items()
                },
            }
            for scores in report.scores
        ],
        "notes": list(report.notes),
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
    """`report.md`, `metrics.json` and `per_object.csv` in `folder`, each whole or not at all."""
    files = {
        "report.md": markdown(report),
        "metrics.json": json.dumps(as_dict(report), indent=2, allow_nan=False) + "\n",
        "per_object.csv": per_object_csv(report),
    }
    for name, text in files.items():
        with atomic_path(folder / name) as path:
            path.write_text(text, encoding="utf-8")


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
