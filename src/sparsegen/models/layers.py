"""Attention, feed-forward and time embedding: the parts that several stages share."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# Times in [0, 1] are embedded on the scale of the reference's 1000 training steps.
TIME_SCALE = 1000.0


class SelfAttention(nn.Module):
    """Multi-head attention of a token sequence to itself, with one product for q, k and v."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.output(_attend(q, k, v, self.heads, self.dropout if self.training else 0.0))

    def weights(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n n"]:
        """How much each token (rows) attends to each other one; rows sum to 1."""
        q, k, _ = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).float().chunk(3, dim=-1)
        )
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


class CrossAttention(nn.Module):
    """Multi-head attention of queries to another token sequence."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b m c"], memory: Float[Tensor, "b n c"]) -> Float[Tensor, "b m c"]:
        k, v = self.key_value(memory).chunk(2, dim=-1)
        return self.output(_attend(self.query(x), k, v, self.heads, self.dropout if self.training else 0.0))


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, dropout: float) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # (b, h, n, c / h)
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        if not torch.is_grad_enabled():
            # Twice as fast as PyTorch's fused kernel, which multiplies bfloat16 no faster than float32.
            shares = (q / math.sqrt(q.shape[-1]) @ k.mT).softmax(-1)
            return (shares @ v).transpose(1, 2).flatten(2)
        with full_precision(q.device):  # backward, that kernel takes three times as long in bfloat16
            attended = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), dropout_p=dropout)
    else:
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    return attended.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two linear layers around an activation."""

    def __init__(self, width: int, hidden: int, activation: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.rise = nn.Linear(width, hidden)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.fall = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
        return self.fall(self.dropout(self.activation(self.rise(x))))


def channels_last(pictures: Float[Tensor, "b v i s s"]) -> Float[Tensor, "bv i s s"]:
    """All pictures as one batch, in the memory layout that convolutions are fastest in."""
    return pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)


class MapNorm(nn.GroupNorm):
    """Normalises whole maps. PyTorch's sums over channels-last maps depend on the number of threads; these do
    not."""

    def __init__(self, width: int) -> None:
        super().__init__(1, width)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return super().forward(input.contiguous()).contiguous(memory_format=torch.channels_last)


class ResidualBlock(nn.Module):
    """Two convolutions of a map, added to it; nothing at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, last = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.net = nn.Sequential(MapNorm(width), first, nn.GELU(), last)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.net(x)


class TimeEmbedding(nn.Module):
    """Sinusoidal code of the flow time, followed by a small network."""

    frequencies = 128

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = nn.Linear(2 * self.frequencies, width), nn.Linear(width, width)
        for layer in (first, second):
            nn.init.normal_(layer.weight, std=0.02)
        self.mlp = nn.Sequential(first, nn.SiLU(), second)

    def forward(self, times: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch c"]:
        steps = torch.arange(self.frequencies, dtype=torch.float32, device=times.device)
        rates = torch.exp(-math.log(10000.0) * steps / self.frequencies)
        angles = TIME_SCALE * times.float()[..., None] * rates
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1).to(times.dtype))


class Modulation(nn.Module):
    """Shift, scale and gate for each branch of an adaLN block, from a condition.

    Weights start at zero, so that every branch starts with the constant gate `gate`.
    """

    def __init__(self, width: int, branches: int, gate: float = 0.0) -> None:
        super().__init__()
        self.branches = branches
        self.linear = nn.Linear(width, 3 * branches * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            self.linear.bias.view(branches, 3, width)[:, 2] = gate

    def forward(self, condition: Float[Tensor, "b c"]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(shift, scale, gate), each (b, 1, c), for every branch."""
        parts = self.linear(F.silu(condition))[:, None].chunk(3 * self.branches, dim=-1)
        return [(parts[i], parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)]


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer normalisation's second half."""
    return x * (1 + scale) + shift


def full_precision(device: torch.device) -> torch.autocast:
    """Context for geometry, which half-precision products would spoil."""
    return torch.autocast(device.type, enabled=False)
