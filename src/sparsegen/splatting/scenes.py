"""Random scenes on which the backends are compared and timed."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from sparsegen.cameras import Cameras, on_sphere
from sparsegen.gaussians import Gaussians

KINDS = ("typical", "heavy")


def random_scene(
    kind: str = "typical",
    objects: int = 1,
    views: int = 1,
    count: int = 5120,
    size: int = 128,
    seed: int = 0,
) -> tuple[Gaussians, Cameras]:
    """Gaussians (objects,) around a wobbly sphere, and cameras (objects, views) around them.

    "typical" is like a trained object: scales lognormal with median 0.02, opacities 0.3 to 0.99. "heavy"
    is like one before training: scales 0.05, opacities 0.1 to 0.5, so that every pixel sees hundreds.
    """
    random = torch.Generator().manual_seed(seed)
    direction = F.normalize(torch.randn(objects, count, 3, generator=random), dim=-1)
    wobble = torch.sin(4 * direction[..., :1] + 3 * direction[..., 1:2])
    radius = 0.35 + 0.1 * wobble + 0.03 * torch.randn(objects, count, 1, generator=random)
    if kind == "typical":
        scale = (0.02 * torch.exp(0.5 * torch.randn(objects, count, 1, generator=random))).clamp(0.004, 0.1)
        opacity = 0.3 + 0.69 * torch.rand(objects, count, generator=random)
    elif kind == "heavy":
        scale = torch.full((objects, count, 1), 0.05)
        opacity = 0.1 + 0.4 * torch.rand(objects, count, generator=random)
    else:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    gaussians = Gaussians(
        means=direction * radius,
        quats=F.normalize(torch.randn(objects, count, 4, generator=random), dim=-1),
        scales=scale * (0.8 + 0.4 * torch.rand(objects, count, 3, generator=random)),
        opacities=opacity,
        colors=torch.rand(objects, count, 3, generator=random),
    )
    view, item = torch.arange(views), torch.arange(objects)[:, None]
    azimuth = 2 * math.pi * view / max(views, 1) + 0.3 * item
    elevation = (0.35 * torch.sin(1.0 + view)).expand(objects, views)
    return gaussians, on_sphere(azimuth, elevation, radius=2.0, size=size, focal=1.4 * size)
