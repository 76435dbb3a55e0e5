"""Taking the background away: what in a picture is the object.

A picture with alpha, or a mask, says so itself. Else a segmentation model does, where one is installed. Else
the plain color of the border does, unless that is noisy and the foreground network that came with the model
is sure to see an object of its kind elsewhere. Where the border is not plain, that network does; where it is
not sure, GrabCut, seeded from the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.errors import InputError, NotCutOutError
from sparsegen.formats.cutout import CURE, cut_out, is_cut_out, is_even, scaled_down, without_specks
from sparsegen.metrics import alpha_iou
from sparsegen.models.pretrained import FOREGROUND, SHIPPED_WEIGHTS

AUTO, BORDER, NETWORK, GRABCUT = "auto", "border", "network", "grabcut"
_SMALLEST_SHARE = 1e-3  # of the picture: less is no object
# By how much the proportions of a mask may differ from its picture's.
_SKEW = 0.02
# Pictures of fewer pixels on a side show no object and no background.
_SMALLEST_SIDE = 4
# A plain background's cut-out and the foreground network's mean the same object from this overlap on.
_AGREED = 0.8
# How far, in shares of the picture's larger side, an edge pixel looks for the object's own color.
_REACH = 0.01
# Pixels along the edge, inside, that may still be mixed with the background: masks are rarely that sharp.
_MIXED = 2


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


def remove_background(
    rgba: Float[Tensor, "4 h w"],
    method: str = AUTO,
    name: str = "the picture",
    model: str | Path | None = None,
) -> CutOut:
    """Cut the object of an opaque picture out; a picture with alpha keeps it, whatever the method.

    `method` is "auto", "border" (a plain background's color), "network" (the foreground network of the folder
    `model`, by default of the shipped weights), "grabcut", or the path of an ONNX model. Pictures above 1024
    pixels are scaled down. Raises `InputError` if no object is found, or the method cannot be used.
    """
    if is_cut_out(rgba):
        return CutOut(rgba, "its own alpha")
    height, width = rgba.shape[1:]
    if min(height, width) < _SMALLEST_SIDE:
        raise InputError(
            f"{name}: is {width} x {height} pixels, too few to tell an object from its background; "
            "give a larger picture"
        )
    if method == AUTO:
        return _best(rgba, name, model)
    if method == BORDER:
        return CutOut(cut_out(rgba, name), "its plain background")
    if method == NETWORK:
        return _by_network(rgba, name, model)
    if method == GRABCUT:
        return _grabcut(rgba, name)
    return _model(rgba, Path(method), name)


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


def _best(rgba: Float[Tensor, "4 h w"], name: str, model: str | Path | None) -> CutOut:
    if find_spec("onnxruntime") is not None:
        from sparsegen.matting.onnx_model import find_model

        if (path := find_model()) is not None:
            return _model(rgba, path, name)
    rgb = scaled_down(rgba[:3])  # once: what follows finds it small enough
    rgba = torch.cat([rgb, torch.ones_like(rgb[:1])])
    seen = None if is_even(rgba) else _seen(rgba, SHIPPED_WEIGHTS if model is None else Path(model))
    try:
        plain = cut_out(rgba, name)
    except InputError:
        if seen is None and find_spec("cv2") is None:
            raise
        return _grabcut(rgba, name) if seen is None else _with_edges(rgba, seen, name)
    if seen is not None and alpha_iou(seen, plain[3]) < _AGREED:  # a road or a wall is nearly plain, too
        return _with_edges(rgba, seen, name)
    return CutOut(plain, "its plain background")


def _by_network(rgba: Float[Tensor, "4 h w"], name: str, model: str | Path | None) -> CutOut:
    folder = SHIPPED_WEIGHTS if model is None else Path(model)
    if not (folder / FOREGROUND).is_dir():
        raise InputError(
            f"--matting network: {folder} has no foreground network; `sparsegen foreground` trains one, "
            "or choose another way"
        )
    coverage = _seen(rgba, folder)
    if coverage is None:
        raise NotCutOutError(
            f"{name}: is opaque, and the model's foreground network is not sure to see an object; {CURE}"
        )
    return _with_edges(rgba, coverage, name)


def _seen(rgba: Float[Tensor, "4 h w"], folder: Path) -> Float[Tensor, "h2 w2"] | None:
    """What the foreground network of a model folder finds, if there is one and it is sure."""
    from sparsegen.matting.network import find_object, load_net

    net = load_net(folder)
    return None if net is None else find_object(net, scaled_down(rgba[:3]))


def _with_edges(rgba: Float[Tensor, "4 h w"], coverage: Float[Tensor, "h2 w2"], name: str) -> CutOut:
    """The cut-out of what the foreground network has found."""
    rgb, method = scaled_down(rgba[:3]), "the model's foreground network"
    if find_spec("cv2") is not None:
        from sparsegen.matting.grabcut import refined

        coverage, method = refined(rgb, coverage), f"{method}, its edges by GrabCut"
    return CutOut(_with_clean_edges(rgb, _checked(coverage, name)), method)


def _model(rgba: Float[Tensor, "4 h w"], path: Path, name: str) -> CutOut:
    from sparsegen.matting.onnx_model import load_segmenter

    rgb = scaled_down(rgba[:3])
    alpha = load_segmenter(path).coverage(rgb)
    return CutOut(_with_clean_edges(rgb, _checked(alpha, name)), f"the model {path.name}")


def _grabcut(rgba: Float[Tensor, "4 h w"], name: str) -> CutOut:
    from sparsegen.matting.grabcut import grabcut

    rgb = scaled_down(rgba[:3])
    return CutOut(_with_clean_edges(rgb, _checked(grabcut(rgb), name)), "GrabCut, from its border")


def _checked(alpha: Float[Tensor, "h w"], name: str) -> Float[Tensor, "h w"]:
    """Coverage without specks, if it is neither nothing nor everything."""
    solid = alpha > 0.5
    kept = without_specks(solid)
    share = float(kept.float().mean())
    if share < _SMALLEST_SHARE or share > 1 - _SMALLEST_SHARE:
        found = "nothing" if share < 0.5 else "no background"
        raise NotCutOutError(f"{name}: is opaque everywhere, and {found} was found in it; {CURE}")
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
