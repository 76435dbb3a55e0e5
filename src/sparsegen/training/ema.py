"""Exponential moving average of a model's weights: what is validated and shipped."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from sparsegen.training.sharding import whole

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    """A second model that follows the first: average <- d * average + (1 - d) * weights.

    The decay d warms up, d = min(decay, (1 + n) / (10 + n)) at update n = 1, 2, …, so that the first
    thousand steps are not an average of the random start. `model` is always in eval mode.
    """

    def __init__(self, model: M, decay: float = 0.999) -> None:
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = [whole(p.detach()) for p in model.parameters()]
        torch._foreach_lerp_(list(self.model.parameters()), weights, 1 - decay)  # type: ignore[reportPrivateImportUsage]
        for average, current in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
