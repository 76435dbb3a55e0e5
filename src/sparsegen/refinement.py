"""Test-time refinement: gradient steps on the Gaussians against the input views.

What the pictures do not show must not pay for what they show: each parameter is held near its start, and
so are renderings from all around.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras, cat, orbit
from sparsegen.gaussians import Gaussians
from sparsegen.ranking import agreement, likeness
from sparsegen.smoothing import photograph
from sparsegen.splatting import render
from sparsegen.views import Views

# Adam's rates: world units for the means, else in the space where each parameter is free.
_RATES = {"means": 4e-4, "quats": 4e-3, "scales": 8e-3, "opacities": 2e-2, "colors": 2e-2}
_GEOMETRY = ("means", "quats", "scales")
# How far each is free to go: beyond, the pull back to the start is as strong as `pull`.
_REACH = {"means": 0.02, "quats": 0.3, "scales": 0.5, "opacities": 1.0, "colors": 1.0}
# Opacities and colors of exactly 0 or 1 would never move again.
_EDGE = 1e-3
# A loss, in dB, on a view that was held out that nobody sees: for less, what is gained elsewhere is kept.
HARMLESS = 0.25
# Novel cameras: four low and four high ones, two of which are rendered in each step.
_ELEVATIONS = (0.15, 0.7)
_NOVEL, _NOVEL_EACH_STEP, _NOVEL_SIZE = 4, 2, 128
# A Gaussian that makes half a pixel of pictures of this size is seen in them.
_SEEN, _SEEN_SIZE = 0.5, 512


@dataclass(frozen=True)
class RefinementConfig:
    """Weights of the terms beside the squared error of the input views' colors, and how far steps go."""

    outline: float = 0.5  # squared error of the input views' coverage
    novel: float = 0.3  # squared change of renderings from all around
    pull: float = 2e-3  # squared distance from the start, in units of each parameter's reach
    geometry: float = 1.0  # how fast shapes move, as a share of the usual rates
    mirrored: float = 0.0  # both errors of the mirrored input views, for Gaussians that those do not show


@dataclass(frozen=True)
class RefinementReport:
    """What refinement did, in dB: on the input views, on one that it did not see, and all around.

    `held_out` is the PSNR of the last view before and after refinement against the others; None if there
    is one view only. `moved` is the likeness of the object all around to what it was: high is little.
    """

    seen: tuple[float, float]
    held_out: tuple[float, float] | None
    moved: float

    @property
    def harmful(self) -> bool:
        """Whether the view that was held out lost more than nobody would see."""
        return self.held_out is not None and self.held_out[1] < self.held_out[0] - HARMLESS


def refine(
    gaussians: Gaussians,
    views: Views,
    steps: int,
    config: RefinementConfig | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Gaussians:
    """The object (batch shape ()) after `steps` of Adam against its input views (batch size 1).

    The same input gives the same output; 0 steps give the object back. `tick` is called after each step.
    """
    config = config or RefinementConfig()
    views = views.to(gaussians.means.device)
    start = {name: value.detach().clone() for name, value in _free(gaussians).items()}
    free = {name: value.clone().requires_grad_() for name, value in start.items()}
    mirrored = (_mirrored(views), _seen_in(gaussians, views.cameras[0])) if config.mirrored else None
    share = {name: config.geometry if name in _GEOMETRY else 1.0 for name in _RATES}
    groups = [{"params": [free[name]], "lr": share[name] * rate} for name, rate in _RATES.items()]
    optimizer = torch.optim.Adam(groups)
    novel = _novel_cameras(views)
    with torch.no_grad():
        before = render(gaussians, novel, depth=False).rgb
    for step in range(steps):
        some = torch.arange(_NOVEL_EACH_STEP) + step * _NOVEL_EACH_STEP
        some = some % len(novel)
        loss = _error(_bound(free, gaussians), views, config)
        around = render(_bound(free, gaussians), novel[some], depth=False).rgb
        loss = loss + config.novel * (around - before[some]).square().mean()
        if mirrored is not None:
            images, seen = mirrored
            unseen = {name: _held(value, seen) for name, value in free.items()}
            loss = loss + config.mirrored * _error(_bound(unseen, gaussians), images, config)
        for name, value in free.items():
            loss = loss + config.pull * ((value - start[name]) / _REACH[name]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tick()
    return _bound(free, gaussians).detach() if steps else gaussians


def steps_checked(steps: int, views: Views) -> int:
    """How many steps `refine_checked` takes at most in all."""
    return steps * min(views.view_count, 2)


def refine_checked(
    gaussians: Gaussians,
    views: Views,
    steps: int,
    config: RefinementConfig | None = None,
    tick: Callable[[], object] = lambda: None,
) -> tuple[Gaussians, RefinementReport]:
    """`refine`, and what it did. With two or more views it first proves itself on the last one.

    If refinement against the other views makes the last one worse by more than a quarter of a dB, the object
    stays as it was.
    """
    held_out = None
    if views.view_count > 1:
        last = views.select(slice(-1, None))
        trial = refine(gaussians, views.select(slice(0, -1)), steps, config, tick)
        held_out = agreement(gaussians, last)[0], agreement(trial, last)[0]
    before = _mean(agreement(gaussians, views))
    report = RefinementReport((before, before), held_out, math.inf)
    if report.harmful:
        return gaussians, report
    refined = refine(gaussians, views, steps, config, tick)
    return refined, reported(gaussians, refined, views, held_out)


def reported(
    before: Gaussians, after: Gaussians, views: Views, held_out: tuple[float, float] | None = None
) -> RefinementReport:
    """What refinement against `views` did to an object."""
    seen = _mean(agreement(before, views)), _mean(agreement(after, views))
    return RefinementReport(seen, held_out, likeness(after, before))


def _error(gaussians: Gaussians, views: Views, config: RefinementConfig) -> Float[Tensor, ""]:
    rgb, alpha = photograph(gaussians, views.cameras[0])
    error = (rgb - views.images[0]).square().mean()
    if views.alphas is None:
        return error
    return error + config.outline * (alpha - views.alphas[0]).square().mean()


def _mirrored(views: Views) -> Views:
    alphas = None if views.alphas is None else views.alphas.flip(-1)
    return Views(views.images.flip(-1), views.cameras.mirrored(), alphas)


@torch.enable_grad()
def _seen_in(gaussians: Gaussians, cameras: Cameras) -> Bool[Tensor, "n"]:
    """Which Gaussians the pictures show."""
    cameras = cameras.resized(_SEEN_SIZE, _SEEN_SIZE)
    colors = gaussians.colors.detach().clone().requires_grad_()
    drawn = render(replace(gaussians.detach(), colors=colors), cameras, depth=False).rgb.sum()
    (pixels,) = torch.autograd.grad(drawn, colors)
    return pixels[:, 0] >= _SEEN


def _held(value: Float[Tensor, "n ..."], still: Bool[Tensor, "n"]) -> Float[Tensor, "n ..."]:
    """The same values, some of them without gradients."""
    return torch.where(still.view(-1, *[1] * (value.dim() - 1)), value.detach(), value)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _novel_cameras(views: Views) -> Cameras:
    """Cameras around the object at the input views' distance, between and beyond them."""
    camera, size = views.cameras[0, 0], min(views.cameras.width, _NOVEL_SIZE)
    radius, focal = float(camera.centers.norm()), float(camera.Ks[0, 0]) * size / camera.width
    rings = [
        orbit(_NOVEL, elevation, radius, size, focal, azimuth=i * torch.pi / _NOVEL)
        for i, elevation in enumerate(_ELEVATIONS)
    ]
    return cat(rings).to(views.images.device)


def _free(gaussians: Gaussians) -> dict[str, Float[Tensor, "n ..."]]:
    """The parameters without bounds: log scales, logits of opacities and colors."""
    return {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.scales.log(),
        "opacities": gaussians.opacities.clamp(_EDGE, 1 - _EDGE).logit(),
        "colors": gaussians.colors.clamp(_EDGE, 1 - _EDGE).logit(),
    }


def _bound(free: dict[str, Tensor], like: Gaussians) -> Gaussians:
    return Gaussians(
        free["means"],
        F.normalize(free["quats"], dim=-1),
        free["scales"].exp(),
        free["opacities"].sigmoid(),
        free["colors"].sigmoid(),
        like.expansion,
    )
