"""Synthetic viewsets with a known shape: shaded balls of one color each."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import on_sphere
from sparsegen.data.packed import Viewsets


def ball_viewsets(
    colors: Float[Tensor, "n 3"],
    views: int = 8,
    size: int = 32,
    radius: float = 0.3,
    center: tuple[float, float, float] = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> Viewsets:
    """Balls seen from random directions above the horizon, lit from +Z."""
    count = len(colors)
    generator = torch.Generator().manual_seed(seed)
    azimuth = torch.rand(count, views, generator=generator) * 6.28
    elevation = torch.rand(count, views, generator=generator) * 1.2
    cameras = on_sphere(azimuth, elevation, size=size)
    origins, directions = cameras.rays()
    to_center = torch.tensor(center) - origins[..., None, None, :]  # (n, v, 1, 1, 3)
    along = (to_center * directions).sum(-1)
    square = radius**2 - to_center.square().sum(-1) + along**2
    hit = square > 0
    distance = along - square.clamp_min(0).sqrt()
    normals = (distance[..., None] * directions - to_center) / radius
    shade = 0.6 + 0.4 * normals[..., 2:].clamp_min(0)
    rgb = (colors[:, None, None, None] * shade * 255).round()
    rgba = torch.cat([rgb, 255.0 * torch.ones_like(shade)], dim=-1) * hit[..., None]
    return Viewsets(rgba.numpy().astype(np.uint8), cameras, [f"ball{i}" for i in range(count)])
