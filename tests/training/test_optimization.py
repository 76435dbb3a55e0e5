from __future__ import annotations

import math

import pytest
import torch

from sparsegen.errors import InputError
from sparsegen.models import SparseGen
from sparsegen.training.optimization import OptimizerConfig, build_optimizer, learning_rate, set_learning_rate


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


def test_rates_of_parts_that_do_not_exist_are_refused(tiny_config):
    config = OptimizerConfig(multipliers={"image_encodr": 0.1})
    with pytest.raises(InputError, match=r"no part 'image_encodr' in the network; it has .*image_encoder"):
        build_optimizer(SparseGen(tiny_config.model), config)
