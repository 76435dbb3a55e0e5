"""Test-time refinement: gradient steps on the Gaussians against the input views.

What the pictures do not show must not pay for what they show: each parameter is held near its start, and
so are renderings from all around.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras, cat, orbit
from sparsegen.gaussians import Gaussians
from sparsegen.ranking import agreement, likeness
from sparsegen.splatting import render
from sparsegen.views import Views

# Adam's rates: world units for the means, else in the space where each parameter is free.
_RATES = {"means": 4e-4, "quats": 4e-3, "scales": 8e-3, "opacities": 2e-2, "colors": 2e-2}
# How far each is free to go: beyond, the pull back to the start is as strong as `pull`.
_REACH = {"means": 0.02, "quats": 0.3, "scales": 0.5, "opacities": 1.0, "colors": 1.0}
# Opacities and colors of exactly 0 or 1 would never move again.
_EDGE = 1e-3
# A loss, in dB, on a view that was held out that nobody sees: for less, what is gained elsewhere is kept.
HARMLESS = 0.25
# Novel cameras: four low and four high ones, two of which are rendered in each step.
_ELEVATIONS = (0.15, 0.7)
_NOVEL, _NOVEL_EACH_STEP = 4, 2


@dataclass(frozen=True)
class RefinementConfig:
    """Weights of the terms beside the squared error of the input views' colors."""

    outline: float = 0.5  # squared error of the input views' coverage
    novel: float = 0.3  # squared change of renderings from all around
    pull: float = 2e-3  # squared distance from the start, in units of each parameter's reach


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
    gaussians: Gaussians, views: Views, steps: int, config: RefinementConfig | None = None
) -> Gaussians:
    """The object (batch shape ()) after `steps` of Adam against its input views (batch size 1).

    The same input gives the same output; 0 steps give the object back.
    """
    config = config or RefinementConfig()
    views = views.to(gaussians.means.device)
    start = {name: value.detach().clone() for name, value in _free(gaussians).items()}
    free = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam([{"params": [free[name]], "lr": rate} for name, rate in _RATES.items()])
    novel = _novel_cameras(views)
    with torch.no_grad():
        before = render(gaussians, novel, depth=False).rgb
    for step in range(steps):
        some = torch.arange(_NOVEL_EACH_STEP) + step * _NOVEL_EACH_STEP
        some = some % len(novel)
        rendering = render(_bound(free, gaussians), cat([views.cameras[0], novel[some]]), depth=False)
        seen = views.view_count
        loss = (rendering.rgb[:seen] - views.images[0]).square().mean()
        if views.alphas is not None:
            loss = loss + config.outline * (rendering.alpha[:seen] - views.alphas[0]).square().mean()
        loss = loss + config.novel * (rendering.rgb[seen:] - before[some]).square().mean()
        for name, value in free.items():
            loss = loss + config.pull * ((value - start[name]) / _REACH[name]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _bound(free, gaussians).detach() if steps else gaussians


def refine_checked(
    gaussians: Gaussians, views: Views, steps: int, config: RefinementConfig | None = None
) -> tuple[Gaussians, RefinementReport]:
    """`refine`, and what it did. With two or more views it first proves itself on the last one.

    If refinement against the other views makes the last one worse by more than a quarter of a dB, the object
    stays as it was.
    """
    held_out = None
    if views.view_count > 1:
        last = views.select(slice(-1, None))
        trial = refine(gaussians, views.select(slice(0, -1)), steps, config)
        held_out = agreement(gaussians, last)[0], agreement(trial, last)[0]
    before = _mean(agreement(gaussians, views))
    report = RefinementReport((before, before), held_out, math.inf)
    if report.harmful:
        return gaussians, report
    refined = refine(gaussians, views, steps, config)
    seen = before, _mean(agreement(refined, views))
    return refined, RefinementReport(seen, held_out, likeness(refined, gaussians))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _novel_cameras(views: Views) -> Cameras:
    """Cameras around the object at the input views' distance, between and beyond them."""
    camera = views.cameras[0, 0]
    radius, focal = float(camera.centers.norm()), float(camera.Ks[0, 0])
    rings = [
        orbit(_NOVEL, elevation, radius, camera.width, focal, azimuth=i * torch.pi / _NOVEL)
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
