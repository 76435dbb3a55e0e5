"""Pictures of Gaussians all around, a few at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from sparsegen.cameras import RADIUS, Cameras, orbit
from sparsegen.formats.animation import save_animation
from sparsegen.gaussians import DEAD_OPACITY, Gaussians
from sparsegen.splatting import Rendering, render

ELEVATION = math.radians(20)
# Rendered by one call: pictures enough to fill the processor, pixels few enough for any memory (so many
# take about half a gigabyte).
_PICTURES_AT_ONCE, _PIXELS_AT_ONCE = 16, 2**24
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
    return fit_cameras(gaussians, orbit(count, elevation, RADIUS, size, azimuth=azimuth))


def fit_cameras(gaussians: Gaussians, cameras: Cameras) -> Cameras:
    """Cameras (V,) around an object of this project, moved to see an object of any size and place alike."""
    center, factor = framing(gaussians)
    viewmats = cameras.viewmats.clone()
    viewmats[:, :3, 3] = factor * viewmats[:, :3, 3] - (viewmats[:, :3, :3] @ center[:, None])[..., 0]
    return replace(cameras, viewmats=viewmats)


def save_turntable(
    path: str | Path,
    gaussians: Gaussians,
    frames: int = 120,
    size: int = 256,
    elevation: float = ELEVATION,
    background: float = 1.0,
    fps: float = 30,
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Write one turn around an object as `.mp4`, `.gif` or `.webp`, by the suffix. Raises `InputError`.

    `tick` is called for each frame.
    """
    cameras = orbit_around(gaussians, frames, size, elevation)
    rendered = _ticking(render_frames(gaussians, cameras, background), tick)
    save_animation(path, (frame.rgb for frame in rendered), fps)


def render_frames(
    gaussians: Gaussians, cameras: Cameras, background: float | Float[Tensor, "3"] | None = 1.0
) -> Iterator[Rendering]:
    """One rendering without batch dimensions for each of the cameras (V,), in order."""
    with torch.no_grad():
        cameras = cameras.to(gaussians.means.device)
        at_once = max(1, min(_PICTURES_AT_ONCE, _PIXELS_AT_ONCE // (cameras.width * cameras.height)))
        for start in range(0, len(cameras), at_once):
            some = render(gaussians, cameras[start : start + at_once], background, depth=False)
            for rgb, alpha in zip(some.rgb.clamp(0, 1).cpu(), some.alpha.cpu(), strict=True):
                yield Rendering(rgb, alpha)


def _ticking(frames: Iterator[Rendering], tick: Callable[[], object]) -> Iterator[Rendering]:
    for frame in frames:
        yield frame
        tick()


def render_rgba(
    gaussians: Gaussians, cameras: Cameras, tick: Callable[[], object] = lambda: None
) -> UInt8[ndarray, "v h w 4"]:
    """Pictures with straight alpha from cameras (V,), white where nothing is. `tick` is called for each."""
    pictures = []
    for frame in _ticking(render_frames(gaussians, cameras, background=None), tick):
        straight = torch.where(frame.alpha > 0, frame.rgb / frame.alpha.clamp_min(1e-6), 1.0)
        rgba = torch.cat([straight.clamp(0, 1), frame.alpha[None]])
        pictures.append((rgba * 255).round().byte().permute(1, 2, 0).numpy())
    return np.stack(pictures)


def framing(gaussians: Gaussians) -> tuple[Float[Tensor, "3"], float]:
    """The centre of an object, and how many times larger it is than this project's."""
    means = gaussians.means.detach().float().cpu()
    visible = means[gaussians.opacities.cpu() > DEAD_OPACITY]
    if not len(visible) or visible.abs().max() <= _HOME:
        return torch.zeros(3), 1.0
    low, high = visible.sort(dim=0).values[[len(visible) // 100, -1 - len(visible) // 100]]
    return (low + high) / 2, max(float((high - low).norm()), 1e-6)
