"""The optimizer, and the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sparsegen.errors import InputError

MATRICES = ("adamw", "muon")
# Matrices with a shorter side than this stay with AdamW: they are no matter of directions.
_LEAST_SIDE = 64


@dataclass
class OptimizerConfig:
    """AdamW, warm-up and cosine; `final` is the share of the learning rate that is left at the end.

    `matrices` is what moves the weight matrices: "adamw" as all else, or "muon", whose steps go as far in
    weak directions of the gradients' running mean (`momentum`) as in strong ones, at the same learning rates
    (arXiv 2502.16982, section 2.2).
    `multipliers` scale the rate of single parts of the network, named as its parameters start, as in
    `optimizer.multipliers={image_encoder: 0.1, heads: 2}`; 0 freezes a part.
    """

    lr: float = 6e-4
    multipliers: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    matrices: str = "adamw"
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = 100
    final: float = 0.05
    clip: float = 1.0


class MuonAndAdamW(torch.optim.Optimizer):
    """PyTorch's Muon for some groups of parameters and its AdamW for the others, as one optimizer.

    Processes that share a batch share Muon's work as well: each moves some of the matrices, and has the
    momentum of those alone. All must ask for `state_dict`.
    """

    def __init__(
        self, matrices: list[dict[str, Any]], others: list[dict[str, Any]], config: OptimizerConfig
    ) -> None:
        self._muon = torch.optim.Muon(
            matrices, config.lr, momentum=config.momentum, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = _adamw(others, config)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()
        self._owners = _owners([p for group in self._muon.param_groups for p in group["params"]])

    def _share(self) -> None:
        """Groups and state are those of the whole, for both."""
        count = len(self._muon.param_groups)
        self._muon.param_groups, self._adamw.param_groups = (
            self.param_groups[:count],
            self.param_groups[count:],
        )
        self._muon.state = self._adamw.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None if closure is None else closure()
        gradients = {p: p.grad for p in self._owners}
        for parameter, owner in self._owners.items():
            if owner != _rank():
                parameter.grad = None
        self._muon.step()
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        self._hand_out({p: p.data for p in gradients})
        self._adamw.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        for parameter in self._owners:
            self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
        self._hand_out({p: self.state[p]["momentum_buffer"] for p in self._owners})
        return super().state_dict()

    def _hand_out(self, values: dict[torch.Tensor, torch.Tensor]) -> None:
        """What each matrix's owner has of it, to all processes."""
        if not _is_distributed():
            return
        waiting = [
            torch.distributed.broadcast(value, self._owners[parameter], async_op=True)
            for parameter, value in values.items()
        ]
        for work in waiting:
            assert work is not None
            work.wait()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()


def _owners(matrices: list[torch.Tensor]) -> dict[torch.Tensor, int]:
    """Which process moves each matrix; all of them about as much."""
    work = [0] * (torch.distributed.get_world_size() if _is_distributed() else 1)
    owners: dict[torch.Tensor, int] = {}
    for parameter in sorted(matrices, key=lambda p: -p.numel() * min(p.shape)):
        owners[parameter] = work.index(min(work))
        work[owners[parameter]] += parameter.numel() * min(parameter.shape)
    return owners


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _rank() -> int:
    return torch.distributed.get_rank() if _is_distributed() else 0


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW | MuonAndAdamW:
    """An optimizer that decays matrices only: not biases, norms, embeddings or anchors.

    Its groups are the network's parts with a rate of their own, and the rest, each with and without decay.
    """
    parts = {name.split(".")[0] for name, _ in model.named_parameters()}
    unknown = sorted(set(config.multipliers) - parts)
    if unknown:
        raise InputError(
            f"optimizer.multipliers: no part {unknown[0]!r} in the network; it has {', '.join(sorted(parts))}"
        )
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": decay, "multiplier": multiplier}
        for multiplier in (1.0, *config.multipliers.values())
        for decay in (config.weight_decay, 0.0)
    ]
    order = {part: 1 + i for i, part in enumerate(config.multipliers)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim >= 2 and name.endswith("weight")
            groups[2 * order.get(name.split(".")[0], 0) + (not is_matrix)]["params"].append(parameter)
    if config.matrices == "adamw":
        return _adamw(groups, config)
    matrices = [{**group, "params": list(filter(_is_large, group["params"]))} for group in groups[::2]]
    for group in groups[::2]:
        group["params"] = [p for p in group["params"] if not _is_large(p)]
    return MuonAndAdamW(matrices, groups, config)


def _adamw(groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def _is_large(parameter: torch.Tensor) -> bool:
    return parameter.ndim == 2 and min(parameter.shape) >= _LEAST_SIDE


def learning_rate(config: OptimizerConfig, step: int, progress: float) -> float:
    """The rate `step` steps after the start of the warm-up, when the share `progress` of the run is done.

    A linear rise over `warmup_steps`, times a cosine over the whole run from 1 to `final`.
    """
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return config.lr * warmup * (config.final + (1 - config.final) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its multiple of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("multiplier", 1.0)  # older checkpoints know no multipliers
