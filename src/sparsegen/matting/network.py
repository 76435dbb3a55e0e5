"""The foreground network of the shipped model, which knows the kind of objects that this was trained on."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.formats.cutout import object_boxes
from sparsegen.models.foreground import ForegroundNet
from sparsegen.models.pretrained import load_foreground_net

# Looks: at the whole picture, then twice at a square around what was found, so much larger than it.
_LOOKS, _MARGIN = 3, 1.25
# Surer than this, on average over what it found, or it has found nothing.
_SURE = 0.8
# Found in less than this share of the picture: nothing.
_SMALLEST_SHARE = 0.003


@lru_cache(maxsize=2)
def load_net(model_folder: Path) -> ForegroundNet | None:
    """The foreground network of a model folder, if it has one."""
    return load_foreground_net(model_folder)


@torch.inference_mode()
def find_object(
    net: ForegroundNet, rgb: Float[Tensor, "3 h w"], closer: bool = True
) -> Float[Tensor, "h w"] | None:
    """Coverage of the object that a picture shows; None where the network is not sure to see one.

    It looks closer and closer, unless the object fills the picture already.
    """
    height, width = rgb.shape[1:]
    row, column, side = height / 2, width / 2, float(max(height, width))
    coverage = rgb.new_zeros(height, width)
    for _ in range(_LOOKS if closer else 1):
        coverage = _look(net, rgb, row, column, side)
        inside = coverage > 0.5
        if inside.float().mean() < _SMALLEST_SHARE or coverage[inside].mean() < _SURE:
            return None
        top, bottom, left, right = object_boxes(coverage[None])[0].tolist()
        row, column = (top + bottom) / 2, (left + right) / 2
        side = _MARGIN * max(bottom - top, right - left)
    return coverage


def _look(
    net: ForegroundNet, rgb: Float[Tensor, "3 h w"], row: float, column: float, side: float
) -> Float[Tensor, "h w"]:
    """What the network finds in a square of the picture, at the picture's own resolution; nothing outside."""
    height, width = rgb.shape[1:]
    first_row, first_column = round(row - side / 2), round(column - side / 2)
    side = max(2, round(side))
    rows, columns = (
        (first + torch.arange(side)).clamp(0, length - 1)  # what lies beyond the border is like it
        for first, length in ((first_row, height), (first_column, width))
    )
    square = rgb[:, rows][:, :, columns]
    size = (net.config.size, net.config.size)
    small = F.interpolate(square[None], size, mode="bilinear", antialias=True)
    logits = (net(small) + net(small.flip(-1)).flip(-1)) / 2
    found = F.interpolate(logits[None], (side, side), mode="bicubic")[0, 0].sigmoid()
    top, left = max(first_row, 0), max(first_column, 0)
    bottom, right = min(first_row + side, height), min(first_column + side, width)
    coverage = rgb.new_zeros(height, width)
    part = found[top - first_row : bottom - first_row, left - first_column : right - first_column]
    coverage[top:bottom, left:right] = part
    return coverage
