from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsegen.training.ema import Ema


def test_average_follows_the_closed_form():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, decay=0.5)
    expected = 0.0
    for n in range(1, 30):
        value = float(n)
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update(model)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert ema.model.weight.item() == pytest.approx(expected, rel=1e-6)
    # In the end the average lags a linear ramp by d / (1 - d) updates.
    assert ema.model.weight.item() == pytest.approx(29 - 1, abs=1e-3)


def test_average_is_apart_in_eval_mode_and_copies_buffers():
    model = nn.BatchNorm1d(2).train()
    ema = Ema(model)
    model(torch.randn(8, 2))
    before = ema.model.weight.clone()
    ema.update(model)
    assert not ema.model.training
    assert model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    for average, current in zip(ema.model.buffers(), model.buffers(), strict=True):
        assert torch.equal(average, current)
    assert torch.equal(ema.model.weight, before)  # an average of equal weights


def test_state_continues_the_warm_up():
    model = nn.Linear(3, 3)
    first, second = Ema(model), Ema(nn.Linear(3, 3))
    for _ in range(5):
        first.update(model)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        model.weight.add_(1)
    first.update(model)
    second.update(model)
    assert torch.equal(first.model.weight, second.model.weight)
