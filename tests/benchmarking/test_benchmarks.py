"""The benchmarks time what they say: the same pictures and the same Gaussians, whichever way."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
import torch

from sparsegen.benchmarking import network, splatting
from sparsegen.cli import bench
from sparsegen.errors import InputError
from sparsegen.models import presets
from sparsegen.splatting import render

CPU = torch.device("cpu")


def _small_paper() -> presets.ModelConfig:
    """The `paper` preset's design at a size that takes milliseconds."""
    config = presets.paper()
    encoder = replace(config.image_encoder, width=48, depth=1, heads=2)
    return replace(
        config,
        num_queries=8,
        width=48,
        heads=2,
        feed_forward=32,
        encoder_layers=1,
        decoder_layers=2,
        image_encoder=encoder,
    )


def test_the_scenes_look_alike_in_both_renderers() -> None:
    scene, cameras = splatting.scenes(1, 200, CPU), splatting.cameras(1, 2, 32, CPU)
    fast = render(scene, cameras, backend="cpu", depth=False)
    slow = render(scene, cameras, backend="reference", depth=False)
    torch.testing.assert_close(fast.rgb, slow.rgb, atol=2e-3, rtol=0)
    assert 0.05 < fast.alpha.mean() < 0.9  # the object is in the picture, and does not fill it


def test_splatting_is_measured_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splatting, "COUNT", 64)
    monkeypatch.setattr(splatting, "SMALL_COUNT", 16)
    rows = splatting.measure(CPU, repeats=1)
    assert [row.what.split(", ", 2)[2] for row in rows] == [
        "forward",
        "forward + backward",
        "forward, plain PyTorch",
        "forward",
        "forward + backward, plain PyTorch",
        "forward + backward",
    ]
    assert rows[3].ratio.endswith("x plain PyTorch")


def test_the_networks_two_ways_are_compared_before_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "preset", lambda _: _small_paper())
    rows, remarks = network.measure(CPU, repeats=1, bfloat16=True)
    assert [row.what for row in rows] == [
        "paper, float32, the reference's way",
        "paper, float32",
        "paper, bfloat16",
    ]
    assert "bfloat16 changes on average means" in remarks[1]
    monkeypatch.setattr(network, "SAME_OUTPUT", -1.0)
    with pytest.raises(RuntimeError, match="changes the Gaussians"):
        network.measure(CPU, repeats=1, bfloat16=False)


def test_random_weights_reach_the_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    """As initialised the paper's gates are shut; the model that is timed must depend on its input."""
    monkeypatch.setattr(network, "preset", lambda _: _small_paper())
    model = network.paper_model(CPU)
    views, times = network.step_inputs(model.config.image_size, CPU)
    first = model(views, times)[-1]
    second = model(replace(views, images=1 - views.images), times)[-1]
    assert (first.means - second.means).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["flying"], "no benchmark 'flying': choose from splatting"), (["--repeats", "0"], "at least 1, got 0")],
)
def test_arguments_that_mean_nothing_are_refused(arguments: list[str], message: str) -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(InputError, match=message):
        bench.run(parser.parse_args(arguments))
