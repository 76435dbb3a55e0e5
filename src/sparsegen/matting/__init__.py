"""Taking the background away: what in a picture is the object.

A picture with alpha, or a mask, says so itself. Else a segmentation model does, where one is installed. Else
the plain color of the border does, unless that is noisy and the foreground network that came with the model
is sure to see an object of its kind elsewhere. Where the border is not plain, that network does; where it is
not sure, GrabCut, seeded from the border. Of several objects, a box around one says which is meant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.box import SMALLEST_SIDE, Box
from sparsegen.errors import InputError, NotCutOutError
from sparsegen.formats.cutout import CURE, cut_out, is_cut_out, is_even, scaled_down, without_specks
from sparsegen.metrics import alpha_iou
from sparsegen.models.pretrained import FOREGROUND, SHIPPED_WEIGHTS

AUTO, BORDER, NETWORK, GRABCUT = "auto", "border", "network", "grabcut"
_SMALLEST_SHARE = 1e-3  # of the picture: less is no object
# By how much the proportions of a mask may differ from its picture's.
_SKEW = 0.02
# A plain background's cut-out and the foreground network's mean the same object from this overlap on.
_AGREED = 0.8
# How far, in shares of the picture's larger side, an edge pixel looks for the object's own color.
_REACH = 0.01
# Pixels along the edge, inside, that may still be mixed with the background: masks are rarely that sharp.
_MIXED = 2
# How far beyond a box one looks, in shares of its larger side, and how sure of a pixel in it the foreground
# network has to be to be believed: the box keeps it from what stands beside the object.
_AROUND_BOX, _SURE_IN_BOX = 0.06, 0.9
# An object reaches the sides of its box: what fills less of its width or height is only a part of one.
_FILLED = 0.8


@dataclass(frozen=True)
class CutOut:
    """A picture with its object's coverage as alpha, and in words what found it."""

    rgba: Float[Tensor, "4 h w"]
    method: str


def check_method(method: str) -> None:
    """Raise `InputError` if `method` is none of the names, and no model that can be run."""
    if method in (AUTO, BORDER, NETWORK):
        return
    if method == GRABCUT:
        if find_spec("cv2") is None:
            raise InputError(
                "--matting grabcut: OpenCV is not installed; pip install opencv-python-headless, "
                "or use --matting border"
            )
        return
    from sparsegen.matting.onnx_model import check_model

    check_model(Path(method))


@dataclass(frozen=True)
class _Photo:
    """An opaque picture, small enough to be cut out, and where in it the object is, if that is known."""

    rgb: Float[Tensor, "3 h w"]
    name: str
    model: Path
    box: tuple[slice, slice] | None = None  # rows and columns

    @property
    def rgba(self) -> Float[Tensor, "4 h w"]:
        return torch.cat([self.rgb, torch.ones_like(self.rgb[:1])])

    def in_box(self, alpha: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Coverage without what is outside the box."""
        return alpha if self.box is None else _inside(alpha, self.box)


def remove_background(
    rgba: Float[Tensor, "4 h w"],
    method: str = AUTO,
    name: str = "the picture",
    model: str | Path | None = None,
    box: Box | None = None,
) -> CutOut:
    """Cut the object of an opaque picture out; a picture with alpha keeps it, whatever the method.

    `method` is "auto", "border" (a plain background's color), "network" (the foreground network of the folder
    `model`, by default of the shipped weights), "grabcut", or the path of an ONNX model. With a `box` the
    object is looked for in it, and what is outside is background. Pictures, or boxes, above 1024 pixels are
    scaled down. Raises `InputError` if no object is found, or the method cannot be used.
    """
    height, width = rgba.shape[1:]
    pixels = None if box is None else box.pixels(height, width, name)
    if is_cut_out(rgba):
        return CutOut(rgba, "its own alpha") if pixels is None else _own_alpha_in(rgba, pixels, name)
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"{name}: is {width} x {height} pixels, too few to tell an object from its background; "
            "give a larger picture"
        )
    folder = SHIPPED_WEIGHTS if model is None else Path(model)
    if pixels is None:
        return _find(_Photo(scaled_down(rgba[:3]), name, folder), method)
    return _find_in_box(rgba[:3], pixels, name, folder, method)


def _own_alpha_in(rgba: Float[Tensor, "4 h w"], pixels: tuple[slice, slice], name: str) -> CutOut:
    alpha = _inside(rgba[3], pixels)
    if alpha.max() < 0.5:
        raise InputError(f"{name}: its alpha is empty in the box; draw the box around the object")
    return CutOut(torch.cat([rgba[:3], alpha[None]]), "its own alpha, in the box")


def _inside(alpha: Float[Tensor, "h w"], box: tuple[slice, slice]) -> Float[Tensor, "h w"]:
    inside = torch.zeros_like(alpha)
    inside[box] = alpha[box]
    return inside


def _find_in_box(
    rgb: Float[Tensor, "3 h w"], pixels: tuple[slice, slice], name: str, model: Path, method: str
) -> CutOut:
    """What a method finds in a box of the picture, of which it sees no more than a little around the box.

    The cut-out is the whole picture, so small that the box is as large as pictures are cut out at most.
    """
    around = math.ceil(_AROUND_BOX * max(side.stop - side.start for side in pixels))
    seen = [slice(max(0, side.start - around), side.stop + around) for side in pixels]
    part = rgb[:, seen[0], seen[1]]
    small = scaled_down(part)
    scale = max(small.shape[1:]) / max(part.shape[1:])
    rows, columns = (
        slice(round(scale * (side.start - more.start)), round(scale * (side.stop - more.start)))
        for side, more in zip(pixels, seen, strict=True)
    )
    found = _find(_Photo(small, name, model, (rows, columns)), method)
    size = [round(scale * length) for length in rgb.shape[1:]]  # rounded as `small` is, which so fits into it
    whole = rgb if scale == 1 else F.interpolate(rgb[None], size, mode="bilinear", antialias=True)[0]
    rgba = torch.cat([whole, torch.zeros_like(whole[:1])])
    top, left = (
        min(round(scale * more.start), length - part_length)
        for more, length, part_length in zip(seen, size, small.shape[1:], strict=True)
    )
    rgba[:, top : top + small.shape[1], left : left + small.shape[2]] = found.rgba
    return CutOut(rgba, f"{found.method}, in the box")


def _find(photo: _Photo, method: str) -> CutOut:
    if method == AUTO:
        return _best(photo)
    if method == BORDER:
        return _plain(photo)
    if method == NETWORK:
        return _by_network(photo)
    if method == GRABCUT:
        return _grabcut(photo)
    return _model(photo, Path(method))


def apply_mask(
    rgba: Float[Tensor, "4 h w"], mask: Float[Tensor, "4 h2 w2"], name: str, mask_name: str
) -> CutOut:
    """Cut out by a mask picture: its alpha if it has one, else its brightness, white for the object.

    It may be of another size but not of another shape. Raises `InputError`.
    """
    coverage = mask[3] if is_cut_out(mask) else mask[:3].mean(dim=0)
    height, width = rgba.shape[1:]
    if not _of_one_shape((height, width), (mask.shape[1], mask.shape[2])):
        found = f"{mask.shape[2]} x {mask.shape[1]}"
        raise InputError(
            f"{mask_name}: is {found} pixels, but {name} is {width} x {height}; give a mask of its shape"
        )
    if coverage.max() < 0.5:
        raise InputError(f"{mask_name}: is black everywhere, it shows no object; make the object white")
    if coverage.min() >= 0.5:
        raise InputError(f"{mask_name}: is white everywhere, all would be object; make the background black")
    scaled = F.interpolate(coverage[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
    return CutOut(_with_clean_edges(rgba[:3], scaled.clamp(0, 1)), f"the mask {mask_name}")


def _of_one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether sides are in one proportion, up to `_SKEW` or the rounding of the smaller picture's pixels."""
    (a, b), (c, d) = sorted([first, second])
    off = abs(a * d - b * c)  # in products of sides: one pixel of the smaller is a side of the larger
    return off < max(c, d) or off <= _SKEW * min(a * d, b * c)


def _best(photo: _Photo) -> CutOut:
    if find_spec("onnxruntime") is not None:
        from sparsegen.matting.onnx_model import find_model

        if (path := find_model()) is not None:
            return _model(photo, path)
    seen = None if is_even(photo.rgba) else _seen(photo)
    if seen is not None and photo.box is not None:
        return _with_edges(photo, seen)
    try:
        plain = _plain(photo)
    except InputError:
        if seen is None and find_spec("cv2") is None:
            raise
        return _grabcut(photo) if seen is None else _with_edges(photo, seen)
    if seen is not None and alpha_iou(seen, plain.rgba[3]) < _AGREED:  # a road or a wall is nearly plain, too
        return _with_edges(photo, seen)
    return plain


def _plain(photo: _Photo) -> CutOut:
    rgba = cut_out(photo.rgba, photo.name)
    if photo.box is not None:
        rgba = torch.cat([rgba[:3], _checked(photo, rgba[3])[None]])
    return CutOut(rgba, "its plain background")


def _by_network(photo: _Photo) -> CutOut:
    if not (photo.model / FOREGROUND).is_dir():
        raise InputError(
            f"--matting network: {photo.model} has no foreground network; `sparsegen foreground` trains one, "
            "or choose another way"
        )
    coverage = _seen(photo)
    if coverage is None:
        raise NotCutOutError(
            f"{photo.name}: is opaque, and the model's foreground network is not sure to see an object; "
            f"{CURE}"
        )
    return _with_edges(photo, coverage)


def _seen(photo: _Photo) -> Float[Tensor, "h w"] | None:
    """What the model's foreground network finds, if there is one and it is sure."""
    from sparsegen.matting.network import find_object, load_net

    net = load_net(photo.model)
    coverage = None if net is None else find_object(net, photo.rgb, closer=photo.box is None)
    if coverage is None or photo.box is None:
        return coverage
    solid = coverage[photo.box] > 0.5
    filled = min(float(solid.any(dim).float().mean()) for dim in (0, 1))
    return photo.in_box(coverage) if filled > _FILLED else None


def _with_edges(photo: _Photo, coverage: Float[Tensor, "h w"]) -> CutOut:
    """The cut-out of what the foreground network has found."""
    method = "the model's foreground network"
    if find_spec("cv2") is not None:
        from sparsegen.matting.grabcut import SURE, refined

        coverage = refined(photo.rgb, coverage, SURE if photo.box is None else _SURE_IN_BOX)
        method = f"{method}, its edges by GrabCut"
    return _cut(photo, coverage, method)


def _model(photo: _Photo, path: Path) -> CutOut:
    from sparsegen.matting.onnx_model import load_segmenter

    return _cut(photo, load_segmenter(path).coverage(photo.rgb), f"the model {path.name}")


def _grabcut(photo: _Photo) -> CutOut:
    from sparsegen.matting.grabcut import grabcut

    return _cut(photo, grabcut(photo.rgb, photo.box), "GrabCut, from its border")


def _cut(photo: _Photo, alpha: Float[Tensor, "h w"], method: str) -> CutOut:
    return CutOut(_with_clean_edges(photo.rgb, _checked(photo, alpha)), method)


def _checked(photo: _Photo, alpha: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Coverage in the box and without specks, if it is neither nothing nor everything."""
    alpha = photo.in_box(alpha)
    solid = alpha > 0.5
    kept = without_specks(solid)
    share = float(kept.float().mean())
    if share < _SMALLEST_SHARE or share > 1 - _SMALLEST_SHARE:
        found = "nothing" if share < 0.5 else "no background"
        raise NotCutOutError(f"{photo.name}: is opaque everywhere, and {found} was found in it; {CURE}")
    return torch.where(solid & ~kept, torch.zeros_like(alpha), alpha)


def _with_clean_edges(rgb: Float[Tensor, "3 h w"], alpha: Float[Tensor, "h w"]) -> Float[Tensor, "4 h w"]:
    """Where the object covers a pixel in part, its color is that of the object nearby, not a mixture."""
    radius = max(1, round(_REACH * max(alpha.shape)))
    window = 2 * radius + 1
    outside = F.max_pool2d((alpha < 0.95).float()[None], 2 * _MIXED + 1, 1, _MIXED)
    inside = 1 - outside
    weight = F.avg_pool2d(inside, window, 1, radius)
    nearby = F.avg_pool2d(rgb * inside, window, 1, radius) / weight.clamp(min=1e-6)
    mixed = (inside < 1) & (weight > 0)
    return torch.cat([torch.where(mixed, nearby, rgb), alpha[None]])
