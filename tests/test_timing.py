"""Candidates take turns, and the table says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsegen import timing
from sparsegen.benchmarking import report
from sparsegen.timing import Row, Timing, interleaved


def test_candidates_take_turns_after_warm_up() -> None:
    calls: list[str] = []
    timings = interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3, warmup=2
    )
    assert "".join(calls) == "aabb" + "ababab"
    assert all(len(timing.seconds) == 3 for timing in timings.values())


def test_the_median_is_not_moved_by_one_slow_run() -> None:
    measured = Timing((0.010, 0.012, 5.0, 0.011, 0.013))
    assert measured.median == 0.012
    assert measured.spread == (0.010, 5.0)


def test_the_matrix_rate_counts_two_operations_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(timing, "interleaved", lambda *_: {"product": Timing((0.5, 0.5, 0.5))})
    assert timing.matrix_rate(torch.float32, torch.device("cpu")) == 2 * 1024**3 / 0.5


def test_table_and_json_hold_the_same_runs(tmp_path: Path) -> None:
    rows = [
        Row("network", "slow way", Timing((2.0, 2.5, 1.5))),
        Row("network", "fast way", Timing((1.0, 1.0, 1.0)), "2.00 x slow way"),
    ]
    measured = report.Measured("a machine", {"float32": 150.4}, 3, rows, ["a remark"])
    lines = report.text(measured).splitlines()
    assert lines[1] == "matrix products: float32 150.4 GFLOP/s"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[2:] == [
        ["network", "slow way", "2,000.0", "1,500.0", "2,500.0", ""],
        ["network", "fast way", "1,000.0", "1,000.0", "1,000.0", "2.00 x slow way"],
    ]
    assert lines[-1] == "a remark"
    report.write_json(measured, tmp_path / "new" / "bench.json")
    stored = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert stored["rows"][0]["timing"]["seconds"] == [2.0, 2.5, 1.5]
