"""3D position-aware encoding of image features and anchor queries (paper, section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.cameras import Cameras
from sparsegen.models.layers import full_precision


@dataclass(frozen=True)
class PositionEncoderConfig:
    """Depth samples of the camera frustum, and the parts of the position encoding.

    `depth_bins` points stand on every token's ray at view-space depths between `near` and `far`, on the
    bins' `edges` ("left" is the reference's: the far depth is not reached; "centers").
    `margin` keeps coordinates off the ends of [0, 1] before their logit. `frustum` and `sine` switch the
    two parts; the sine part codes view number, row and column.
    """

    depth_bins: int = 16
    near: float = 0.8
    far: float = 1.8
    edges: str = "centers"
    margin: float = 0.01
    frustum: bool = True
    sine: bool = False
    hidden_ratio: int = 1


class PositionEncoder(nn.Module):
    """Encoding of each image token: where its ray runs in the world, and where it stands in its view."""

    def __init__(self, config: PositionEncoderConfig, width: int, bound: float) -> None:
        super().__init__()
        self.config, self.width, self.bound = config, width, bound
        hidden = config.hidden_ratio * width
        self.parts = nn.ModuleDict()
        if config.frustum:
            self.parts["frustum"] = _mlp(3 * config.depth_bins, hidden, width)
        if config.sine:
            self.parts["sine"] = _mlp(3 * width // 2, hidden, width)

    def forward(self, cameras: Cameras, grid: int) -> Float[Tensor, "b v n c"]:
        """Position encoding of `grid` x `grid` tokens a view: the sum of the parts that are on."""
        views, device = cameras.batch_shape[1], cameras.viewmats.device
        codes = {
            "frustum": lambda: self.frustum_logits(cameras, grid),
            "sine": lambda: sine_code(views, grid, self.width, device).expand(len(cameras), -1, -1, -1),
        }
        return torch.stack([mlp(codes[name]()) for name, mlp in self.parts.items()]).sum(0)

    def frustum_logits(self, cameras: Cameras, grid: int) -> Float[Tensor, "b v n d3"]:
        """Logits of the world positions of each token's depth samples, scaled from the bound to [0, 1]."""
        with full_precision(cameras.viewmats.device):
            return self._frustum_logits(cameras, grid)

    def _frustum_logits(self, cameras: Cameras, grid: int) -> Tensor:
        config = self.config
        bins = torch.arange(config.depth_bins, device=cameras.viewmats.device, dtype=torch.float32)
        offset = 0.5 if config.edges == "centers" else 0.0
        depths = config.near + (bins + offset) * (config.far - config.near) / config.depth_bins
        centers, directions = cameras.rays(grid, grid)
        forward = cameras.viewmats[..., 2, :3]  # the view axis in the world
        along = directions / (directions * forward[..., None, None, :]).sum(-1, keepdim=True)
        along = along.flatten(-3, -2)[..., None, :]  # (b, v, n, 1, 3), one unit of depth long
        points = centers[..., None, None, :] + depths[:, None] * along
        unit = ((points + self.bound) / (2 * self.bound)).clamp(config.margin, 1 - config.margin)
        return torch.log(unit / (1 - unit)).flatten(-2)


class AnchorEncoder(nn.Module):
    """Query embedding from the anchors' positions, with learned content per query if asked for."""

    def __init__(self, width: int, queries: int, content: bool) -> None:
        super().__init__()
        self.width = width
        self.mlp = _mlp(3 * width // 2, width, width)
        self.content = nn.Parameter(0.02 * torch.randn(queries, width)) if content else None

    def forward(self, anchors: Float[Tensor, "m 3"]) -> Float[Tensor, "m c"]:
        """Embedding of anchors given on the unit cube."""
        embedding = self.mlp(anchor_code(anchors, self.width))
        return embedding if self.content is None else embedding + self.content[: len(anchors)]


def sine_code(views: int, grid: int, width: int, device: torch.device) -> Float[Tensor, "v n c"]:
    """Sine and cosine blocks of view number, row and column, counted from 1 and scaled to one turn."""
    steps = torch.arange(1, grid + 1, device=device, dtype=torch.float32)
    numbers = torch.arange(1, views + 1, device=device, dtype=torch.float32)
    view = 2 * math.pi * numbers / (views + 1e-6)
    side = 2 * math.pi * steps / (grid + 1e-6)
    angles = torch.broadcast_tensors(view[:, None, None], side[:, None], side)  # each (v, g, g)
    rates = _rates(width // 2, device)
    blocks = [f(a[..., None] / rates) for a in angles for f in (torch.sin, torch.cos)]
    return torch.cat(blocks, dim=-1).flatten(1, 2)


def anchor_code(anchors: Float[Tensor, "m 3"], width: int) -> Float[Tensor, "m c"]:
    """Interleaved sines and cosines of an anchor's y, x and z, in this order."""
    rates = _rates(width // 2, anchors.device)
    angles = 2 * math.pi * anchors[:, [1, 0, 2], None] / rates  # (m, 3, c / 4)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _rates(half: int, device: torch.device) -> Float[Tensor, "k"]:
    k = torch.arange(half // 2, device=device, dtype=torch.float32)
    return 10000.0 ** (2 * k / half)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
