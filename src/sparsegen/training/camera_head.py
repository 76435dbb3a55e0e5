"""Training of the camera head: pictures of a viewset dataset, their cameras' directions and their objects'
frames as targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import RADIUS, Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.formats.cutout import object_boxes, turned
from sparsegen.models.camera_head import (
    FRAME_SPREADS,
    MIRRORED_FRAME,
    ROLL_SPREAD,
    CameraHead,
    CameraHeadConfig,
    cell_targets,
    crop_to_object,
    directions_to,
    likely_directions,
)
from sparsegen.models.foreground import ForegroundNet
from sparsegen.photos import typical_frames
from sparsegen.training.disguises import disguised
from sparsegen.training.pacing import falling_steps
from sparsegen.training.rough_cutouts import rough_cut_outs
from sparsegen.training.scenes import Scenery

# Tilted cameras are so many degrees off at most.
_LARGEST_ROLL = 15.0


@dataclass(frozen=True)
class CameraHeadTraining:
    """The recipe. `mirrored` also shows pictures from the other side of the plane y = 0, for objects
    that are their own mirror images in it. `rough` is the share of cut-outs with the faults that those of
    photographs have, where there is a foreground network; `tilted` that of pictures from tilted cameras."""

    steps: int = 4000
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    mirrored: bool = True
    rough: float = 0.25
    tilted: float = 0.5
    seed: int = 0


def train_camera_head(
    scenery: Scenery,
    recipe: CameraHeadTraining,
    foreground: ForegroundNet | None = None,
    max_seconds: float | None = None,
    start: CameraHead | None = None,
) -> CameraHead:
    """A trained head, in eval mode, that says tilts; it goes on from `start` where one is given, in place if
    that says them already.

    Where there is a `foreground` network, it cuts some of the objects out of what the rest of `scenery` makes
    of them, as photographs are cut out. The learning rate falls over the steps or the clock, whichever is
    further; SIGINT and SIGTERM end training early with what has been learned.
    """
    torch.manual_seed(recipe.seed)
    head = _with_rolls(start).train()
    optimizer = torch.optim.AdamW(head.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    for step, bar in falling_steps(optimizer, recipe.lr, recipe.steps, max_seconds):
        batch = camera_batch(scenery, recipe, step, head.config.size, foreground)
        features = head.features(batch.crops)
        targets = cell_targets(batch.azimuths, batch.elevations)
        loss = F.cross_entropy(head.directions(features).flatten(1), targets.flatten(1))
        frames = head.frames(features, batch.azimuths, batch.elevations)
        spreads = frames.new_tensor(FRAME_SPREADS)
        loss = loss + F.smooth_l1_loss(frames / spreads, batch.frames / spreads, beta=0.1)
        rolls = head.rolls(features)
        loss = loss + F.smooth_l1_loss(rolls / ROLL_SPREAD, batch.rolls / ROLL_SPREAD, beta=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0:
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    return head.eval()


def _with_rolls(start: CameraHead | None) -> CameraHead:
    """The head to begin with, or one that knows what it knows, and learns how far cameras were tilted."""
    if start is not None and start.config.rolls:
        return start
    head = CameraHead(replace(CameraHeadConfig() if start is None else start.config, rolls=True))
    if start is not None:
        head.load_state_dict({**head.state_dict(), **start.state_dict()})
    return head


class CameraBatch(NamedTuple):
    """Cut-outs, the directions to their cameras in degrees, their objects' frames as the head gives them
    (log zoom, right, down, log distance over the usual one), and how far they are turned clockwise in their
    pictures, in degrees."""

    crops: Float[Tensor, "b 4 s s"]
    azimuths: Float[Tensor, "b"]
    elevations: Float[Tensor, "b"]
    frames: Float[Tensor, "b 4"]
    rolls: Float[Tensor, "b"]


def camera_batch(
    scenery: Scenery,
    recipe: CameraHeadTraining,
    step: int,
    size: int,
    foreground: ForegroundNet | None = None,
) -> CameraBatch:
    """Cut-outs of random pictures, `size` pixels large, some rough, some tilted, moved a little, mirrored and
    disguised, and their targets."""
    rng = np.random.default_rng((recipe.seed, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    count, view_count = scenery.viewsets.images.shape[:2]
    views = scenery.viewsets.views(
        rng.integers(count, size=recipe.batch_size), rng.integers(view_count, size=(recipe.batch_size, 1))
    )
    assert views.alphas is not None
    images, alphas, cameras = views.images[:, 0], views.alphas[:, 0], views.cameras[:, 0]
    if foreground is not None and (some := round(recipe.rough * recipe.batch_size)):
        images[:some], alphas[:some] = rough_cut_outs(
            foreground, images[:some], alphas[:some], scenery, rng, generator
        )
    tilted = torch.rand(recipe.batch_size, generator=generator) < recipe.tilted
    rolls = tilted * _LARGEST_ROLL * (2 * torch.rand(recipe.batch_size, generator=generator) - 1)
    images, alphas = _turned(images, alphas, rolls)
    zoom = 1 + 0.15 * (torch.rand(recipe.batch_size, generator=generator) - 0.5)
    shift = 0.1 * (torch.rand(recipe.batch_size, 2, generator=generator) - 0.5)
    crops = crop_to_object(images, alphas, size, zoom, shift)
    azimuths, elevations = directions_to(cameras.centers)
    frames = true_frames(alphas, cameras)
    if recipe.mirrored:
        other = torch.rand(recipe.batch_size, generator=generator) < 0.5
        crops = torch.where(other[:, None, None, None], crops.flip(-1), crops)
        azimuths = torch.where(other, -azimuths, azimuths)
        frames = torch.where(other[:, None], frames * frames.new_tensor(MIRRORED_FRAME), frames)
        rolls = torch.where(other, -rolls, rolls)
    return CameraBatch(disguised(crops, generator), azimuths, elevations, frames, rolls)


def _turned(
    images: Float[Tensor, "b 3 s s"], alphas: Float[Tensor, "b s s"], degrees: Float[Tensor, "b"]
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Pictures over white, and their coverage, as a camera that is turned counterclockwise takes them."""
    moved = turned(torch.cat([images - 1, alphas[:, None]], dim=1), degrees)
    return moved[:, :3] + 1, moved[:, 3]


def true_frames(alphas: Float[Tensor, "b h w"], cameras: Cameras) -> Float[Tensor, "b 4"]:
    """How the objects in B pictures are framed, against typical ones before the same cameras."""
    top, bottom, left, right = (object_boxes(alphas) / cameras.width).unbind(-1)
    typical, middle = typical_frames(cameras)
    zoom = torch.maximum(bottom - top, right - left) / typical
    moved = (torch.stack([left + right, top + bottom], dim=-1) / 2 - middle) / typical[:, None]
    farther = (cameras.centers.norm(dim=-1) / RADIUS).log()
    return torch.cat([zoom.log()[:, None], moved, farther[:, None]], dim=-1)


@torch.no_grad()
def direction_errors(
    head: CameraHead, viewsets: Viewsets
) -> tuple[Float[Tensor, "n v"], Float[Tensor, "n v"]]:
    """How far, in degrees of azimuth and of elevation, the likeliest directions are from the true ones."""
    turns, rises = [], []
    for images, alphas, cameras in _object_by_object(viewsets):
        logits = head.directions_of(crop_to_object(images, alphas, head.config.size))
        azimuths, elevations = directions_to(cameras.centers)
        best = [likely_directions(each, 1)[0] for each in logits]
        turn = torch.tensor([guess.azimuth for guess in best]) - azimuths
        turns.append(((turn + 180) % 360 - 180).abs())
        rises.append((torch.tensor([guess.elevation for guess in best]) - elevations).abs())
    return torch.stack(turns), torch.stack(rises)


@torch.no_grad()
def framing_errors(
    head: CameraHead, viewsets: Viewsets
) -> tuple[Float[Tensor, "n v 4"], Float[Tensor, "n v 4"]]:
    """How far off the head's frames are for pictures from known directions, and what all typical objects at
    the usual distance would be: sizes and distances as logarithms, which are about shares."""
    predicted, typical = [], []
    for images, alphas, cameras in _object_by_object(viewsets):
        crops = crop_to_object(images, alphas, head.config.size)
        true = true_frames(alphas, cameras)
        found = head.frames_of(crops, *directions_to(cameras.centers))
        predicted.append((found - true).abs())
        typical.append(true.abs())
    return torch.stack(predicted), torch.stack(typical)


@torch.no_grad()
def roll_errors(head: CameraHead, viewsets: Viewsets) -> Float[Tensor, "n v"]:
    """How far off, in degrees, the head's rolls are for pictures tilted as those of its training are."""
    generator, errors = torch.Generator().manual_seed(0), []
    for images, alphas, _ in _object_by_object(viewsets):
        rolls = _LARGEST_ROLL * (2 * torch.rand(len(images), generator=generator) - 1)
        crops = crop_to_object(*_turned(images, alphas, rolls), head.config.size)
        errors.append((head.rolls_of(crops) - rolls).abs())
    return torch.stack(errors)


def _object_by_object(viewsets: Viewsets) -> Iterator[tuple[Tensor, Tensor, Cameras]]:
    """All pictures of one object after the other, with their alphas and cameras, each of V."""
    count, total = viewsets.images.shape[:2]
    for index in range(count):
        some = viewsets.views(np.array([index]), np.arange(total)[None])
        assert some.alphas is not None
        yield some.images[0], some.alphas[0], some.cameras[0]
