"""The training benchmark times one and the same step, split without a rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparsegen.benchmarking import training
from sparsegen.splatting.scenes import random_scene
from sparsegen.training.config import TrainConfig, compose_config
from sparsegen.training.dataset import usable_objects
from sparsegen.training.devices import forward
from sparsegen.training.objective import training_renderer

CPU = torch.device("cpu")
SMALL = [
    "model.image_size=32", "model.image_encoder.input_size=32", "model.image_encoder.table_size=4",
    "model.image_encoder.patch_size=8", "model.image_encoder.width=32", "model.image_encoder.heads=2",
    "model.image_encoder.depth=1", "model.width=32", "model.heads=2", "model.feed_forward=64",
    "model.num_queries=8", "model.expansion=2", "model.detail_width=16", "model.decoder_layers=2",
    "batch_size=2", "precision=float32", "max_steps=100", "device=cpu", "data.train=benchmark",
]  # fmt: skip


def small_recipe(*_: object) -> tuple[TrainConfig, list[str]]:
    return compose_config(SMALL), ["a remark"]


def test_a_step_is_split_into_phases_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "recipe", small_recipe)
    rows, remarks = training.measure(CPU, 1, {"float32": 10.0, "bfloat16": 10.0})
    what = "tiny, batch 2, float32"
    assert [row.what for row in rows] == [
        what,
        *(f"{what}: {phase}" for phase in ("data", "network", "splatting", "losses", "optimizer")),
        "tiny, batch 1, plain PyTorch splatting",
        "tiny, batch 1",
    ]
    step, *phases = (row.timing.median for row in rows[:6])
    assert sum(phases) == pytest.approx(step)
    assert min(phases) > 0
    assert rows[0].ratio == f"{2 / step:.2f} objects/s"
    assert (
        rows[-1].ratio == f"{rows[-2].timing.median / rows[-1].timing.median:.1f} x plain PyTorch splatting"
    )
    assert "a remark" in remarks


def test_the_slow_ways_draw_the_same_pictures() -> None:
    gaussians, cameras = random_scene(objects=2, views=2, count=32, size=16)
    expected = training_renderer(gaussians, cameras)
    for slow in (training.per_object, training.plain_pytorch):
        found = slow(gaussians, cameras)
        torch.testing.assert_close(found.rgb, expected.rgb, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.alpha, expected.alpha, atol=1e-4, rtol=1e-4)


def test_the_floor_counts_forward_and_backward() -> None:
    """A backward pass of matrix products has about twice the operations of the forward pass."""
    config = small_recipe()[0]
    sampling = replace(config.sampling, clean_probabilities=[0, 1.0], noised_probabilities=[1.0])
    network_only = replace(config, sampling=sampling, loss=replace(config.loss, ssim=0.0))
    with training._trainer(replace(network_only, elastic_probability=0.0)) as trainer:
        floor = training.count_floor(trainer, steps=1)
        batch = trainer.sampler.batch(0, 0)
        with training.MatrixOperations() as counter, torch.no_grad():
            forward(trainer.wrapped, batch.inputs, batch.times, None, trainer.model.expansion)
        once = counter.total
        assert 2.3 * once < floor.operations < 3.3 * once
        parameters = sum(p.numel() for p in trainer.model.parameters())
    seconds = floor.seconds(rate=1e9, bandwidth=1e9)
    assert seconds["network"] == pytest.approx(floor.operations / 1e9)
    assert seconds["optimizer"] == pytest.approx(36 * parameters / 1e9)


def test_operations_of_a_linear_layer() -> None:
    """Two for each weight and row forward, the same for each of the two gradients backward."""
    layer = torch.nn.Linear(5, 7)
    with training.MatrixOperations() as counter:
        layer(torch.rand(3, 5, requires_grad=True)).sum().backward()
    assert counter.total == 3 * (2 * 3 * 5 * 7)


def test_made_up_objects_can_be_learned_from() -> None:
    assert len(usable_objects(training.made_up_viewsets(3, 16), strict=True)) == 3


def test_a_recipe_without_picture_network_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("sparsegen.training.perceptual.file_in_package", lambda *_: None)
    config, remarks = training.recipe("paper", CPU)
    assert config.loss.perceptual == 0
    assert remarks[0].startswith("train: paper without its perceptual loss")
    assert training.recipe("tiny", CPU)[1] == []
