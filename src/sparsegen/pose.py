"""Where a photo was taken from, found by the network itself.

An object generated under a wrong camera does not look like the photo from that camera. So: generate
under many cameras, render each object from its own camera, and keep the camera whose rendering agrees
best with the photo, first on a coarse grid of angles, then on finer ones around the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.generation import Pipeline
from sparsegen.photos import frame
from sparsegen.splatting import render
from sparsegen.views import stack_views

# Degrees. The grid's heights are those of people and of pictures in catalogues.
COARSE_AZIMUTHS = tuple(22.5 * i for i in range(-8, 8))
COARSE_ELEVATIONS = (12.0, 28.0, 48.0)
FINE_STEPS = (8.0, 4.0)
# How much a wrong outline counts beside wrong colors.
ALPHA_WEIGHT = 0.5
# Alternatives are reported if they lie this far apart, in degrees of azimuth.
_APART = 45.0


@dataclass(frozen=True)
class CameraEstimate:
    """A camera on the training sphere, in degrees, and how badly its object renders the photo."""

    azimuth: float
    elevation: float
    error: float


def estimate_camera(pipeline: Pipeline, rgba: Float[Tensor, "4 h w"]) -> list[CameraEstimate]:
    """Cameras from which a cut-out photo may have been taken, best first, far apart from each other."""
    grid = [(azimuth, elevation) for elevation in COARSE_ELEVATIONS for azimuth in COARSE_AZIMUTHS]
    coarse = sorted(_try(pipeline, rgba, grid), key=lambda e: e.error)
    best = coarse[0]
    for step in FINE_STEPS:
        moves = [(a, e) for a in (-step, 0, step) for e in (-step, 0, step) if (a, e) != (0, 0)]
        around = [(best.azimuth + a, best.elevation + e) for a, e in moves]
        best = min([best, *_try(pipeline, rgba, around)], key=lambda e: e.error)
    kept = [best]
    for estimate in coarse:
        if all(_apart(estimate.azimuth, other.azimuth) >= _APART for other in kept):
            kept.append(estimate)
    return kept


@torch.no_grad()
def _try(
    pipeline: Pipeline, rgba: Float[Tensor, "4 h w"], angles: Sequence[tuple[float, float]]
) -> list[CameraEstimate]:
    size = pipeline.model.config.image_size
    views = stack_views([frame(rgba, size, *pair) for pair in angles]).to(pipeline.device)
    times = torch.zeros(views.images.shape[:2], device=pipeline.device)  # without noise placeholders: quicker
    gaussians = pipeline.model(views.without_alphas(), times)[-1]
    rendering = render(gaussians, views.cameras, depth=False)
    assert views.alphas is not None
    color = (rendering.rgb - views.images).square().mean((1, 2, 3, 4))
    outline = (rendering.alpha - views.alphas).square().mean((1, 2, 3))
    errors = (color + ALPHA_WEIGHT * outline).tolist()
    return [CameraEstimate(*pair, error) for pair, error in zip(angles, errors, strict=True)]


def _apart(first: float, second: float) -> float:
    return abs((first - second + 180) % 360 - 180)
