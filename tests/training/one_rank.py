"""One process of a two-process step, as `torchrun` would start it: the first writes the gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from sparsegen.data.packed import load_packed
from sparsegen.training.config import TrainConfig, load_config
from sparsegen.training.devices import build_fabric
from sparsegen.training.logs import Stopwatch
from sparsegen.training.objective import has_idle_parameters
from sparsegen.training.sharding import whole
from sparsegen.training.trainer import Trainer

STEPS = (0, 1, 2, 3)  # with and without noised views, self-conditioning, prefixes of the queries


def gradients(config: TrainConfig, folder: Path) -> list[dict[str, torch.Tensor]]:
    """The gradient of every parameter in each of a few steps, without any step taken; {} without noise."""
    idle = has_idle_parameters(config)
    fabric = build_fabric(config.device, "float32", strategy=config.strategy, idle_parameters=idle)
    torch.manual_seed(config.seed)
    trainer = Trainer(config, config.model.build(), fabric, folder, load_packed(config.data.train))
    trainer.watch = Stopwatch(fabric.device)
    found = []
    for trainer.step in STEPS:
        loss, _ = trainer._loss(trainer.sampler.batch(trainer.step, 0))
        fabric.backward(loss)
        named = trainer.model.named_parameters()
        found.append({name: whole(p.grad).clone() for name, p in named if p.grad is not None})
        trainer.optimizer.zero_grad(set_to_none=True)
    return found


if __name__ == "__main__":
    source, result = map(Path, sys.argv[1:])
    values = gradients(load_config(source), result.parent)
    if torch.distributed.get_rank() == 0:
        torch.save(values, result)
    torch.distributed.barrier()  # as `devices.leave_together`
    torch.distributed.destroy_process_group()
