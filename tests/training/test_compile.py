from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from sparsegen.training.devices import build_fabric
from sparsegen.training.trainer import Trainer


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # of the compiler's own parts
def test_compiled_layers_learn_the_same(tiny_config, two_balls, tmp_path):
    """Over batches of different numbers of views, with gradients as the optimizer sees them."""
    config = replace(tiny_config, model=replace(tiny_config.model, dropout=0.0), max_steps=4)
    weights, norms = [], []
    for compiled in (False, True):
        torch.manual_seed(0)
        changed, folder = replace(config, compile=compiled), tmp_path / str(compiled)
        fabric = build_fabric("cpu", "float32")
        trainer = Trainer(changed, config.model.build(), fabric, folder, two_balls)
        trainer.fit(steps=0)
        terms = [trainer.train_step() for _ in range(3)]
        norms.append(torch.stack([torch.stack([t["loss"], t["gradient_norm"]]) for t in terms]))
        weights.append(trainer.model.state_dict())
        is_compiled = trainer.model.repeated_layers()[0]._compiled_call_impl is not None
        assert is_compiled == compiled
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-3, atol=1e-5)
    assert list(weights[1]) == list(weights[0])  # checkpoints know nothing of it
