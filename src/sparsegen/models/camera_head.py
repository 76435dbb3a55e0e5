"""Camera head: the direction that a picture of an object was taken from, and how the object is framed.

A small convolutional network over the object's cut-out. Cars look alike from the front and from behind,
so it gives chances of all directions, not one direction. What a picture shows of an object of unit
bounding-box diagonal depends on its proportions and on the lens; so the head also says, for any direction,
how far away the camera stood, how much larger than a typical object's its frame is, and where its middle
lies. And it says how far the camera was tilted, so that pictures can be turned level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import RADIUS
from sparsegen.formats.cutout import object_boxes

# Side of a direction's cell, in degrees, and how many: all around, and from the horizon to near the zenith.
CELL = 10.0
AZIMUTHS, ELEVATIONS = 36, 9
# Directions this many degrees of azimuth apart are told apart as different guesses.
APART = 45.0
# Frames differ from typical ones by about this much: log zoom, right, down and log distance of `Framing`.
FRAME_SPREADS = (0.05, 0.05, 0.05, 0.3)
# What a mirror image does to them.
MIRRORED_FRAME = (1.0, -1.0, 1.0, 1.0)
# Tilts of photographs are about so many degrees.
ROLL_SPREAD = 5.0
# Sines and cosines by which the frames' layers know a direction.
_TURNS = 6


@dataclass(frozen=True)
class CameraHeadConfig:
    """Side of the cut-out that the network sees, in pixels, channels of its first layer, and whether it says
    how far cameras were tilted."""

    size: int = 64
    width: int = 32
    rolls: bool = False


@dataclass(frozen=True)
class Direction:
    """A direction to the camera, in degrees, and the chance that a picture was taken from about there."""

    azimuth: float
    elevation: float
    chance: float


@dataclass(frozen=True)
class Framing:
    """How an object's frame, its bounding box in a picture, differs from a typical object's in a picture from
    the same `distance` (world units) through the lens that makes it about as large as at the usual one.

    `zoom` is the ratio of the larger sides; `right` and `down` say how far its middle lies from the typical
    one's, in typical larger sides.
    """

    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0
    distance: float = RADIUS


class CameraHead(nn.Module):
    """Cut-outs of `crop_to_object` to logits of cells of directions, and to frames seen from directions."""

    def __init__(self, config: CameraHeadConfig) -> None:
        super().__init__()
        self.config = config
        channels, layers = 4, []
        for width in (config.width * factor for factor in (1, 2, 4, 6)):
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1),
                nn.GroupNorm(8, width),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1, groups=8),
                nn.GELU(),
            ]
            channels = width
        side = config.size // 16
        self.net = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(channels * side * side, 256),
            nn.GELU(),
            nn.Linear(256, AZIMUTHS * ELEVATIONS),
        )
        last = nn.Linear(128, len(FRAME_SPREADS))
        nn.init.zeros_(last.weight)  # typical until something else is learned
        nn.init.zeros_(last.bias)
        self.framing = nn.Sequential(nn.Linear(256 + _TURNS, 128), nn.GELU(), last)
        if config.rolls:
            self.rolling = nn.Linear(256, 1)
            nn.init.zeros_(self.rolling.weight)
            nn.init.zeros_(self.rolling.bias)

    def forward(self, crops: Float[Tensor, "b 4 s s"]) -> Float[Tensor, "b azimuths elevations"]:
        return self.directions(self.features(crops))

    def features(self, crops: Float[Tensor, "b 4 s s"]) -> Float[Tensor, "b c"]:
        """What the network knows of each cut-out, from which it says everything else."""
        return self.net[:-1](2 * crops - 1)

    def directions(self, features: Float[Tensor, "b c"]) -> Float[Tensor, "b azimuths elevations"]:
        """Logits of the directions that cut-outs were seen from."""
        return self.net[-1](features).unflatten(-1, (AZIMUTHS, ELEVATIONS))

    def frames(
        self, features: Float[Tensor, "b c"], azimuths: Float[Tensor, "b"], elevations: Float[Tensor, "b"]
    ) -> Float[Tensor, "b 4"]:
        """Frames from directions in degrees: log zoom, right, down of `Framing`, and the logarithm of its
        distance over the usual one."""
        a, e = torch.deg2rad(azimuths), torch.deg2rad(elevations)
        turns = torch.stack([a.cos(), a.sin(), (2 * a).cos(), (2 * a).sin(), e.cos(), e.sin()], dim=-1)
        return self.framing(torch.cat([features, turns], dim=-1)) * features.new_tensor(FRAME_SPREADS)

    def rolls(self, features: Float[Tensor, "b c"]) -> Float[Tensor, "b"]:
        """How far the objects are turned clockwise in their pictures, in degrees; 0 for a network that
        does not say."""
        if not self.config.rolls:
            return features.new_zeros(len(features))
        return ROLL_SPREAD * self.rolling(features)[:, 0]

    @torch.no_grad()
    def directions_of(self, crops: Float[Tensor, "b 4 s s"]) -> Float[Tensor, "b azimuths elevations"]:
        """Logarithms of the chances of all directions, the mean of what the pictures and their mirror images
        say: those show mirrored objects from the other side."""
        own, mirrored = self(torch.cat([crops, crops.flip(-1)])).flatten(1).log_softmax(1).chunk(2)
        other_side = (-torch.arange(AZIMUTHS, device=crops.device)) % AZIMUTHS
        mirrored = mirrored.unflatten(1, (AZIMUTHS, ELEVATIONS))[:, other_side]
        return (own.view_as(mirrored) + mirrored) / 2

    @torch.no_grad()
    def frames_of(
        self, crops: Float[Tensor, "b 4 s s"], azimuths: Float[Tensor, "b"], elevations: Float[Tensor, "b"]
    ) -> Float[Tensor, "b 4"]:
        """Those of `frames`, the mean of what pictures and their mirror images say."""
        both = torch.cat([crops, crops.flip(-1)]), torch.cat([azimuths, -azimuths]), elevations.repeat(2)
        own, mirrored = self.frames(self.features(both[0]), *both[1:]).chunk(2)
        return (own + mirrored * own.new_tensor(MIRRORED_FRAME)) / 2

    @torch.no_grad()
    def rolls_of(self, crops: Float[Tensor, "b 4 s s"]) -> Float[Tensor, "b"]:
        """Those of `rolls`, the mean of what pictures and their mirror images say."""
        own, mirrored = self.rolls(self.features(torch.cat([crops, crops.flip(-1)]))).chunk(2)
        return (own - mirrored) / 2

    def frame_of(self, crop: Float[Tensor, "4 s s"], azimuth: float, elevation: float) -> Framing:
        """How the object of one cut-out is framed, if the picture was taken from a direction in degrees."""
        direction = (torch.full((1,), angle, device=crop.device) for angle in (azimuth, elevation))
        log_zoom, right, down, farther = self.frames_of(crop[None], *direction)[0].tolist()
        return Framing(math.exp(log_zoom), right, down, RADIUS * math.exp(farther))


def cell_centers() -> tuple[Float[Tensor, "azimuths"], Float[Tensor, "elevations"]]:
    """Azimuths and elevations of the cells' middles, in degrees."""
    return CELL * (torch.arange(AZIMUTHS) - AZIMUTHS // 2), CELL * torch.arange(ELEVATIONS)


def crop_to_object(
    images: Float[Tensor, "b 3 h w"],
    alphas: Float[Tensor, "b h w"],
    size: int,
    zoom: Float[Tensor, "b"] | None = None,
    shift: Float[Tensor, "b 2"] | None = None,
) -> Float[Tensor, "b 4 s s"]:
    """Color and alpha of a square around each object, a little larger than it, over white.

    `zoom` and `shift` (in halves of the square) move the square, for training.
    """
    h, w = alphas.shape[-2:]
    top, bottom, left, right = object_boxes(alphas).unbind(-1)
    half = 0.575 * torch.maximum(right - left, bottom - top).clamp_min(1)
    half = half if zoom is None else half / zoom
    center = torch.stack([left + right, top + bottom], dim=-1) / 2
    center = center if shift is None else center + half[:, None] * shift
    axis = (torch.arange(size, device=alphas.device) + 0.5) / size * 2 - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    pixels = center[:, None, None] + half[:, None, None, None] * torch.stack([columns, rows], dim=-1)
    grid = 2 * pixels / pixels.new_tensor([w, h]) - 1
    # White becomes zero, so that zero padding is white without coverage.
    picture = torch.cat([images - 1, alphas[:, None]], dim=1)
    cropped = F.grid_sample(picture, grid, align_corners=False)
    return torch.cat([cropped[:, :3] + 1, cropped[:, 3:]], dim=1)


def likely_directions(logits: Float[Tensor, "azimuths elevations"], count: int = 4) -> list[Direction]:
    """Up to `count` guesses that lie `APART` from each other, likeliest first, and the chance around each."""
    azimuths, elevations = (x.to(logits.device) for x in cell_centers())
    chances = logits.flatten().softmax(0).view_as(logits)
    left = chances
    found = []
    for _ in range(count):
        if not left.any():  # all chance lies around what was found
            break
        row, column = divmod(int(left.argmax()), ELEVATIONS)
        offsets = (azimuths - azimuths[row] + 180) % 360 - 180
        around = (offsets.abs() < APART)[:, None]
        turn = offsets.abs()[:, None] * torch.cos(torch.deg2rad(elevations))  # as in `cell_targets`
        near = (turn < 2 * CELL) & around & ((elevations - elevations[column]).abs() < 2 * CELL)
        weights = left * near
        weights = weights / weights.sum()
        azimuth = float(azimuths[row] + (weights.sum(1) * offsets).sum())
        elevation = float((weights.sum(0) * elevations).sum())
        azimuth = (azimuth + 180) % 360 - 180
        found.append(Direction(azimuth, elevation, float((left * around).sum())))
        left = left * ~around
    return sorted(found, key=lambda guess: -guess.chance)


def cell_targets(
    azimuths: Float[Tensor, "b"], elevations: Float[Tensor, "b"], spread: float = 6.0
) -> Float[Tensor, "b azimuths elevations"]:
    """Chances that fall off with the distance from true directions, all in degrees, each summing to one."""
    across, up = cell_centers()
    turn = (across - azimuths[:, None] + 180) % 360 - 180
    # Near the zenith a turn moves the camera little.
    turn = turn * torch.cos(torch.deg2rad(elevations))[:, None]
    rise = up - elevations[:, None]
    logits = -(turn.square()[:, :, None] + rise.square()[:, None]) / (2 * spread**2)
    return logits.flatten(1).softmax(-1).view_as(logits)


def directions_to(
    centers: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Azimuths and elevations of camera centres, in degrees."""
    x, y, z = centers.unbind(-1)
    degrees = 180 / math.pi
    return torch.atan2(y, x) * degrees, torch.atan2(z, torch.hypot(x, y)) * degrees
