"""From a picture to what the network takes: the object cut out, framed and over white."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.errors import InputError, NotCutOutError

# What helps where no object is found.
CURE = "give a picture with alpha (RGBA PNG)"

# Pictures are cut out at this size at most: far above what the network sees, and quick.
_WORKING_SIZE = 1024
# A background is plain if this share of the border lies within its noise of a smooth color.
_PLAIN_SHARE = 0.8
# Bounds of how far, in the worst channel, a background pixel may lie from that color.
_TOLERANCE = (0.04, 0.12)
# Coverage below which a pixel does not count for the object's bounding box.
_VISIBLE = 0.1


def fit(
    rgba: Float[Tensor, "4 h w"],
    size: int,
    span: float = 0.75,
    center: tuple[float, float] = (0.5, 0.5),
    name: str = "the picture",
) -> tuple[Float[Tensor, "3 s s"], Float[Tensor, "s s"]]:
    """Frame the object in a square picture of `size` pixels over white.

    The larger side of its bounding box gets `span` of the picture, the box's middle stands at `center`
    (right, down), in shares of the picture too. Returns the picture and the object's coverage. Resampling
    averages over areas in premultiplied color. Raises `InputError` if the alpha is empty.
    """
    top, bottom, left, right = _box(rgba, name)
    side = max(bottom - top, right - left) / span
    row = (top + bottom) / 2 - (center[1] - 0.5) * side
    column = (left + right) / 2 - (center[0] - 0.5) * side
    return _resample(rgba, size, (row, column), side)


def object_extent(rgba: Float[Tensor, "4 h w"]) -> float:
    """The larger side in pixels of the object's bounding box. Raises `InputError` if the alpha is empty."""
    top, bottom, left, right = _box(rgba, "the picture")
    return max(bottom - top, right - left)


def whole(rgba: Float[Tensor, "4 h w"], size: int) -> tuple[Float[Tensor, "3 s s"], Float[Tensor, "s s"]]:
    """The same without framing: the whole picture, padded to a square."""
    height, width = rgba.shape[1:]
    return _resample(rgba, size, (height / 2, width / 2), max(height, width))


def straight_color(
    images: Float[Tensor, "*b 3 h w"], alphas: Float[Tensor, "*b h w"]
) -> Float[Tensor, "*b 3 h w"]:
    """The object's own color in pictures over white; where there is next to none of it, it means nothing."""
    alpha = alphas[..., None, :, :]
    return ((images - (1 - alpha)) / alpha.clamp_min(1e-3)).clamp(0, 1)


def turned(
    maps: Float[Tensor, "b c h w"], degrees: Float[Tensor, "b"], size: tuple[int, int] | None = None
) -> Float[Tensor, "b c h2 w2"]:
    """Pictures turned clockwise about their middles, on canvases of `size` (height, width), by default their
    own; zero where there is nothing."""
    height, width = size or (maps.shape[-2], maps.shape[-1])
    down, right = torch.meshgrid(
        torch.arange(height, device=maps.device) + 0.5 - height / 2,
        torch.arange(width, device=maps.device) + 0.5 - width / 2,
        indexing="ij",
    )
    angle = torch.deg2rad(degrees)[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    source = torch.stack([cos * right + sin * down, cos * down - sin * right], dim=-1)
    grid = 2 * source / maps.new_tensor([maps.shape[-1], maps.shape[-2]])
    return F.grid_sample(maps, grid, align_corners=False)


def level(rgba: Float[Tensor, "4 h w"], roll: float) -> Float[Tensor, "4 h2 w2"]:
    """A cut-out picture turned back from where it was turned clockwise by `roll` degrees, all of it."""
    cos, sin = abs(math.cos(math.radians(roll))), abs(math.sin(math.radians(roll)))
    height, width = rgba.shape[1:]
    size = math.ceil(height * cos + width * sin), math.ceil(width * cos + height * sin)
    premultiplied = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])
    moved = turned(premultiplied[None], rgba.new_tensor([-roll]), size)[0]
    return torch.cat([moved[:3] / moved[3:].clamp_min(1e-6), moved[3:]]).clamp(0, 1)


def is_cut_out(rgba: Float[Tensor, "4 h w"]) -> bool:
    """Whether the alpha of a picture says what is object and what is not."""
    return bool((rgba[3] < 0.99).float().mean() > 1e-3)


def is_even(rgba: Float[Tensor, "4 h w"]) -> bool:
    """Whether a picture's border is plain with hardly any noise: a backdrop, no wall and no road."""
    try:
        return _background(scaled_down(rgba[:3]), "")[1] <= _TOLERANCE[0]
    except InputError:
        return False


def cut_out(rgba: Float[Tensor, "4 h w"], name: str = "the picture") -> Float[Tensor, "4 h w"]:
    """Make the plain background of an opaque picture transparent; pictures with alpha stay as they are.

    Background is what is connected to the border and has its color, which may vary smoothly; parts of
    the object in that color stay. The background's color is taken out of the 1-2 pixels along the edge.
    Large pictures are scaled down. Raises `NotCutOutError` if the border is not plain or nothing stands out.
    """
    if is_cut_out(rgba):
        return rgba
    rgb = scaled_down(rgba[:3])
    background, tolerance = _background(rgb, name)
    distance = (rgb - background).abs().amax(dim=0)
    object_mask = ~_flood(distance < tolerance, _border(distance, 1))
    object_mask = without_specks(object_mask)
    if object_mask.float().mean() < 1e-3:
        raise NotCutOutError(f"{name}: nothing stands out from its background; {CURE}")
    return _matte(rgb, background, object_mask, tolerance)


def scaled_down(rgb: Float[Tensor, "3 h w"], largest: int = _WORKING_SIZE) -> Float[Tensor, "3 h2 w2"]:
    """With sides of at most `largest` pixels, by default those at which pictures are cut out."""
    height, width = rgb.shape[1:]
    scale = largest / max(height, width)
    if scale >= 1:
        return rgb
    rows = _averaging(height, max(1, round(height * scale)), 0, height)
    columns = _averaging(width, max(1, round(width * scale)), 0, width)
    return rows @ rgb @ columns.mT


def _background(rgb: Float[Tensor, "3 h w"], name: str) -> tuple[Float[Tensor, "3 h w"], float]:
    """The smooth color (quadratic in the position) that most of the border has, and its noise's bound."""
    _, height, width = rgb.shape
    y = torch.linspace(-1, 1, height)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width)[None].expand(height, width)
    terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)  # (h, w, 6)
    ring = _border(x, max(1, round(0.02 * min(height, width))))
    border, border_terms = rgb.permute(1, 2, 0)[ring], terms[ring]  # (n, 3), (n, 6)
    median = border.median(dim=0).values
    residual = (border - median).abs().amax(dim=-1)
    coefficients = torch.zeros(6, 3)
    coefficients[0] = median
    for _ in range(4):
        near = residual <= max(2.5 * float(residual.median()), _TOLERANCE[0])
        if near.sum() >= 24:
            coefficients = torch.linalg.lstsq(border_terms[near], border[near], driver="gelsd").solution
        residual = (border - border_terms @ coefficients).abs().amax(dim=-1)
    tolerance = min(max(4 * float(residual.median()), _TOLERANCE[0]), _TOLERANCE[1])
    if (residual < tolerance).float().mean() < _PLAIN_SHARE:
        raise NotCutOutError(
            f"{name}: its background is not plain, so the object cannot be cut out; "
            f"{CURE} or a plain background"
        )
    return (terms @ coefficients).permute(2, 0, 1).clamp(0, 1), tolerance


def _border(like: Tensor, thickness: int) -> Bool[Tensor, "h w"]:
    ring = torch.ones(like.shape[-2:], dtype=torch.bool)
    ring[thickness:-thickness, thickness:-thickness] = False
    return ring


def _flood(passable: Bool[Tensor, "h w"], start: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """What can be reached from `start` over passable pixels, in steps along rows and columns."""
    reached = start & passable
    while True:
        before = int(reached.sum())
        for dim in (0, 1):
            for backward in (False, True):
                reached = reached | _sweep(passable, reached, dim, backward)
        if int(reached.sum()) == before:
            return reached


def _sweep(passable: Tensor, reached: Tensor, dim: int, backward: bool) -> Tensor:
    """Passable pixels with a reached one behind them along `dim` and no wall between."""
    if backward:
        return _sweep(passable.flip(dim), reached.flip(dim), dim, False).flip(dim)
    shape = [1, 1]
    shape[dim] = -1
    index = torch.arange(passable.shape[dim], dtype=torch.int32).view(shape).expand(passable.shape)
    last_reached = torch.where(reached, index, -1).cummax(dim).values
    last_wall = torch.where(passable, -1, index).cummax(dim).values
    return passable & (last_reached > last_wall)


def without_specks(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The mask without dust; whatever hangs together with a solid part stays, however thin."""
    radius = max(1, round(0.003 * max(mask.shape)))
    return _flood(mask, _dilate(~mask, radius).logical_not())


def _dilate(mask: Bool[Tensor, "h w"], radius: int) -> Bool[Tensor, "h w"]:
    return F.max_pool2d(mask[None].float(), 2 * radius + 1, 1, radius)[0] > 0


def _matte(
    rgb: Float[Tensor, "3 h w"],
    background: Float[Tensor, "3 h w"],
    mask: Bool[Tensor, "h w"],
    tolerance: float,
) -> Float[Tensor, "4 h w"]:
    """Coverage and unmixed color along the edge, from I = a F + (1 - a) B with F from inside nearby."""
    inside = ~_dilate(~mask, 2)
    edge = _dilate(mask, 1) & ~inside
    weight = F.avg_pool2d(inside[None].float(), 9, 1, 4)
    foreground = F.avg_pool2d(rgb * inside, 9, 1, 4) / weight.clamp(min=1e-6)
    contrast = foreground - background
    alpha = ((rgb - background) * contrast).sum(0) / contrast.square().sum(0).clamp(min=1e-6)
    # Where inside is out of reach (thin parts) or looks like the background, the edge stays hard.
    known = edge & (weight[0] > 0) & (contrast.abs().amax(0) > 2 * tolerance)
    alpha = torch.where(known, alpha.clamp(0, 1), mask.float())
    unmixed = background + (rgb - background) / alpha.clamp(min=1e-3)
    trusted = alpha.clamp(max=0.5) * 2  # a nearly transparent pixel says little about its own color
    color = torch.where(known, (foreground + trusted * (unmixed.clamp(0, 1) - foreground)), rgb)
    return torch.cat([color, alpha[None]])


def object_boxes(alphas: Float[Tensor, "b h w"]) -> Float[Tensor, "b 4"]:
    """Top, bottom, left and right edges, in pixels, of what each picture's alpha covers.

    A pixel at an edge that is covered in part moves that edge into it, so that small pictures have the
    same boxes as large ones. The whole picture where nothing is covered.
    """
    return torch.cat([_extents(alphas.amax(2)), _extents(alphas.amax(1))], dim=-1)


def _box(rgba: Float[Tensor, "4 h w"], name: str) -> tuple[float, float, float, float]:
    if not (rgba[3] > _VISIBLE).any():
        raise InputError(f"{name}: its alpha is empty, no object is seen; give a picture with an object")
    top, bottom, left, right = object_boxes(rgba[3:])[0].tolist()
    return top, bottom, left, right


def _extents(coverage: Float[Tensor, "b n"]) -> Float[Tensor, "b 2"]:
    """Where the covered stretch of each row begins and ends; all of it where nothing is covered."""
    count = coverage.shape[-1]
    visible = coverage > _VISIBLE
    index = torch.arange(count, device=coverage.device)
    first = torch.where(visible, index, count).amin(-1).clamp_max(count - 1)
    last = torch.where(visible, index, -1).amax(-1).clamp_min(0)
    begin = first + 1 - coverage.gather(-1, first[:, None])[:, 0].clamp_max(1)
    end = last + coverage.gather(-1, last[:, None])[:, 0].clamp_max(1)
    some = visible.any(-1)
    return torch.stack([torch.where(some, begin, 0.0), torch.where(some, end, float(count))], dim=-1)


def _resample(
    rgba: Float[Tensor, "4 h w"], size: int, center: tuple[float, float], side: float
) -> tuple[Float[Tensor, "3 s s"], Float[Tensor, "s s"]]:
    """The square of `side` pixels around `center` (row, column), transparent outside, over white."""
    premultiplied = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])
    rows, columns = (
        _averaging(count, size, middle - side / 2, middle + side / 2)
        for count, middle in zip(rgba.shape[1:], center, strict=True)
    )
    resampled = (rows @ premultiplied @ columns.mT).clamp(0, 1)
    color, alpha = resampled[:3], resampled[3]
    return (color + 1 - alpha).clamp(0, 1), alpha


def _averaging(count: int, size: int, start: float, stop: float) -> Float[Tensor, "size count"]:
    """Weights of `count` pixels in the averages over `size` equal bins of [start, stop].

    Bins narrower than a pixel are widened to one, which makes enlarging linear interpolation.
    """
    step = (stop - start) / size
    half = max(step, 1.0) / 2
    middle = start + step * (torch.arange(size, dtype=torch.float64)[:, None] + 0.5)
    pixel = torch.arange(count, dtype=torch.float64)[None]
    overlap = torch.minimum(middle + half, pixel + 1) - torch.maximum(middle - half, pixel)
    return (overlap.clamp(min=0) / (2 * half)).float()
