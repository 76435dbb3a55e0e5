"""Training of the foreground network: cut-outs of a viewset dataset, laid over backgrounds.

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
from sparsegen.formats.cutout import is_cut_out, scaled_down
from sparsegen.formats.images import load_image, pictures_below
from sparsegen.metrics import alpha_iou
from sparsegen.models.folding import native_bfloat16
from sparsegen.models.foreground import ForegroundConfig, ForegroundNet
from sparsegen.models.pretrained import SHIPPED_WEIGHTS, load_foreground_net
from sparsegen.training.disguises import disguised
from sparsegen.training.pacing import falling_steps

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
# So many pictures show a thing instead: where there is no object of the kind, it is what stands in front.
_INSTEAD = 0.12
# Stages of the trunk that stay as they are, and how fast the others change beside the rest of the network.
_KEPT_STAGES, _TRUNK_SHARE = 2, 0.2


@dataclass(frozen=True)
class ForegroundTraining:
    """The recipe."""

    steps: int = 4000
    batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0


def train_foreground(
    viewsets: Viewsets,
    recipe: ForegroundTraining,
    photographs: Sequence[Float[Tensor, "3 h w"]] = (),
    things: Sequence[Float[Tensor, "4 h w"]] = (),
    max_seconds: float | None = None,
    start: ForegroundNet | None = None,
) -> ForegroundNet:
    """A trained network, in eval mode; it goes on from `start` where one is given, in place.

    Two of three backgrounds are parts of `photographs`, where there are any; `things` lie about in them, a
    few before the object, and a few in its place. A new network begins with the trunk of the shipped one,
    which knows photographs of everything. Its first stages stay as they are, and the others change slowly,
    which keeps general what is learned from drawn objects. The learning rate falls over the steps or the
    clock, whichever is further; SIGINT and SIGTERM end training early with what was learned.
    """
    torch.manual_seed(recipe.seed)
    net = (start or _new_net()).train()
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.trunk[:_KEPT_STAGES].requires_grad_(False)
    own = [parameter for name, parameter in net.named_parameters() if not name.startswith("trunk.")]
    trunk = {"params": list(net.trunk[_KEPT_STAGES:].parameters()), "share": _TRUNK_SHARE}
    optimizer = torch.optim.AdamW([{"params": own}, trunk], recipe.lr, weight_decay=recipe.weight_decay)
    for step, bar in falling_steps(optimizer, recipe.lr, recipe.steps, max_seconds):
        pictures, alphas = foreground_batch(viewsets, recipe, step, photographs, things, net.config.size)
        with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16("cpu")):
            logits = net(pictures)
        logits = logits.float()
        loss = F.binary_cross_entropy_with_logits(logits, alphas)
        found = logits.sigmoid()
        both, sizes = (found * alphas).sum((1, 2)), (found + alphas).sum((1, 2))
        loss = loss + (1 - (2 * both + 1) / (sizes + 1)).mean()  # Dice
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0:
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    return net.eval()


def _new_net() -> ForegroundNet:
    net, shipped = ForegroundNet(ForegroundConfig()), load_foreground_net(SHIPPED_WEIGHTS)
    assert shipped is not None
    net.trunk.load_state_dict(shipped.trunk.state_dict())
    return net


def foreground_batch(
    viewsets: Viewsets,
    recipe: ForegroundTraining,
    step: int,
    photographs: Sequence[Float[Tensor, "3 h w"]] = (),
    things: Sequence[Float[Tensor, "4 h w"]] = (),
    size: int = 128,
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Opaque pictures of objects before backgrounds, and the objects' coverage."""
    rng = np.random.default_rng((recipe.seed, 7, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    count = recipe.batch_size
    pictures = backgrounds(count, size, generator)
    for index in np.flatnonzero(rng.random(count) < _PHOTOGRAPHED).tolist() if photographs else ():
        photograph = photographs[int(rng.integers(len(photographs)))]
        pictures[index] = _part(photograph, size, rng)
    alphas = torch.zeros(count, size, size)

    def lay(rgba: Float[Tensor, "b 4 h w"], layer: _Layer, target: float) -> None:
        nonlocal pictures, alphas
        color, alpha = _placed(rgba, size, layer, generator)
        alpha = alpha * (torch.rand(count, 1, 1, generator=generator) < layer.chance)
        shadow = _shadows(alpha, generator)[:, None]
        pictures = alpha[:, None] * color + (1 - alpha[:, None]) * (1 - shadow) * pictures
        alphas = target * alpha + (1 - alpha) * alphas

    for layer in _THINGS if things else ():
        lay(_some_things(things, count, rng), layer, 0.0)
    for layer in _OTHERS:
        lay(_some_objects(viewsets, count, rng, generator), layer, 0.0)
    objects = _some_objects(viewsets, count, rng, generator)
    if things:
        instead = torch.from_numpy(rng.random(count) < _INSTEAD)[:, None, None, None]
        shown = F.interpolate(_some_things(things, count, rng), objects.shape[-2:], mode="bilinear")
        objects = torch.where(instead, shown, objects)
    lay(objects, _OBJECT, 1.0)
    if things:
        lay(_some_things(things, count, rng), _BEFORE, 0.0)
    return _developed(pictures, generator), alphas


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


def backgrounds(count: int, size: int, generator: torch.Generator) -> Float[Tensor, "b 3 s s"]:
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
    alpha = rgba[:, 3:]
    return torch.cat([(rgba[:, :3] - (1 - alpha)) / alpha.clamp_min(1e-3), alpha], dim=1)


def _some_things(
    things: Sequence[Float[Tensor, "4 h w"]], count: int, rng: np.random.Generator
) -> Float[Tensor, "b 4 h w"]:
    return torch.stack([things[i] for i in rng.integers(len(things), size=count)])


def _placed(
    rgba: Float[Tensor, "b 4 h w"], size: int, layer: _Layer, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Straight color and coverage of what cut-outs show: of any of the layer's sizes, tilted a little,
    mirrored or not, anywhere; a few reach out of the picture."""
    count = len(rgba)
    visible = rgba[:, 3] > 0.1
    axis = torch.linspace(-1, 1, rgba.shape[-1])

    def extent(covered: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.where(covered, axis, torch.inf).amin(1)
        high = torch.where(covered, axis, -torch.inf).amax(1)
        return low, high

    (left, right), (top, bottom) = extent(visible.any(1)), extent(visible.any(2))
    larger = torch.maximum(right - left, bottom - top).clamp_min(0.05) / 2
    wanted = layer.span[0] + (layer.span[1] - layer.span[0]) * torch.rand(count, generator=generator)
    zoom = larger / wanted  # of the picture's coordinates against the output's
    room = (1.08 - wanted).clamp_min(0.05)
    place = room[:, None] * (2 * torch.rand(count, 2, generator=generator) - 1)
    if layer.cut:
        place[:, 0] = place[:, 0].sign() * (0.7 + 0.4 * torch.rand(count, generator=generator))
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
    alpha = moved[:, 3].clamp(0, 1)
    return (moved[:, :3] / alpha[:, None].clamp_min(1e-3)).clamp(0, 1), alpha


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


@torch.no_grad()
def overlaps(net: ForegroundNet, viewsets: Viewsets, batches: int = 4) -> Float[Tensor, "n"]:
    """Intersection over union of what the network finds with the objects, in pictures made of a dataset."""
    recipe, found = ForegroundTraining(seed=-1 % 2**32), []
    for step in range(batches):
        pictures, alphas = foreground_batch(viewsets, recipe, step, size=net.config.size)
        found.append(alpha_iou(net(pictures).sigmoid(), alphas))
    scores = torch.cat(found)
    return scores[~scores.isnan()]  # without objects that nothing is seen of
