"""Learning curves: what a log holds is what the picture shows."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sparsegen.errors import InputError
from sparsegen.evaluation.curves import write_curves

SVG = "{http://www.w3.org/2000/svg}"


def written(folder: Path, entries: list[dict]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def validation(step: int, **scores: float) -> dict:
    return {"event": "validation", "step": step, "seconds": 60.0 * step, "samples": 8 * step, **scores}


def test_every_validation_is_a_point_of_its_value(tmp_path):
    """Shares are drawn as percents."""
    entries = [validation(1, psnr=20.0, gap=1.0, dead=0.5), validation(2, psnr=24.0, gap=2.5)]
    run = written(tmp_path / "first", [{"event": "train", "step": 1, "loss": 9.0}, *entries])
    write_curves([run], tmp_path / "curves.svg")
    page = ElementTree.parse(tmp_path / "curves.svg").getroot()
    titles = [title.text for title in page.iter(f"{SVG}title")]
    assert titles == ["first: 1, 20", "first: 2, 24", "first: 1, 1", "first: 2, 2.5", "first: 1, 50"]
    circles = list(page.iter(f"{SVG}circle"))
    low, high = (float(circle.get("cy", 0)) for circle in circles[:2])
    assert high < low  # a better score stands higher


def test_several_runs_share_each_chart_and_no_two_charts_overlap(tmp_path):
    runs = [
        written(tmp_path / name, [validation(1, psnr=20.0, gap=g)]) for name, g in (("a", 1.0), ("b", 2.0))
    ]
    write_curves(runs, tmp_path / "curves.svg", axis="objects")
    page = ElementTree.parse(tmp_path / "curves.svg").getroot()
    titles = [title.text for title in page.iter(f"{SVG}title")]
    assert titles == ["a: 0.008, 20", "b: 0.008, 20", "a: 0.008, 1", "b: 0.008, 2"]
    boxes = [[float(c.get(k, 0)) for k in ("x", "y", "width", "height")] for c in page.findall(f"{SVG}svg")]
    for i, (x, y, w, h) in enumerate(boxes):
        assert x + w <= float(page.get("width", 0))
        assert y + h <= float(page.get("height", 0))
        assert all(x + w <= a or a + c <= x or y + h <= b or b + d <= y for a, b, c, d in boxes[:i])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "not found; expected the folder of a training run"),
        ("{", "not a training run's log"),
        ('{"event": "train", "step": 1}\n', "holds no validation yet"),
    ],
)
def test_what_is_no_run_is_named(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(InputError, match=expected) as caught:
        write_curves([tmp_path], tmp_path / "curves.svg")
    assert str(tmp_path / "log.jsonl") in str(caught.value)
    assert not (tmp_path / "curves.svg").exists()
