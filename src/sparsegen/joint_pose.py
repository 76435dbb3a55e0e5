"""The cameras of several photos of one object, found together.

Each photo's camera is estimated on its own first; a lone photo often cannot tell front from back. So the
photo that its own object explains best begins, and each of the others joins with that one of its cameras
under which all photos so far agree best. Then all cameras move together: an object is generated from all
photos, gradient steps turn each photo's camera to where the object's rendering agrees with it, and the
object is generated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras, on_sphere, stack
from sparsegen.formats.axes import quat_product
from sparsegen.gaussians import Gaussians, cat
from sparsegen.generation import Pipeline
from sparsegen.pose import CameraEstimate, rendering_errors, view_from
from sparsegen.ranking import agreement
from sparsegen.views import Views, cat_views

_ROUNDS, _STEPS = 2, 12
_RATE = math.radians(1.0)  # Adam's step of an angle
# An angle that moves from its estimate by so much costs so much beside the rendering error.
_TRUST, _PRICE = math.radians(10.0), 2e-3
# Estimates of one photo that are tried.
_CANDIDATES = 4
_PLAUSIBLE = 0.3  # of the best one's chance
# A photo that its joint object explains this much worse than its own object, in dB, may be of another one.
# Photos of one car lose up to 4.5 dB; those of another car often no more, those of another thing far more.
DISAGREEMENT = 6.0

_Shot = tuple[Tensor, float | None]  # a cut-out (4, h, w) and its focal length


@dataclass(frozen=True)
class JointCamera:
    """A photo's camera in degrees, how far it moved when all cameras moved together, and its agreement.

    `together` and `alone` are the PSNR in dB of the object from all photos, and from this one alone.
    """

    azimuth: float
    elevation: float
    moved: float
    together: float
    alone: float

    @property
    def agrees(self) -> bool:
        return self.together > self.alone - DISAGREEMENT


def find_cameras_together(
    pipeline: Pipeline,
    cutouts: Sequence[Float[Tensor, "4 h w"]],
    estimates: Sequence[Sequence[CameraEstimate]],
    focal_lengths: Sequence[float | None] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> tuple[Views, list[JointCamera]]:
    """The photos as views of one object, and their cameras.

    `cutouts` are level (`sparsegen.pose.upright`); `estimates` are each photo's own, best first
    (`sparsegen.pose.estimate_camera`); one alone is kept as it is, so that a known camera goes in as a list
    of one. `focal_lengths` are each photo's, where they are known (`sparsegen.pose.view_from`). `tick` is
    called after each of `steps_at_most` steps.
    """
    shots = list(zip(cutouts, focal_lengths or [None] * len(cutouts), strict=True))
    chosen = _choose(pipeline, shots, estimates, tick)
    free = torch.tensor([len(found) > 1 for found in estimates])
    angles = chosen
    error = _error(pipeline, _views(pipeline, shots, angles))
    for _ in range(_ROUNDS):
        views = _views(pipeline, shots, angles)
        moved = _turned(pipeline.reconstruct(views, layers="uncorrected"), views, angles, free, tick)
        found = _error(pipeline, _views(pipeline, shots, moved))
        if found >= error:
            break
        angles, error = moved, found
    views = _views(pipeline, shots, angles)
    return views, _report(pipeline, views, chosen, angles, tick)


def steps_at_most(estimates: Sequence[Sequence[CameraEstimate]]) -> int:
    """How many steps photos of these estimates take together, if all are taken."""
    trials = sum(len(_plausible(found)) for found in estimates)
    return trials + _ROUNDS * _STEPS + 2 * len(estimates)


def _choose(
    pipeline: Pipeline,
    shots: Sequence[_Shot],
    estimates: Sequence[Sequence[CameraEstimate]],
    tick: Callable[[], object],
) -> Float[Tensor, "v 2"]:
    """One of its estimates for each photo, in degrees: those under which the photos agree.

    Known cameras come first, then the photos that their own objects explain best.
    """

    def error(trial: dict[int, CameraEstimate]) -> float:
        found = _error(pipeline, _trial_views(pipeline, shots, trial))
        tick()
        return found

    errors = [error({i: found[0]}) for i, found in enumerate(estimates)]
    order = sorted(range(len(shots)), key=lambda i: (len(estimates[i]) > 1, errors[i]))
    chosen: dict[int, CameraEstimate] = {}
    for i in order:
        candidates = _plausible(estimates[i]) if chosen else estimates[i][:1]
        trials = [{**chosen, i: candidate} for candidate in candidates]
        chosen = min(trials, key=error)
    return torch.tensor([[chosen[i].azimuth, chosen[i].elevation] for i in range(len(shots))]).float()


def _plausible(estimates: Sequence[CameraEstimate]) -> list[CameraEstimate]:
    """The best, and those that the camera head, if there is one, does not find far less likely."""
    best = estimates[0].chance
    kept = [e for e in estimates if best is None or e.chance is None or e.chance >= _PLAUSIBLE * best]
    return kept[:_CANDIDATES]


def _trial_views(pipeline: Pipeline, shots: Sequence[_Shot], trial: dict[int, CameraEstimate]) -> Views:
    angles = torch.tensor([[found.azimuth, found.elevation] for found in trial.values()]).float()
    return _views(pipeline, [shots[i] for i in trial], angles)


def views_from(
    pipeline: Pipeline,
    cutouts: Sequence[Float[Tensor, "4 h w"]],
    angles: Sequence[tuple[float, float]],
    focal_lengths: Sequence[float | None],
    size: int | None = None,
) -> Views:
    """Level photos as views of one object, each from its azimuth and elevation in degrees
    (`pose.view_from`)."""
    views, *others = (
        view_from(pipeline, rgba, azimuth, elevation, focal_length, size, roll=0.0)
        for rgba, (azimuth, elevation), focal_length in zip(cutouts, angles, focal_lengths, strict=True)
    )
    for other in others:
        views = cat_views(views, other)
    return views


def _views(pipeline: Pipeline, shots: Sequence[_Shot], angles: Float[Tensor, "v 2"]) -> Views:
    cutouts, focal_lengths = zip(*shots, strict=True)
    return views_from(pipeline, cutouts, [(a, e) for a, e in angles.tolist()], focal_lengths)


@torch.no_grad()
def _error(pipeline: Pipeline, views: Views) -> float:
    return float(rendering_errors(pipeline.reconstruct(views, layers="uncorrected"), views))


def _turned(
    gaussians: Gaussians,
    views: Views,
    angles: Float[Tensor, "v 2"],
    free: Tensor,
    tick: Callable[[], object],
) -> Float[Tensor, "v 2"]:
    """Angles in degrees after gradient steps against the rendering error of a fixed object.

    The splatting has gradients for Gaussians, not for cameras: so the object is turned in front of a
    fixed camera, once for each photo, which makes the same picture.
    """
    start = torch.deg2rad(angles)
    turned = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([turned], lr=_RATE)
    size, count = views.cameras.width, views.view_count
    fixed = _straight_in_front(views.cameras[0]).to(gaussians.means.device)[:, None]
    alphas = None if views.alphas is None else views.alphas.reshape(count, 1, size, size)
    one_each = Views(views.images.reshape(count, 1, 3, size, size), fixed, alphas)
    objects = cat([gaussians.detach()] * count)
    for _ in range(_STEPS):
        now = torch.where(free[:, None], turned, start).to(gaussians.means.device)
        far = (now - start.to(now)) / _TRUST
        loss = rendering_errors(_turn(objects, now), one_each).mean() + _PRICE * far.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tick()
    return torch.rad2deg(torch.where(free[:, None], turned, start).detach())


def _straight_in_front(cameras: Cameras) -> Cameras:
    """Cameras on spheres (V,) moved to azimuth and elevation 0, their distances and lenses kept."""
    zero, size = torch.zeros(()), cameras.width
    pairs = zip(cameras.centers.norm(dim=-1).tolist(), cameras.Ks[:, 0, 0].tolist(), strict=True)
    return stack([on_sphere(zero, zero, distance, size, focal) for distance, focal in pairs])


def _turn(gaussians: Gaussians, angles: Float[Tensor, "v 2"]) -> Gaussians:
    """Each object as a camera at its azimuth and elevation (radians) sees it, seen from straight in front.

    The turn is about Z by -azimuth, then about Y by elevation, which lifts what is behind.
    """
    half = angles / 2
    azimuth, elevation = half[:, 0], half[:, 1]
    # The product (cos e, 0, sin e, 0) (cos a, 0, 0, -sin a) of half angles.
    turn = torch.stack(
        [
            elevation.cos() * azimuth.cos(),
            -elevation.sin() * azimuth.sin(),
            elevation.sin() * azimuth.cos(),
            -elevation.cos() * azimuth.sin(),
        ],
        dim=-1,
    )[:, None]
    points = torch.nn.functional.pad(gaussians.means, (1, 0))  # as quaternions without a real part
    back = torch.cat([turn[..., :1], -turn[..., 1:]], dim=-1)
    means = quat_product(quat_product(turn, points), back)[..., 1:]
    return replace(gaussians, means=means, quats=quat_product(turn, gaussians.quats))


def _report(
    pipeline: Pipeline,
    views: Views,
    before: Float[Tensor, "v 2"],
    after: Float[Tensor, "v 2"],
    tick: Callable[[], object],
) -> list[JointCamera]:
    together = agreement(pipeline.finished(pipeline.reconstruct(views)[0]), views)
    found = []
    for i, (azimuth, elevation) in enumerate(after.tolist()):
        one = views.select([i])
        alone = agreement(pipeline.finished(pipeline.reconstruct(one)[0]), one)[0]
        moved = float((after[i] - before[i]).norm())
        azimuth = (azimuth + 180) % 360 - 180
        found.append(JointCamera(azimuth, elevation, moved, together[i], alone))
        tick()
    return found
