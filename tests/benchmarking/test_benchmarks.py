"""The benchmarks time what they say: the same pictures and the same Gaussians, whichever way."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch

from sparsegen.benchmarking import cold, network, splatting
from sparsegen.cli import bench
from sparsegen.errors import InputError
from sparsegen.models import presets

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
    monkeypatch.setattr(network, "paper", _small_paper)
    rows, remarks = network.measure(CPU, repeats=1, bfloat16=True)
    assert [row.what for row in rows] == [
        "paper, float32, the reference's way",
        "paper, float32",
        "paper, bfloat16",
    ]
    assert "a pipeline takes float32 here" in remarks[1]  # it is narrow
    assert "bfloat16 changes on average means" in remarks[2]
    monkeypatch.setattr(network, "interleaved", None)  # nothing is timed where the outputs differ
    monkeypatch.setattr(network, "SAME_OUTPUT", -1.0)
    with pytest.raises(RuntimeError, match="changes the Gaussians"):
        network.measure(CPU, repeats=1, bfloat16=False)


def test_only_the_references_way_does_everything_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "paper", _small_paper)
    model = network.paper_model(CPU)
    calls = Counter()
    for name in ("anchor_encoder", "position_encoder"):
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.update([name]))
    for head in model.heads:
        head.register_forward_hook(lambda *_: calls.update(["head"]))
    inputs = network.step_inputs(model.config.image_size, CPU)
    network.our_way(model, *inputs)
    calls.clear()
    network.our_way(model, *inputs)
    assert calls == {"head": 1}
    network.reference_way(model, *inputs)
    assert calls - Counter(head=1) == {"head": 2, "anchor_encoder": 1, "position_encoder": 1}


def test_random_weights_reach_the_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    """As initialised the paper's gates are shut; the model that is timed must depend on its input."""
    monkeypatch.setattr(network, "paper", _small_paper)
    model = network.paper_model(CPU)
    views, times = network.step_inputs(model.config.image_size, CPU)
    first = model(views, times)[-1]
    second = model(replace(views, images=1 - views.images), times)[-1]
    assert (first.means - second.means).abs().max() > 1e-3


@pytest.mark.slow
def test_a_cold_run_is_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage of the command is among those that its own clock tells, the pictures too."""
    monkeypatch.setattr(cold, "PRESETS", ("tiny",))
    rows, remarks = cold.measure(CPU, repeats=1)
    assert [row.what for row in rows] == [
        f"sparsegen generate, {model}, video included" for model in ("the shipped weights", "tiny")
    ]
    for remark in remarks:
        stages = re.findall(r"(\w[\w-]*) [\d.]+ s", remark)
        assert stages == ["imports", "model", "cut-out", "camera", "gaussians", "files", "pictures"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["flying"], "no benchmark 'flying': choose from splatting"), (["--repeats", "0"], "at least 1, got 0")],
)
def test_arguments_that_mean_nothing_are_refused(arguments: list[str], message: str) -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(InputError, match=message):
        bench.run(parser.parse_args(arguments))
