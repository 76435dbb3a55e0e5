"""A table of reports: planted differences and spreads stand in it, and nothing is paired by mistake."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparsegen.cli.main import main
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation import ablation, comparison, report
from sparsegen.evaluation.contestants import name_and_path
from sparsegen.evaluation.cost import Cost
from sparsegen.evaluation.document import to_markdown
from sparsegen.evaluation.scores import Scores


def _write(folder: Path, psnr: Tensor, queries: int = 64, skip: int = 0) -> Path:
    """A report on objects o<skip>, o<skip + 1>, ... of a model with `queries` queries."""
    names = tuple(f"o{n}" for n in range(len(psnr)))[skip:]
    scores = Scores("m", Protocol("test", (0,)), names, (1,), {}, {"psnr": psnr[skip:]}, {})
    cost = Cost(queries, 4 * queries, 1.5 * queries, 2.0, 1.0, queries / 1000, "cpu")
    measured = {"cost": {"m": asdict(cost)}}
    report.write(report.Report([scores], {"data": "cars"}, measured=measured), folder)
    return folder


@pytest.fixture
def psnr() -> Tensor:
    return 20 + 2 * torch.randn(40, generator=torch.Generator().manual_seed(0))


def test_planted_differences_and_spreads_stand_in_the_table(
    tmp_path: Path, psnr: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = 0.2 * torch.randn(40, generator=torch.Generator().manual_seed(1))
    noise -= noise.mean()
    shifts = {"full": (0.0, 0.2, 0.4), "less": (-0.8, -1.2), "same": (0.2,)}
    named = []
    for name, some in shifts.items():
        for n, shift in enumerate(some):
            folder = _write(tmp_path / f"{name}{n}", psnr + shift + (name != "full") * noise)
            named.append(f"{name}={folder}")
    assert main(["eval", "compare", *named, f"-o={tmp_path / 'table.html'}"]) == 0
    base = psnr.mean().item() + 0.2
    lines = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()]
    (full,) = [line for line in lines if line[1:3] == ["full", "3"]]
    assert full[3] == f"{base:.2f} ± {statistics.stdev(shifts['full']):.2f}"
    models = json.loads((tmp_path / "table.json").read_text())["models"]
    assert [model["name"] for model in models] == ["full", "less", "same"]
    assert models[0]["minus_first"] == {}
    less, same = (model["minus_first"]["psnr"] for model in models[1:])
    assert less["mean"] == pytest.approx(-1.2, abs=1e-3)
    # Pair by pair: the objects' own spread of 2 dB is not in the interval.
    assert less["high"] - less["low"] == pytest.approx(2 * 1.96 * 0.2 / math.sqrt(40), rel=0.4)
    assert same["low"] < 0 < same["high"]
    assert models[1]["metrics"]["psnr"]["spread_of_runs"] == pytest.approx(
        statistics.stdev([0.8, 1.2]), abs=1e-3
    )
    assert "spread_of_runs" not in models[2]["metrics"]["psnr"]
    text = (tmp_path / "table.md").read_text()
    assert "-1.20" in text
    assert text.count(")* |") == 1  # only the planted loss is sure
    assert "Differences from full" in (tmp_path / "table.html").read_text()


def test_only_objects_scored_in_all_reports_count(tmp_path: Path, psnr: Tensor) -> None:
    spoiled = psnr.clone()
    spoiled[3] = torch.nan
    folders = [
        _write(tmp_path / "a", psnr),
        _write(tmp_path / "b", spoiled),
        _write(tmp_path / "c", psnr, skip=2),
    ]
    runs = ablation.group(["a", "b", "c"], [comparison.load(folder) for folder in folders])
    kept = [n for n in range(2, 40) if n != 3]
    for model in ablation.as_dict(runs)["models"]:
        assert model["metrics"]["psnr"]["objects"] == len(kept)
        assert model["metrics"]["psnr"]["mean"] == pytest.approx(psnr[kept].mean().item(), abs=1e-3)
    assert "for not being in all: o0, o1, o3." in to_markdown(ablation.document(runs))
    alone = comparison.load(_write(tmp_path / "d", psnr, skip=40))
    with pytest.raises(InputError, match="no object was scored in all"):
        ablation.document({**runs, "d": [alone]})


def test_checkpoints_of_several_sizes_make_a_curve(tmp_path: Path, psnr: Tensor) -> None:
    sizes = {"large": (64, 1.0), "small": (16, -1.0), "middle": (32, 0.0)}
    runs = {
        name: [comparison.load(_write(tmp_path / name, psnr + shift, queries))]
        for name, (queries, shift) in sizes.items()
    }
    (curve,) = ablation.query_curves(runs).values()
    assert [point.queries for point in curve] == [16, 32, 64]
    assert [point.metrics["psnr"] for point in curve] == sorted(point.metrics["psnr"] for point in curve)
    assert not ablation.query_curves({"large": runs["large"], "again": runs["large"]})


def test_names_of_models(tmp_path: Path) -> None:
    assert name_and_path("no rays=runs/b/weights") == ("no rays", Path("runs/b/weights"))
    assert name_and_path("runs/b/weights") == ("b", Path("runs/b/weights"))
    assert name_and_path("runs/b") == ("b", Path("runs/b"))
    (tmp_path / "lr=3").mkdir()
    assert name_and_path(str(tmp_path / "lr=3")) == ("lr=3", tmp_path / "lr=3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "a"], "expected two reports or more, got only a"),
        (["compare", "a", "b", "=c"], "'=c': expected NAME=FOLDER or FOLDER"),
        (["compare", "a", "b", "nowhere"], "nowhere: no such report"),
    ],
)
def test_mistakes_are_one_line_each(
    tmp_path: Path,
    psnr: Tensor,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        _write(tmp_path / name, psnr)
    assert main(["eval", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "comparison.html").exists()
