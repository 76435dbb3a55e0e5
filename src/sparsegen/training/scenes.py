"""Pictures to learn cut-outs from: objects of a viewset dataset before backgrounds.

Backgrounds are drawn at random: skies and grounds, noise of all scales, shapes, other objects, shadows; and
photographs and cut-out pictures of other things, where some are at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.formats.cutout import is_cut_out, object_boxes, scaled_down, straight_color
from sparsegen.formats.images import load_image, pictures_below
from sparsegen.training.disguises import disguised

_SHAPES = 8  # at most so many in a background
_OCTAVES = 6
_PHOTOGRAPH = 768  # pixels of the larger side are enough
# How many of the backgrounds are photographs, where there are any.
_PHOTOGRAPHED = 0.67
# Pixels of the larger side of a picture of another thing.
_THING = 192


@dataclass(frozen=True)
class _Layer:
    """Something laid over a picture: its larger side in sides of the picture, how often it is there, and
    whether it stands at the left or right border, which cuts it."""

    span: tuple[float, float]
    chance: float
    cut: bool = False


_OBJECT = _Layer((0.3, 0.95), 0.95)
# Behind it: objects of its kind, small ones and neighbors, and things that are not.
_OTHERS = _Layer((0.1, 0.35), 0.4), _Layer((0.4, 1.1), 0.4, cut=True)
_THINGS = _Layer((0.2, 0.9), 0.5), _Layer((0.1, 0.4), 0.5)
_BEFORE = _Layer((0.1, 0.4), 0.15)  # a thing before it
# Parked beside it, partly behind: as large as so many of its larger sides, on either side.
_PARKED = (_Layer((0.6, 1.2), 0.25),) * 2
# How far apart the middles stand, in the sum of half their widths; how much the grounds differ, in sides.
_GAP, _UNEVEN = (0.6, 1.1), 0.06
# So many pictures show a thing instead: where there is no object of the kind, it is what stands in front.
_INSTEAD = 0.12


@dataclass(frozen=True)
class Scenery:
    """What pictures are made of: objects of the kind in question; photographs without any, parts of which are
    two of three backgrounds; and other things (RGBA, square, straight alpha), which lie about."""

    viewsets: Viewsets
    photographs: Sequence[Float[Tensor, "3 _h _w"]] = ()
    things: Sequence[Float[Tensor, "4 _s _s"]] = ()


def objects_anywhere(
    scenery: Scenery, count: int, size: int, rng: np.random.Generator, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Straight color and coverage of random objects, of all sizes and anywhere in pictures of `size` pixels.

    A few pictures show another thing instead, where there are any, and a few show nothing.
    """
    objects = _some_objects(scenery.viewsets, count, rng, generator)
    if scenery.things:
        instead = torch.from_numpy(rng.random(count) < _INSTEAD)[:, None, None, None]
        shown = F.interpolate(_some_things(scenery.things, count, rng), objects.shape[-2:], mode="bilinear")
        objects = torch.where(instead, shown, objects)
    return _placed(objects, size, _OBJECT, generator)


def before_backgrounds(
    scenery: Scenery,
    color: Float[Tensor, "b 3 s s"],
    alpha: Float[Tensor, "b s s"],
    rng: np.random.Generator,
    generator: torch.Generator,
    developed: bool = True,
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Opaque pictures of what is given in straight color and coverage, and what of that coverage is seen.

    Each has an exposure, a tint, blur and noise of its own, unless `developed` is false.
    """
    count, size = len(color), color.shape[-1]
    pictures = drawn_backgrounds(count, size, generator)
    for index in np.flatnonzero(rng.random(count) < _PHOTOGRAPHED).tolist() if scenery.photographs else ():
        photograph = scenery.photographs[int(rng.integers(len(scenery.photographs)))]
        pictures[index] = _part(photograph, size, rng)

    def lay(color: Float[Tensor, "b 3 s s"], alpha: Float[Tensor, "b s s"]) -> None:
        nonlocal pictures
        shadow = _shadows(alpha, generator)[:, None]
        pictures = alpha[:, None] * color + (1 - alpha[:, None]) * (1 - shadow) * pictures

    for layer in _THINGS if scenery.things else ():
        lay(*_placed(_some_things(scenery.things, count, rng), size, layer, generator))
    for layer in _OTHERS:
        lay(*_placed(_some_objects(scenery.viewsets, count, rng, generator), size, layer, generator))
    for layer in _PARKED:
        lay(*_placed(_some_objects(scenery.viewsets, count, rng, generator), size, layer, generator, alpha))
    lay(color, alpha)
    if scenery.things:
        thing, covered = _placed(_some_things(scenery.things, count, rng), size, _BEFORE, generator)
        lay(thing, covered)
        alpha = (1 - covered) * alpha
    return _developed(pictures, generator) if developed else pictures, alpha


def load_scenery(viewsets: Viewsets, backgrounds: Path | None, clutter: Path | None) -> Scenery:
    """Objects with the photographs of one folder and the cut-out things of another, as far as they are given;
    `InputError` for a folder without any."""
    photographs = [] if backgrounds is None else load_photographs(backgrounds)
    return Scenery(viewsets, photographs, [] if clutter is None else load_things(clutter))


def load_photographs(folder: Path) -> list[Float[Tensor, "3 h w"]]:
    """All pictures of a folder and those below it, small; `InputError` where there is none."""
    found = pictures_below(folder)
    if not found:
        raise InputError(f"{folder}: holds no pictures; give a folder of photographs for backgrounds")
    return [scaled_down(load_image(path)[:3], _PHOTOGRAPH) for path in found]


def load_things(folder: Path) -> list[Float[Tensor, "4 h w"]]:
    """All cut-out pictures of a folder and those below it, small and square, straight alpha; `InputError`
    where there is none, or one is opaque."""
    found = pictures_below(folder)
    if not found:
        raise InputError(f"{folder}: holds no pictures; give a folder of cut-out pictures of other things")
    things = []
    for path in found:
        rgba = load_image(path)
        if not is_cut_out(rgba):
            raise InputError(f"{path}: has no alpha; give cut-out pictures of other things")
        rgba = scaled_down(rgba, _THING)
        height, width = rgba.shape[1:]
        side = max(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        rgba = F.pad(rgba, (left, side - width - left, top, side - height - top))
        things.append(F.interpolate(rgba[None], (_THING, _THING), mode="bilinear")[0])
    return things


def drawn_backgrounds(count: int, size: int, generator: torch.Generator) -> Float[Tensor, "b 3 s s"]:
    """A sky over a ground, shapes before them, and noise from coarse to fine over everything."""

    def draw(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    axis = (torch.arange(size) + 0.5) / size
    row, column = axis[None, None, :, None], axis[None, None, None, :]
    top, bottom, slope = draw(3, 1, 1), draw(3, 1, 1), 0.3 * (2 * draw(3, 1, 1) - 1)
    horizon = 0.2 + 0.8 * draw(1, 1, 1)
    picture = torch.where(row < horizon, top, bottom) + slope * (row - 0.5)
    picture = picture.expand(count, 3, size, size)
    for number in range(_SHAPES):
        middle, half = draw(2, 1, 1, 1), 0.02 + 0.3 * draw(2, 1, 1, 1) ** 2
        away = (
            torch.stack(
                [
                    (column - middle[:, 0]).expand(-1, -1, size, -1),
                    (row - middle[:, 1]).expand(-1, -1, -1, size),
                ],
                dim=1,
            ).abs()
            / half
        )
        flat, round_ = away.amax(1) < 1, away.square().sum(1) < 1
        inside = torch.where(draw(1, 1, 1) < 0.7, flat, round_) & (draw(1, 1, 1) * _SHAPES > number)
        picture = torch.where(inside, draw(3, 1, 1), picture)
    gray = draw(1, 1, 1)
    for octave in range(1, _OCTAVES + 1):
        noise = torch.randn(count, 3, 2**octave + 1, 2**octave + 1, generator=generator)
        noise = torch.lerp(noise, noise[:, :1], gray)
        smooth = F.interpolate(noise, (size, size), mode="bilinear")
        picture = picture + 0.15 * draw(1, 1, 1) ** 2 * smooth
    picture = torch.lerp(picture, picture.mean(1, keepdim=True), draw(1, 1, 1))
    soft = F.avg_pool2d(picture, 9, 1, 4, count_include_pad=False)
    return torch.where(draw(1, 1, 1) < 0.4, soft, picture).clamp(0, 1)


def _part(photograph: Float[Tensor, "3 h w"], size: int, rng: np.random.Generator) -> Float[Tensor, "3 s s"]:
    """A square from anywhere in a photograph, mirrored or not."""
    side = max(1, round(min(photograph.shape[1:]) * rng.uniform(0.2, 1.0)))
    top, left = (int(rng.integers(length - side + 1)) for length in photograph.shape[1:])
    part = photograph[None, :, top : top + side, left : left + side]
    part = F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0]
    return part.flip(-1) if rng.random() < 0.5 else part


def _some_objects(
    viewsets: Viewsets, count: int, rng: np.random.Generator, generator: torch.Generator
) -> Float[Tensor, "b 4 h w"]:
    """Straight color and coverage of random objects, disguised."""
    total, view_count = viewsets.images.shape[:2]
    views = viewsets.views(rng.integers(total, size=count), rng.integers(view_count, size=(count, 1)))
    assert views.alphas is not None
    rgba = disguised(torch.cat([views.images[:, 0], views.alphas[:, :1]], dim=1), generator)
    return torch.cat([straight_color(rgba[:, :3], rgba[:, 3]), rgba[:, 3:]], dim=1)


def _some_things(
    things: Sequence[Float[Tensor, "4 h w"]], count: int, rng: np.random.Generator
) -> Float[Tensor, "b 4 h w"]:
    return torch.stack([things[i] for i in rng.integers(len(things), size=count)])


def _placed(
    rgba: Float[Tensor, "b 4 h w"],
    size: int,
    layer: _Layer,
    generator: torch.Generator,
    beside: Float[Tensor, "b s s"] | None = None,
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Straight color and coverage of what cut-outs show, as often as the layer is there: of any of its sizes,
    tilted a little, mirrored or not, anywhere; a few reach out of the picture. Or, where the coverage of
    other objects is given, beside those, and so large compared with them."""
    count = len(rgba)
    top, bottom, left, right = _extents(rgba[:, 3])
    larger = torch.maximum(right - left, bottom - top).clamp_min(0.05) / 2
    wanted = layer.span[0] + (layer.span[1] - layer.span[0]) * torch.rand(count, generator=generator)
    anywhere = 2 * torch.rand(count, 2, generator=generator) - 1
    if beside is None:
        place = (1.08 - wanted).clamp_min(0.05)[:, None] * anywhere
        if layer.cut:
            place[:, 0] = place[:, 0].sign() * (0.7 + 0.4 * torch.rand(count, generator=generator))
    else:
        their_top, their_bottom, their_left, their_right = _extents(beside)
        wide, high = their_right - their_left, their_bottom - their_top
        wanted = wanted * torch.maximum(wide, high) / 2
        scale = wanted / larger
        apart = _GAP[0] + (_GAP[1] - _GAP[0]) * torch.rand(count, generator=generator)
        apart = apart * (wide + scale * (right - left)) / 2 * anywhere[:, 0].sign()
        ground = their_bottom - scale * (bottom - top) / 2 + 2 * _UNEVEN * anywhere[:, 1]
        place = torch.stack([(their_left + their_right) / 2 + apart, ground], dim=1)
    zoom = larger / wanted  # of the picture's coordinates against the output's
    angle = 0.08 * torch.randn(count, generator=generator)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    middle = torch.stack([(left + right) / 2, (top + bottom) / 2], dim=1)
    turn = torch.stack([torch.stack([mirror * cos, -mirror * sin], 1), torch.stack([sin, cos], 1)], dim=1)
    shift = middle - (turn @ place[..., None])[..., 0]
    grid = F.affine_grid(
        torch.cat([turn, shift[..., None]], dim=2), [count, 4, size, size], align_corners=False
    )
    moved = F.grid_sample(
        torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1), grid, align_corners=False
    )
    there = torch.rand(count, 1, 1, generator=generator) < layer.chance
    alpha = there * moved[:, 3].clamp(0, 1)
    return (moved[:, :3] / alpha[:, None].clamp_min(1e-3)).clamp(0, 1), alpha


def _extents(alphas: Float[Tensor, "b s s"]) -> list[Float[Tensor, "b"]]:
    """Top, bottom, left and right of what is covered, from -1 to 1; the whole picture where nothing is."""
    scale = 2 / alphas.new_tensor(alphas.shape[-1])
    return list((scale * object_boxes(alphas) - 1).unbind(1))


def _shadows(alpha: Float[Tensor, "b s s"], generator: torch.Generator) -> Float[Tensor, "b s s"]:
    """How dark the background is around the objects' lower edges."""
    count, size, _ = alpha.shape
    below = F.pad(alpha, (0, 0, max(1, size // 20), 0))[:, :size]
    high, wide = size // 32, size // 16  # first one way, then the other: many times fewer sums
    soft = F.avg_pool2d(below[:, None], (2 * high + 1, 1), 1, (high, 0))
    soft = F.avg_pool2d(soft, (1, 2 * wide + 1), 1, (0, wide))[:, 0]
    low = (soft.cumsum(1) / soft.sum(1, keepdim=True).clamp_min(1e-3)).square()  # only near the ground
    strength = (1.4 * torch.rand(count, 1, 1, generator=generator) - 0.4).clamp_min(0)
    return (strength * soft * low).clamp(0, 0.9)


def _developed(pictures: Float[Tensor, "b 3 s s"], generator: torch.Generator) -> Float[Tensor, "b 3 s s"]:
    """As cameras deliver them: exposures and tints of their own, some blurred, all with noise."""
    count = len(pictures)
    gain = torch.exp(0.2 * torch.randn(count, 1, 1, 1, generator=generator))
    gain = gain * torch.exp(0.08 * torch.randn(count, 3, 1, 1, generator=generator))
    soft = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    blurred = torch.rand(count, 1, 1, 1, generator=generator) < 0.3
    pictures = torch.where(blurred, soft, pictures)
    noise = 0.04 * torch.rand(count, 1, 1, 1, generator=generator)
    return (gain * pictures + noise * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)
