"""What is written is what was scored, and nothing is left out unseen."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from sparsegen.data.protocols import Protocol
from sparsegen.evaluation import report
from sparsegen.evaluation.document import Picture, to_markdown
from sparsegen.evaluation.scores import Scores


@pytest.fixture
def example() -> report.Report:
    protocol = Protocol("test", (0,))
    names = ("a", "b", "c")
    nan = math.nan
    psnr = torch.tensor([[20.0, 22.0], [30.0, 32.0], [nan, nan]])
    dead = torch.tensor([0.25, 0.5, nan])
    model = Scores(
        "model",
        protocol,
        names,
        (1, 2),
        {"psnr": psnr},
        {"psnr": psnr.mean(dim=1), "dead_share": dead},
        {"c": "NaN or infinity in the render of view 2"},
    )
    perfect = torch.full((3, 2), math.inf)
    oracle = Scores("oracle", protocol, names, (1, 2), {"psnr": perfect}, {"psnr": perfect.mean(dim=1)}, {})
    return report.Report([model, oracle], {"data": "three objects"}, ["LPIPS not computed"])


def test_the_table_has_the_means_of_the_scored_objects(example: report.Report) -> None:
    lines = report.table(example).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "PSNR ↑", "dead ↓"]
    assert cells[2:] == [["model", "26.00", "0.375"], ["oracle", "inf", ""]]
    assert len({len(line) for line in lines}) == 1


def test_objects_with_problems_are_counted_and_named(example: report.Report) -> None:
    assert report.problems(example) == [
        "model: 1 of 3 objects not in the means:",
        "  c: NaN or infinity in the render of view 2",
    ]
    assert "1 of 3 objects not in the means" in to_markdown(report.document(example))


def test_files_hold_the_scores(example: report.Report, tmp_path: Path) -> None:
    report.write(example, tmp_path)
    stored = json.loads((tmp_path / "metrics.json").read_text())
    model, oracle = stored["predictors"]
    assert model["metrics"]["psnr"] == {"mean": 26, "standard_error": pytest.approx(5)}
    assert model["problems"] == {"c": "NaN or infinity in the render of view 2"}
    assert float(oracle["metrics"]["psnr"]["mean"]) == math.inf
    assert stored["notes"] == ["LPIPS not computed"]
    assert "dB, peak 1" in stored["definitions"]["psnr"]
    with (tmp_path / "per_object.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["predictor"], r["object"], r["psnr"], r["dead_share"]) for r in rows[:4]] == [
        ("model", "a", "21", "0.25"),
        ("model", "b", "31", "0.5"),
        ("model", "c", "", ""),
        ("oracle", "a", "inf", ""),
    ]
    assert rows[2]["problem"] == "NaN or infinity in the render of view 2"
    assert "three objects" in (tmp_path / "report.md").read_text()


def test_every_metric_says_what_it_is() -> None:
    assert all(column.definition for column in report.COLUMNS.values())


class _Page(HTMLParser):
    """What a browser would fetch, the tags left open, and the words."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_else_and_hides_nothing(example: report.Report, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 10, 20)).save(buffer, "PNG")
    picture = Picture(buffer.getvalue(), "<b> & friends")
    counts = torch.tensor([[3.0, 1.0], [1.0, 3.0], [math.nan, math.nan]])
    model = replace(example.scores[0], opacities=counts)
    report.write(replace(example, scores=[model, example.scores[1]], pictures=[picture]), tmp_path)
    text = (tmp_path / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    (source,) = page.fetched
    with Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))) as shown:
        assert shown.getpixel((0, 0)) == (200, 10, 20)
    assert "url(" not in text
    words = " ".join(page.words)
    for said in (
        "26.00",
        "inf",
        "LPIPS not computed",
        "<b> & friends",
        "NaN or infinity in the render of view 2",
    ):
        assert said in words
    assert "0 to 0.5: 0.5" in words  # half of the scored Gaussians are in each bin of opacity
