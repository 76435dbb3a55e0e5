"""Ablation runs: one switch each, skipped when finished, and tables that say what the logs say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from balls import ball_viewsets
from small import NETWORK

from sparsegen.data.packed import save_packed
from sparsegen.errors import InputError
from sparsegen.training import ablations
from sparsegen.training.ablations import Run, ablation_table, carry_out, ordering, plan, prefix_psnr

SMALL = [*NETWORK, "batch_size=2", "device=cpu", "precision=float32"]


@pytest.fixture
def settings(tmp_path) -> list[str]:
    path = tmp_path / "balls.pack"
    save_packed(ball_viewsets(torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]])), path)
    return [f"data.train={path}", f"data.val={path}", *SMALL]


def finished(run: Run, psnr: float, gap: float = 1.0, step: int = 4) -> None:
    """The log of a run that has got this far."""
    run.folder.mkdir(parents=True)
    entry = {"event": "validation", "step": step, "psnr": psnr, "gap": gap}
    (run.folder / "log.jsonl").write_text(json.dumps(entry) + "\n")


def test_runs_differ_from_the_full_network_in_their_switch_and_seed_only(tmp_path):
    runs = plan(["data.train=x", *SMALL], tmp_path, steps=4, seeds=2, queries=[8])
    assert [(run.variant, run.seed) for run in runs[:11]] == [
        ("full", 0), ("flow=off", 0), ("position_encoding=off", 0), ("anchors=fixed_random", 0),
        ("anchor_sampling=off", 0), ("symmetric=off", 0), ("corrections=off", 0), ("feedback=off", 0),
        ("slopes=off", 0), ("registers=off", 0), ("full", 1),
    ]  # fmt: skip
    assert len({run.folder for run in runs}) == len(runs) == 21
    full, without_flow, *_ = (run.config for run in runs)
    assert replace(runs[10].config, seed=0, name=full.name) == full
    assert without_flow.model == replace(full.model, flow=False)
    assert runs[3].config == replace(full, anchors="fixed_random", name=runs[3].config.name)
    assert runs[9].config.model == replace(full.model, registers=0)
    assert runs[7].config.model == replace(full.model, feedback=False, slopes=False)
    fewer = runs[-1].config
    assert fewer.model == replace(full.model, num_queries=8)
    assert fewer.elastic_probability == 0
    assert all(run.config.max_steps == 4 for run in runs)


def test_finished_runs_are_skipped_and_other_settings_refused(settings, tmp_path, monkeypatch):
    full, without_flow = plan(settings, tmp_path, steps=4, seeds=1)[:2]
    carry_out([full])
    scores = full.scores()
    assert scores is not None
    assert [entry["step"] for entry in full.history()] == [1, 2, 3, 4]
    trained = []
    monkeypatch.setattr(ablations, "train", lambda config: trained.append(config.name) or "finished")
    carry_out([full, without_flow])
    assert trained == [without_flow.config.name]
    other = plan([*settings, "lr=1e-3"], tmp_path, steps=4, seeds=1)[0]
    with pytest.raises(InputError, match="full_0: holds a run of other settings"):
        carry_out([other])
    # All queries are the whole network, whose last score the log has.
    prefixes = prefix_psnr(full, [2, 16])
    assert prefixes[16] == pytest.approx(scores["psnr"], abs=1e-4)
    assert prefixes[2] != prefixes[16]


def test_a_signal_ends_all_runs_and_a_failed_run_only_itself(tmp_path, monkeypatch):
    runs = plan(["data.train=x", *SMALL], tmp_path, steps=4, seeds=1)[:3]
    trained = []

    def fake(config):
        trained.append(config.name)
        if len(trained) == 1:
            raise InputError("20 steps in a row without a usable loss")
        return "SIGTERM"

    monkeypatch.setattr(ablations, "train", fake)
    with pytest.raises(KeyboardInterrupt):
        carry_out(runs)
    assert trained == ["full_0", "flow_off_0"]


def test_differences_are_paired_by_seed(tmp_path):
    runs = plan(["data.train=x", *SMALL], tmp_path, steps=4, seeds=3)
    for run in runs:
        if run.variant == "full":
            finished(run, 20.0 + run.seed)
        if run.variant == "flow=off" and run.seed < 2:
            finished(run, 19.0 + run.seed + 0.1 * run.seed)
        if run.variant == "anchors=fixed_random":
            finished(run, 20.0, step=2)  # not at its end yet
    lines = ablation_table(runs).splitlines()
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines[2:]}
    assert cells["full"] == ["3", "21.00 ± 1.00", "", "1.00 ± 0.00", "24.02"]
    # 19.0 and 20.1 against 20 and 21: -1.0 and -0.9, whatever the seeds do.
    assert cells["flow=off"] == ["2", "19.55 ± 0.78", "-0.95 ± 0.07", "1.00 ± 0.00", "23.07"]
    assert cells["anchors=fixed_random"] == ["0", "", "", "", "not known"]
    assert ordering(runs) == "full > flow=off. Not told apart from full: none."


def test_a_difference_within_chance_is_not_called_one(tmp_path):
    runs = plan(["data.train=x", *SMALL], tmp_path, steps=4, seeds=3)
    for run in runs:
        if run.variant == "full":
            finished(run, 20.0)
        if run.variant == "position_encoding=off":
            finished(run, 20.0 + (0.3, -0.2, 0.1)[run.seed])
    expected = "position_encoding=off > full. Not told apart from full: position_encoding=off."
    assert ordering(runs) == expected


def test_runs_validated_on_one_object_have_no_input_gap_in_the_table(tmp_path):
    (run, *_) = plan(["data.train=x", *SMALL], tmp_path, steps=4, seeds=1)
    run.folder.mkdir(parents=True)
    (run.folder / "log.jsonl").write_text('{"event": "validation", "step": 4, "psnr": 20.0}\n')
    line = ablation_table([run]).splitlines()[2]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["full", "1", "20.00", "", "", "24.02"]


def test_a_half_written_log_line_is_no_score(tmp_path):
    run = plan(["data.train=x", *SMALL], Path(tmp_path), steps=4, seeds=1)[0]
    finished(run, 20.0)
    with (run.folder / "log.jsonl").open("a") as file:
        file.write('{"event": "valid')
    scores = run.scores()
    assert scores is not None
    assert scores["psnr"] == 20.0
