"""Pictures of Gaussians all around, a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import RADIUS, Cameras, orbit
from sparsegen.gaussians import DEAD_OPACITY, Gaussians
from sparsegen.splatting import Rendering, render

ELEVATION = math.radians(20)
# Pictures rendered by one call: enough to fill the processor, few enough for any memory.
_AT_ONCE = 16
# Objects of this project stay inside this cube, and are shown from their training distance.
_HOME = 0.65


def orbit_around(
    gaussians: Gaussians, count: int, size: int = 256, elevation: float = ELEVATION, azimuth: float = 0.0
) -> Cameras:
    """Cameras evenly around an object (Gaussians without batch dimensions), framed to its extent.

    Angles in radians; the first camera stands at `azimuth`.
    The extent is that of the visible Gaussians without the outermost hundredth on each side. Objects
    inside this project's cube keep the distance and the centre that they were trained with.
    """
    center, radius = framing(gaussians)
    cameras = orbit(count, elevation, radius, size, azimuth=azimuth)
    viewmats = cameras.viewmats.clone()
    viewmats[:, :3, 3] -= (viewmats[:, :3, :3] @ center[:, None])[..., 0]
    return replace(cameras, viewmats=viewmats)


def render_frames(
    gaussians: Gaussians, cameras: Cameras, background: float | Float[Tensor, "3"] | None = 1.0
) -> Iterator[Rendering]:
    """One rendering without batch dimensions for each of the cameras (V,), in order."""
    with torch.no_grad():
        cameras = cameras.to(gaussians.means.device)
        for start in range(0, len(cameras), _AT_ONCE):
            some = render(gaussians, cameras[start : start + _AT_ONCE], background, depth=False)
            for rgb, alpha in zip(some.rgb.clamp(0, 1).cpu(), some.alpha.cpu(), strict=True):
                yield Rendering(rgb, alpha)


def framing(gaussians: Gaussians) -> tuple[Float[Tensor, "3"], float]:
    """The point to look at and the distance to look from, in world units; `orbit_around` says how."""
    means = gaussians.means.detach().float().cpu()
    visible = means[gaussians.opacities.cpu() > DEAD_OPACITY]
    if not len(visible) or visible.abs().max() <= _HOME:
        return torch.zeros(3), RADIUS
    low, high = visible.sort(dim=0).values[[len(visible) // 100, -1 - len(visible) // 100]]
    return (low + high) / 2, RADIUS * max(float((high - low).norm()), 1e-6)
