from __future__ import annotations

import copy
import math

import pytest
import torch

from sparsegen.errors import InputError
from sparsegen.models import SparseGen
from sparsegen.training.optimization import (
    OptimizerConfig,
    build_optimizer,
    learning_rate,
    set_learning_rate,
)


def test_learning_rate_closed_form():
    config = OptimizerConfig(lr=1.0, warmup_steps=10, final=0.1)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 4, 0.0) == pytest.approx(0.5)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 500, 0.5) == pytest.approx(0.1 + 0.9 * 0.5)
    assert learning_rate(config, 500, 1 / 3) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 3)))
    assert learning_rate(config, 1000, 1.0) == pytest.approx(0.1)
    assert learning_rate(config, 1000, 1.2) == pytest.approx(0.1)  # a step past the clock's end


def test_only_matrices_decay(tiny_config):
    model = SparseGen(tiny_config.model)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        assert decay[id(p)] == (0.3 if p.ndim >= 2 and name.endswith("weight") else 0.0)
    assert decay[id(model.unit_anchors)] == 0.0


def test_first_step_moves_by_the_learning_rate():
    # With betas (b1, b2) and any gradient the first Adam step has length lr.
    model = torch.nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.01, weight_decay=0.0))
    (3 * model.weight).sum().backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(before - 0.01, abs=1e-5)


def test_parts_of_the_network_have_rates_of_their_own(tiny_config):
    model = SparseGen(tiny_config.model)
    multipliers = {"image_encoder": 0.1, "heads": 3.0, "unit_anchors": 0.0}
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.3, multipliers=multipliers))
    set_learning_rate(optimizer, 0.01)
    settings = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(settings) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        rate, decay = settings[id(p)]
        assert rate == pytest.approx(0.01 * multipliers.get(name.split(".")[0], 1.0))
        assert decay == (0.3 if p.ndim >= 2 and name.endswith("weight") else 0.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moved = {name: (p.detach() - before[name]).abs().max().item() for name, p in model.named_parameters()}
    assert moved["unit_anchors"] == 0
    assert moved["image_encoder.norm.bias"] == pytest.approx(0.001, rel=1e-3)
    assert moved["encoder.0.norm1.bias"] == pytest.approx(0.01, rel=1e-3)


class Layers(torch.nn.Module):
    """A large matrix, a narrow one and a bias."""

    def __init__(self):
        super().__init__()
        self.large = torch.nn.Linear(96, 128)
        self.narrow = torch.nn.Linear(128, 3, bias=False)


def test_muon_goes_as_far_in_weak_directions_as_in_strong_ones():
    """Singular values of a step are nearly equal where the gradient's are not, and its entries on average as
    large as AdamW's, 0.2 of the rate."""
    torch.manual_seed(0)
    layers, rate = Layers(), 0.01
    optimizer = build_optimizer(layers, OptimizerConfig(lr=rate, weight_decay=0.0, matrices="muon"))
    gradient = torch.randn(128, 8) @ torch.randn(8, 96) + 0.2 * torch.randn(
        128, 96
    )  # eight strong directions
    before = {name: p.detach().clone() for name, p in layers.named_parameters()}
    layers.large.weight.grad = gradient
    layers.large.bias.grad = torch.full((128,), 2.0)
    layers.narrow.weight.grad = torch.full((3, 128), -3.0)
    optimizer.step()
    moved = {name: before[name] - p.detach() for name, p in layers.named_parameters()}
    strong, found = (torch.linalg.svdvals(x) for x in (gradient, moved["large.weight"]))
    assert strong.max() > 30 * strong.median()
    assert found.max() < 1.6 * found.median()
    assert (moved["large.weight"] * gradient).sum() > 0
    assert moved["large.weight"].square().mean().sqrt() == pytest.approx(0.2 * rate, rel=0.3)
    # What is no large matrix moves as under AdamW, whose first step has the length of the rate.
    torch.testing.assert_close(moved["large.bias"], torch.full((128,), rate))
    torch.testing.assert_close(moved["narrow.weight"], torch.full((3, 128), -rate), rtol=1e-4, atol=0)


def test_every_parameter_has_one_group_whichever_moves_matrices(tiny_config):
    model = SparseGen(tiny_config.model)
    config = OptimizerConfig(weight_decay=0.3, matrices="muon", multipliers={"heads": 3.0})
    optimizer = build_optimizer(model, config)
    set_learning_rate(optimizer, 0.01)
    settings = [(id(p), g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]]
    assert len(settings) == len({p for p, _, _ in settings}) == len(list(model.parameters()))
    found = {p: pair for p, *pair in settings}
    for name, p in model.named_parameters():
        decay = 0.3 if p.ndim >= 2 and name.endswith("weight") else 0.0
        assert found[id(p)] == [pytest.approx(0.03 if name.startswith("heads") else 0.01), decay]


def test_a_muon_run_goes_on_as_if_it_had_not_stopped():
    def layers_after(steps, start=None):
        torch.manual_seed(1)
        layers = Layers()
        optimizer = build_optimizer(layers, OptimizerConfig(lr=0.01, matrices="muon"))
        if start is not None:
            layers.load_state_dict(start[0])
            optimizer.load_state_dict(start[1])
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for p in layers.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
        return layers.state_dict(), optimizer.state_dict()

    whole, _ = layers_after(range(6))
    resumed, _ = layers_after(range(3, 6), copy.deepcopy(layers_after(range(3))))
    for name, value in whole.items():
        assert torch.equal(resumed[name], value)


def test_rates_of_parts_that_do_not_exist_are_refused(tiny_config):
    config = OptimizerConfig(multipliers={"image_encodr": 0.1})
    with pytest.raises(InputError, match=r"no part 'image_encodr' in the network; it has .*image_encoder"):
        build_optimizer(SparseGen(tiny_config.model), config)
