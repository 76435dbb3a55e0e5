"""Where a photo was taken from.

A model's camera head guesses it at once; where other guesses rival the likeliest, the network itself has a
say, and where a model has no camera head, it decides. An object generated under a wrong camera does not look
like the photo from that camera. So: generate under several cameras, render each object from its own camera,
and keep the camera whose rendering agrees best with the photo, first on a coarse grid of angles, then on
finer ones around the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.cutout import fit, level
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.models.camera_head import APART, CameraHead, Direction, crop_to_object, likely_directions
from sparsegen.photos import distance_of, frame
from sparsegen.splatting import render
from sparsegen.views import Views, stack_views

# Degrees. The grid's heights are those of people and of pictures in catalogues.
COARSE_AZIMUTHS = tuple(22.5 * i for i in range(-8, 8))
COARSE_ELEVATIONS = (12.0, 28.0, 48.0)
FINE_STEPS = (8.0, 4.0)
# Pictures reach the head as sharp as those that it was trained on: 128 pixels, the object two thirds of it.
_HEAD_FRAME = (128, 0.67, (0.5, 0.5))
# How much a wrong outline counts beside wrong colors.
ALPHA_WEIGHT = 0.5
# Guesses of the head that are this likely beside the likeliest rival it.
RIVAL = 0.25
# Rivals are judged by how badly they render the photo, over their chances to this power.
CHANCE_POWER = 0.5
# Degrees; pictures that seem tilted by less, or taken from higher up, are left as they are.
LEAST_ROLL, HIGHEST_ROLLED = 4.0, 18.0
# Photos are assumed to show the front more often than the rear, and of cars unlike those of its training the
# head takes more for seen from behind than the other way round: a guess in front is so much likelier.
FRONT_ODDS = 2.0


@dataclass(frozen=True)
class CameraEstimate:
    """A level camera on the training sphere, in degrees, how badly its object renders the photo (NaN if that
    was not tried), and how likely the camera head finds it, None without one."""

    azimuth: float
    elevation: float
    error: float
    chance: float | None = None

    def away_from(self, azimuth: float, elevation: float) -> tuple[float, float]:
        """How far it is from a direction in degrees: in azimuth and in elevation, both at least 0."""
        return _apart(self.azimuth, azimuth), abs(self.elevation - elevation)


def estimate_roll(pipeline: Pipeline, rgba: Float[Tensor, "4 h w"]) -> float:
    """By how many degrees a cut-out photo's object is turned clockwise in it.

    0 for a photo that is about level, for one from above, where a tilt looks like another azimuth, and
    without a camera head that says it.
    """
    head = pipeline.camera_head
    if head is None or not head.config.rolls:
        return 0.0
    crop = _head_crop(head, rgba, pipeline.device)[None]
    roll = float(head.rolls_of(crop))
    from_above = likely_directions(head.directions_of(crop)[0], 1)[0].elevation > HIGHEST_ROLLED
    return 0.0 if from_above or abs(roll) < LEAST_ROLL else roll


def upright(
    pipeline: Pipeline,
    rgba: Float[Tensor, "4 h w"],
    focal_length: float | None = None,
    roll: float | None = None,
) -> tuple[Float[Tensor, "4 h2 w2"], float | None]:
    """A cut-out photo turned level, by what its roll is or seems to be, and the focal length that shows it,
    if there is one: the canvas grows with the turn."""
    roll = estimate_roll(pipeline, rgba) if roll is None else roll
    if not roll:
        return rgba, focal_length
    turned = level(rgba, roll)
    if focal_length is not None:
        focal_length *= math.hypot(*rgba.shape[1:]) / math.hypot(*turned.shape[1:])
    return turned, focal_length


def estimate_camera(
    pipeline: Pipeline, rgba: Float[Tensor, "4 h w"], roll: float | None = None
) -> list[CameraEstimate]:
    """Cameras from which a cut-out photo may have been taken, best first, far apart from each other.

    `roll` is that of `view_from`. Raises `InputError` where neither a camera head nor the network can tell.
    """
    rgba, _ = upright(pipeline, rgba, roll=roll)
    if pipeline.camera_head is not None:
        return _from_head(pipeline, pipeline.camera_head, rgba)
    if not pipeline.model.knows_cameras:  # its objects look like the photo under any
        raise InputError(
            "this model cannot tell where a picture was taken from; give --azimuth and --elevation"
        )
    return _from_grid(pipeline, rgba)


def estimate_or_keep(
    pipeline: Pipeline,
    rgba: Float[Tensor, "4 h w"],
    known: tuple[float | None, float | None],
    roll: float | None = None,
) -> list[CameraEstimate]:
    """A photo's own estimates; those of known azimuth and elevation (degrees) are that camera alone.

    Where only one of the two is known, the other is that of the estimate which comes nearest to it. `roll` is
    that of `view_from`.
    """
    azimuth, elevation = known
    if azimuth is not None and elevation is not None:
        return [CameraEstimate(azimuth, elevation, math.nan)]
    estimates = estimate_camera(pipeline, rgba, roll)
    if azimuth is not None:
        nearest = min(estimates, key=lambda e: _apart(e.azimuth, azimuth))
        return [CameraEstimate(azimuth, nearest.elevation, math.nan)]
    if elevation is not None:
        nearest = min(_rivals(estimates), key=lambda e: abs(e.elevation - elevation))
        return [CameraEstimate(nearest.azimuth, elevation, math.nan)]
    return estimates


def _rivals(estimates: Sequence[CameraEstimate]) -> list[CameraEstimate]:
    """The best, and those about as likely: heights hardly tell estimates apart, which differ by azimuth."""
    best = estimates[0].chance
    return [e for e in estimates if e is estimates[0] or (best and e.chance and e.chance >= RIVAL * best)]


@torch.no_grad()
def view_from(
    pipeline: Pipeline,
    rgba: Float[Tensor, "4 h w"],
    azimuth: float | None = None,
    elevation: float | None = None,
    focal_length: float | None = None,
    size: int | None = None,
    roll: float | None = None,
) -> Views:
    """A cut-out photo as the network takes it, if it was taken from a direction in degrees.

    What is not given of the direction is estimated, and so is `roll`, by how many degrees the object is
    turned clockwise in the picture, which is turned level. The object is framed as the pipeline's camera head
    sees it; as a typical one without a head. `focal_length`, the equivalent in millimetres on 35 mm film,
    says how far away the object stood; else the head guesses that too. `size` is the picture's side in
    pixels, if not the network's. Raises `InputError` if nothing of it is seen, or its direction cannot be
    told.

    >>> views = view_from(pipeline, read_photo("photo.jpg"))
    >>> gaussians = pipeline(views)[0]
    """
    rgba, focal_length = upright(pipeline, rgba, focal_length, roll)
    camera = estimate_or_keep(pipeline, rgba, (azimuth, elevation), roll=0.0)[0]
    azimuth, elevation = camera.azimuth, camera.elevation
    framing = None
    if pipeline.camera_head is not None:
        crop = _head_crop(pipeline.camera_head, rgba, pipeline.device)
        framing = pipeline.camera_head.frame_of(crop, azimuth, elevation)
    distance = None
    if focal_length is not None:
        distance = distance_of(rgba, focal_length, azimuth, elevation, framing)
    size = size or pipeline.model.config.image_size
    return frame(rgba, size, azimuth, elevation, distance, framing)


def _head_crop(
    head: CameraHead, rgba: Float[Tensor, "4 h w"], device: torch.device
) -> Float[Tensor, "4 s s"]:
    image, alpha = fit(rgba, *_HEAD_FRAME)
    return crop_to_object(image[None].to(device), alpha[None].to(device), head.config.size)[0]


def _from_grid(pipeline: Pipeline, rgba: Float[Tensor, "4 h w"]) -> list[CameraEstimate]:
    grid = [(azimuth, elevation) for elevation in COARSE_ELEVATIONS for azimuth in COARSE_AZIMUTHS]
    coarse = sorted(_try(pipeline, rgba, grid), key=lambda e: e.error)
    best = coarse[0]
    for step in FINE_STEPS:
        moves = [(a, e) for a in (-step, 0, step) for e in (-step, 0, step) if (a, e) != (0, 0)]
        around = [(best.azimuth + a, best.elevation + e) for a, e in moves]
        best = min([best, *_try(pipeline, rgba, around)], key=lambda e: e.error)
    kept = [best]
    for estimate in coarse:
        if all(_apart(estimate.azimuth, other.azimuth) >= APART for other in kept):
            kept.append(estimate)
    return kept


@torch.no_grad()
def _from_head(pipeline: Pipeline, head: CameraHead, rgba: Float[Tensor, "4 h w"]) -> list[CameraEstimate]:
    """The head's guesses, likeliest first; rivals of the likeliest by how well they render the photo, too."""
    crop = _head_crop(head, rgba, pipeline.device)
    guesses = _in_front_first(likely_directions(head.directions_of(crop[None])[0].float().cpu()))
    estimates = [CameraEstimate(g.azimuth, g.elevation, math.nan, g.chance) for g in guesses]
    rivals = sum(guess.chance >= RIVAL * guesses[0].chance for guess in guesses)
    if rivals > 1:
        tried = _try(pipeline, rgba, [(e.azimuth, e.elevation) for e in estimates[:rivals]])
        judged = [replace(e, error=t.error) for e, t in zip(estimates, tried, strict=False)]
        estimates[:rivals] = sorted(judged, key=lambda e: e.error / (e.chance or 1.0) ** CHANCE_POWER)
    return estimates


def _in_front_first(guesses: Sequence[Direction]) -> list[Direction]:
    """The guesses with chances by `FRONT_ODDS`, likeliest first."""
    odds = [guess.chance * (FRONT_ODDS if abs(guess.azimuth) < 90 else 1.0) for guess in guesses]
    total = sum(odds) + max(0.0, 1 - sum(guess.chance for guess in guesses))
    weighed = [replace(guess, chance=o / total) for guess, o in zip(guesses, odds, strict=True)]
    return sorted(weighed, key=lambda guess: -guess.chance)


@torch.no_grad()
def _try(
    pipeline: Pipeline, rgba: Float[Tensor, "4 h w"], angles: Sequence[tuple[float, float]]
) -> list[CameraEstimate]:
    views = stack_views([view_from(pipeline, rgba, *pair, roll=0.0) for pair in angles])
    assert views.alphas is not None
    errors = rendering_errors(pipeline.reconstruct(views, layers="uncorrected"), views)
    # Some directions frame the object smaller: less of the picture is wrong then, not less of the object.
    errors = errors / views.alphas.mean((1, 2, 3)).to(errors.device)
    return [CameraEstimate(*pair, error) for pair, error in zip(angles, errors.tolist(), strict=True)]


def rendering_errors(gaussians: Gaussians, views: Views) -> Float[Tensor, "b"]:
    """How badly each of B objects renders its own views (B, V), which have alphas: colors and outlines."""
    views = views.to(gaussians.means.device)
    assert views.alphas is not None
    rendering = render(gaussians, views.cameras, depth=False)
    color = (rendering.rgb - views.images).square().mean((1, 2, 3, 4))
    outline = (rendering.alpha - views.alphas).square().mean((1, 2, 3))
    return color + ALPHA_WEIGHT * outline


def _apart(first: float, second: float) -> float:
    return abs((first - second + 180) % 360 - 180)
