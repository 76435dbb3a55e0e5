"""Two reports compared: planted differences are found, and only what belongs together is paired."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap as published
from torch import Tensor

from sparsegen.cli.main import main
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation import comparison, report
from sparsegen.evaluation.scores import Scores
from sparsegen.formats.images import save_image


def _write(folder: Path, psnr: Tensor, problems: dict[str, str] | None = None, first: int = 0) -> Path:
    """A report on objects o<first>, o<first + 1>, ... with a strip of one color for each."""
    names = tuple(f"o{first + n}" for n in range(len(psnr)))
    scores = Scores("m", Protocol("test", (0,)), names, (1,), {}, {"psnr": psnr}, problems or {})
    strips = {name: f"strips/{name}.png" for name in names}
    for n, file in enumerate(strips.values()):
        save_image(folder / file, torch.full((3, 4, 8), n / len(names)))
    report.write(report.Report([scores], {"data": "cars"}, strips={scores.name: strips}), folder)
    return folder


@pytest.fixture
def psnr() -> Tensor:
    return 20 + 2 * torch.randn(40, generator=torch.Generator().manual_seed(0))


def test_the_interval_is_the_one_that_scipy_draws() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, 60)
    theirs = published((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    low, high = comparison.bootstrap(values)
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.01)
    assert comparison.bootstrap(values) == (low, high)
    assert math.isnan(comparison.bootstrap(values[:1])[0])


def test_a_planted_gain_is_sure_and_noise_is_not(tmp_path: Path, psnr: Tensor) -> None:
    noise = torch.randn(40, generator=torch.Generator().manual_seed(1))
    a = comparison.load(_write(tmp_path / "a", psnr))
    better = comparison.load(_write(tmp_path / "better", psnr + 0.5 + 0.2 * noise))
    same = comparison.load(_write(tmp_path / "same", psnr + 0.2 * (noise - noise.mean())))
    (gain,) = comparison.compare(a, better)
    assert gain.sure
    assert gain.low < gain.mean < gain.high
    assert gain.mean == pytest.approx(0.5 + 0.2 * noise.mean().item(), abs=1e-3)
    # Pair by pair: the objects' own spread of 2 dB is not in the interval.
    assert gain.high - gain.low == pytest.approx(2 * 1.96 * 0.2 / math.sqrt(40), rel=0.4)
    (none,) = comparison.compare(a, same)
    assert not none.sure


def test_two_objects_prove_nothing(tmp_path: Path, psnr: Tensor) -> None:
    a = comparison.load(_write(tmp_path / "a", psnr[:2]))
    b = comparison.load(_write(tmp_path / "b", psnr[:2] + 1))
    (found,) = comparison.compare(a, b)
    assert found.low > 0
    assert not found.sure
    assert "too few" in comparison.difference_table([found]).rows[0]


def test_the_command_names_the_objects_that_changed_most(
    tmp_path: Path, psnr: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = psnr.clone()
    changed[7] -= 5
    changed[21] += 4
    a, b = _write(tmp_path / "a", psnr), _write(tmp_path / "b", changed)
    assert main(["eval", "compare", str(a), str(b), "-o", str(tmp_path / "page.html")]) == 0
    text = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| o")]
    assert rows == ["o7", "o21"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 4  # both objects, in A and in B


def test_only_objects_scored_in_both_are_paired(tmp_path: Path, psnr: Tensor) -> None:
    spoiled = psnr.clone()
    spoiled[3] = torch.nan
    a = comparison.load(_write(tmp_path / "a", spoiled, {"o3": "NaN in the render of view 1"}))
    b = comparison.load(_write(tmp_path / "b", psnr, first=2))
    (found,) = comparison.compare(a, b)
    assert found.count == 37
    said = str(comparison.document(a, b))
    assert "for a problem in A or B: o3" in said
    assert "Only in A: 2 objects, o0, o1" in said
    assert "Only in B: 2 objects, o40, o41" in said
    other = comparison.load(_write(tmp_path / "other", psnr, first=100))
    with pytest.raises(InputError, match="no object was scored in both"):
        comparison.compare(a, other)


def test_equal_reports_differ_in_nothing(tmp_path: Path, psnr: Tensor) -> None:
    a = comparison.load(_write(tmp_path / "a", psnr))
    (found,) = comparison.compare(a, a)
    assert (found.mean, found.low, found.high, found.sure) == (0, 0, 0, False)
    assert "No object's PSNR changed" in str(comparison.document(a, a))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "metrics.json"),
        (lambda folder: (folder / "metrics.json").write_text("[1]"), "not a report's metrics"),
        (lambda folder: (folder / "metrics.json").write_text(json.dumps({"predictors": []})), "not a whole"),
        (
            lambda folder: (folder / "per_object.csv").write_text("predictor,object,psnr\nm,a,x"),
            "not a whole",
        ),
        (lambda folder: (folder / "per_object.csv").write_bytes(b""), "empty"),
    ],
)
def test_folders_that_are_no_reports_are_one_line(
    tmp_path: Path, psnr: Tensor, spoil: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = _write(tmp_path / "a", psnr), _write(tmp_path / "b", psnr)
    assert callable(spoil)
    spoil(b)
    assert main(["eval", "compare", str(a), str(b), f"-o={tmp_path / 'page.html'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "page.html").exists()


def test_a_missing_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "compare", str(tmp_path / "no"), str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such report" in line
