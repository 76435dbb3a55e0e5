"""Depth pictures from all around, fused into one truncated signed distance field (Curless and Levoy 1996).

The field is positive outside. Each picture says where along its rays the surface is; where coverage is
too small there is nothing along the ray, and what is outside of any such silhouette is carved away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras

# Less coverage than this is background.
COVERED = 0.6


@dataclass(frozen=True)
class Grid:
    """Points `origin + spacing * (i, j, k)` of a box in the world."""

    origin: Float[Tensor, "3"]
    spacing: float
    shape: tuple[int, int, int]

    def points(self) -> Float[Tensor, "x y z 3"]:
        axes = [torch.arange(count, dtype=torch.float32) for count in self.shape]
        return self.origin + self.spacing * torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def grid_around(low: Float[Tensor, "3"], high: Float[Tensor, "3"], resolution: int) -> Grid:
    """The grid with `resolution` points along the longest side of a box, whose borders lie outside of it."""
    spacing = float((high - low).max()) / (resolution - 3)
    shape = (((high - low) / spacing).ceil().long() + 3).tolist()
    center, span = (low + high) / 2, spacing * (torch.tensor(shape) - 1)
    return Grid(center - span / 2, spacing, (shape[0], shape[1], shape[2]))


def fuse(
    depths: Float[Tensor, "v h w"],
    alphas: Float[Tensor, "v h w"],
    cameras: Cameras,
    grid: Grid,
    truncation: float,
) -> Float[Tensor, "x y z"]:
    """Signed distance to the surface, positive outside, cut to [-truncation, truncation].

    `cameras` has batch shape (V,); depths are along the view axis in world units. A point behind the
    surface by more than `truncation` in every picture has never been seen and is inside.
    """
    points = grid.points().reshape(-1, 3)
    total, count = torch.zeros(len(points)), torch.zeros(len(points))
    coverage = torch.ones(len(points))  # the smallest of all pictures
    size = torch.tensor([cameras.width, cameras.height])
    for i in range(len(cameras)):
        pixels, depth = cameras[i].project(points)
        # Depth is weighted by coverage before it is interpolated: the background has none.
        picture = torch.stack([depths[i] * alphas[i], alphas[i]])
        where = (2 * pixels / size - 1)[None, None]
        weighted, alpha = F.grid_sample(picture[None], where, align_corners=False)[0, :, 0]
        distance = weighted / alpha.clamp(min=1e-6) - depth
        counts = ((alpha >= COVERED) & (distance > -truncation)).float()
        total += counts * distance.clamp(max=truncation).nan_to_num()
        count += counts
        coverage = torch.minimum(coverage, alpha)
    field = torch.where(count > 0, total / count.clamp(min=1), -truncation)
    carved = (COVERED - coverage) * (truncation / COVERED)
    return torch.where(coverage < COVERED, torch.maximum(field, carved), field).reshape(grid.shape)
