"""The loop: exact resume, skipped steps, endings, and that it learns."""

from __future__ import annotations

import itertools
import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from balls import ball_viewsets

from sparsegen.errors import InputError
from sparsegen.models import Network
from sparsegen.models.pretrained import load_config
from sparsegen.training import optimization
from sparsegen.training import trainer as trainer_module
from sparsegen.training.checkpoints import load_checkpoint
from sparsegen.training.config import DataConfig, save_config
from sparsegen.training.devices import build_fabric
from sparsegen.training.logs import RunLog
from sparsegen.training.optimization import MATRICES
from sparsegen.training.run import export_weights
from sparsegen.training.trainer import Trainer


def build(config, data, folder: str = "run", val=None, precision: str = "float32") -> Trainer:
    torch.manual_seed(config.seed)
    path = Path(config.runs) / folder
    path.mkdir(exist_ok=True)
    model = config.model.build()
    return Trainer(config, model, build_fabric("cpu", precision), path, data, val)


def anchors_of(model: Network) -> torch.Tensor:
    return model.state_dict()["unit_anchors"]


def flatten(value, prefix: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {prefix: value}
    return {k: v for key, child in items for k, v in flatten(child, f"{prefix}/{key}").items()}


def assert_equal_states(first: Trainer, second: Trainer) -> None:
    """Bit for bit, but for the time that passed."""
    a, b = flatten(first.state_dict()), flatten(second.state_dict())
    assert a.keys() == b.keys()
    for name, value in a.items():
        other = b[name]
        if isinstance(value, torch.Tensor):
            assert isinstance(other, torch.Tensor)
            assert torch.equal(value, other), name
        elif name != "/seconds_used":
            assert value == other, name


@pytest.mark.parametrize("matrices", MATRICES)
def test_resume_is_exact(tiny_config, two_balls, monkeypatch, matrices):
    monkeypatch.setattr(optimization, "_LEAST_SIDE", 16)
    optimizer = replace(tiny_config.optimizer, matrices=matrices)
    config = replace(tiny_config, self_conditioning_probability=0.5, optimizer=optimizer)
    through = build(config, two_balls, "through")
    assert through.fit() == "finished"
    assert through.step == config.max_steps

    first = build(config, two_balls, "stopped")
    assert first.fit(steps=4) == "sitting"
    torch.manual_seed(99)  # a new process would not have the old one's random state
    second = build(config, two_balls, "stopped")
    latest = second.checkpoints.latest()
    assert latest is not None
    second.resume(latest)
    assert second.fit() == "finished"
    assert_equal_states(second, through)
    # The test would not notice if nothing was random or nothing was learned.
    assert not torch.equal(anchors_of(first.model), anchors_of(second.model))


def test_some_of_two_queries_are_never_none(tiny_config, two_balls):
    model = replace(tiny_config.model, num_queries=2)
    data = DataConfig(train="balls.pack")
    config = replace(tiny_config, data=data, model=model, elastic_probability=1.0, max_steps=2)
    trainer = build(config, two_balls)
    rng = np.random.default_rng(0)
    assert {trainer.objective._queries(rng) for _ in range(50)} == {1, 2}
    assert trainer.fit() == "finished"
    save_config(config, trainer.folder / "config.yaml")
    assert load_config(export_weights(trainer.folder))["training"]["least_queries"] == 1


def test_another_seed_is_another_run(tiny_config, two_balls):
    first = build(tiny_config, two_balls, "a")
    second = build(replace(tiny_config, seed=1), two_balls, "b")
    second.model.load_state_dict(first.model.state_dict())
    first.fit(steps=1)
    second.fit(steps=1)
    assert not torch.equal(anchors_of(first.model), anchors_of(second.model))


def test_checkpoint_of_another_model_is_refused(tiny_config, two_balls):
    trainer = build(tiny_config, two_balls)
    trainer.fit(steps=1)
    path = trainer.checkpoints.latest()
    assert path is not None
    other = build(replace(tiny_config, model=replace(tiny_config.model, num_queries=8)), two_balls, "other")
    with pytest.raises(InputError, match=r"step_00000001\.pt: unit_anchors has shape \(16, 3\)"):
        other.resume(path)


def test_a_bad_loss_skips_the_step(tiny_config, two_balls, monkeypatch, caplog):
    trainer = build(tiny_config, two_balls)
    trainer.fit(steps=2)
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    average = anchors_of(trainer.ema.model).clone()
    good = trainer._loss

    def poisoned(batch):
        loss, terms = good(batch)
        return loss * torch.nan, terms

    monkeypatch.setattr(trainer, "_loss", poisoned)
    with caplog.at_level(logging.WARNING):
        trainer.fit(steps=1)
    assert "step 2 skipped: loss nan" in caplog.text
    assert trainer.step == 3
    assert all(torch.equal(before[name], p) for name, p in trainer.model.named_parameters())
    assert torch.equal(average, anchors_of(trainer.ema.model))

    monkeypatch.setattr(trainer, "_loss", good)
    trainer.fit(steps=1)
    assert trainer.bad_steps == 0
    assert not torch.equal(before["unit_anchors"], anchors_of(trainer.model))


def test_the_bar_says_what_is_left(tiny_config, two_balls, monkeypatch):
    shown = []
    monkeypatch.setattr(RunLog, "progress", lambda _, share, text: shown.append((share, text)))
    trainer = build(tiny_config, two_balls)
    trainer.fit(steps=6)
    assert [share for share, _ in shown] == [2 / 8, 4 / 8, 6 / 8]
    assert re.fullmatch(r"step 6  loss \d\.\d{4}  \d+\.\d samples/s  ETA \d+:\d\d", shown[-1][1])


def test_bfloat16_trains_the_same_network(tiny_config, two_balls):
    """Weights, cameras, splatting and the loss stay in float32."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer = build(tiny_config, two_balls, precision, precision=precision)
        trainer.fit(steps=2)
        assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
        losses[precision] = trainer.running_loss
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize("factor", [float("inf"), 1e6])
def test_many_bad_losses_end_the_run(tiny_config, two_balls, monkeypatch, factor):
    trainer = build(replace(tiny_config, bad_steps=3, max_steps=100), two_balls)
    trainer.fit(steps=2)
    good = trainer._loss
    monkeypatch.setattr(trainer, "_loss", lambda batch: (good(batch)[0] * factor, {}))
    with pytest.raises(InputError, match=r"3 steps in a row without a usable loss .*run/bad_batch\.pt"):
        trainer.fit()
    assert trainer.step == 4  # the third bad step is not counted
    latest = trainer.checkpoints.latest()
    assert latest is not None
    assert load_checkpoint(latest)["step"] == 2
    # The last batch is kept as plain tensors: what was seen, what was wanted, and of which objects.
    kept, batch = load_checkpoint(trainer.folder / "bad_batch.pt"), trainer.sampler.batch(4, 8)
    assert kept["step"] == 4
    assert kept["objects"] == [two_balls.names[i] for i in batch.object_ids]
    assert torch.equal(kept["inputs"]["images"], batch.inputs.images)
    assert torch.equal(kept["targets"]["cameras"]["viewmats"], batch.targets.cameras.viewmats)
    assert torch.equal(kept["times"], batch.times)


def test_a_run_ends_on_the_clock_and_a_sitting_before(tiny_config, two_balls, monkeypatch):
    ticks = itertools.count()  # one for each look at the clock: before the first step, and before each
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    config = replace(tiny_config, max_steps=None, max_time="5s", sitting="3s")
    first = build(config, two_balls)
    assert first.fit() == "sitting"
    assert first.seconds_used == 3
    second = build(replace(config, sitting=None), two_balls)
    latest = second.checkpoints.latest()
    assert latest is not None
    second.resume(latest)
    assert second.fit() == "finished"
    assert second.step > first.step
    assert second.seconds_used == 5


def test_the_log_of_a_resumed_run_has_no_lost_steps(tiny_config, two_balls):
    config = replace(tiny_config, log_every=1, max_steps=6)
    trainer = build(config, two_balls, val=two_balls)
    trainer.fit(steps=3)
    kept = trainer.checkpoints.latest()
    assert kept is not None
    trainer.fit(steps=2)  # as if this had never reached a checkpoint
    with (trainer.folder / "log.jsonl").open("a") as file:
        file.write('{"event": "tra')  # and was killed while it wrote a line
    resumed = build(config, two_balls, val=two_balls)
    resumed.resume(kept)
    resumed.fit()
    lines = [json.loads(line) for line in (resumed.folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "train"] == [1, 2, 3, 4, 5, 6]
    (validation,) = [line for line in lines if line["event"] == "validation"]
    assert {"psnr", "psnr_inside", "iou", "gap", "psnr_two", "sharpness", "dead"} < validation.keys()
    shares = [lines[0][f"share_{phase}"] for phase in ("data", "network", "splatting", "losses", "optimizer")]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_two_objects_are_learned_from_their_pictures(tiny_config, two_balls):
    config = replace(
        tiny_config, max_steps=120, batch_size=4, ema_decay=0.95, self_conditioning_probability=0
    )
    config.model = replace(config.model, dropout=0.0)
    held_out = ball_viewsets(torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]]), seed=5)
    trainer = build(config, two_balls, val=held_out)
    validator = trainer.validator
    assert validator is not None
    start = validator.scores(trainer.ema.model, trainer.renderer)
    trainer.fit()
    end = validator.scores(trainer.ema.model, trainer.renderer)
    assert end.psnr > start.psnr + 5
    assert end.iou > 0.8
    assert end.gap > 3  # red from a red ball's picture, blue from a blue one's
    assert end.dead < 0.5
