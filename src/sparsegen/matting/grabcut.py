"""GrabCut (Rother et al. 2004) by OpenCV, seeded from the border of the picture or from a rough cut-out."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from sparsegen.formats.cutout import object_boxes

# GrabCut's graph is cut at this size: seconds become tenths, and the network sees far less.
_SIDE = 256
_ITERATIONS = 4
# Share of the picture along its border that is taken for background.
_BORDER = 0.02
# An island smaller than this share of the largest is background.
_ISLAND = 0.1
# A rough cut-out that is as sure as this, or surer, is believed.
SURE = 0.98
# Background around the object that is looked at to tell it apart, in shares of the object's larger side.
_AROUND = 0.125


def grabcut(rgb: Float[Tensor, "3 h w"], box: tuple[slice, slice] | None = None) -> Float[Tensor, "h w"]:
    """Coverage, 0 or 1 but along the edge, of what differs from the border of the picture, or from what is
    outside a box, given by its rows and columns."""
    seeds = _seeds(*_size(rgb))
    if box is not None:
        scale = seeds.shape[0] / rgb.shape[1], seeds.shape[1] / rgb.shape[2]
        rows, columns = (
            slice(math.floor(s * side.start), math.ceil(s * side.stop))
            for s, side in zip(scale, box, strict=True)
        )
        outside = np.ones(seeds.shape, dtype=bool)
        outside[rows, columns] = False
        seeds[outside] = cv2.GC_BGD
    if not (seeds == cv2.GC_PR_FGD).any():  # too small to have an inside
        return torch.zeros(rgb.shape[1:])
    return _cut(rgb, seeds)


def refined(
    rgb: Float[Tensor, "3 h w"], coverage: Float[Tensor, "h w"], sure: float = SURE
) -> Float[Tensor, "h w"]:
    """A rough cut-out with edges where the picture has them; where it is as `sure` as that it is believed."""
    top, bottom, left, right = (round(edge) for edge in object_boxes(coverage[None])[0].tolist())
    around = round(_AROUND * max(bottom - top, right - left))
    rows = slice(max(0, top - around), bottom + around)
    columns = slice(max(0, left - around), right + around)
    part = rgb[:, rows, columns]
    chances = F.interpolate(coverage[None, None, rows, columns], _size(part), mode="area")[0, 0].numpy()
    seeds = np.where(chances > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    seeds[chances >= sure] = cv2.GC_FGD
    seeds[chances <= 1 - sure] = cv2.GC_BGD
    inside = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    if inside.all() or not inside.any():
        return coverage
    found = torch.zeros_like(coverage)
    found[rows, columns] = _cut(part, seeds)
    return found


def _size(rgb: Float[Tensor, "3 h w"]) -> tuple[int, int]:
    height, width = rgb.shape[1:]
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _cut(rgb: Float[Tensor, "3 h w"], seeds: UInt8[ndarray, "h2 w2"]) -> Float[Tensor, "h w"]:
    """Coverage of a picture whose seeds are those of a smaller one."""
    small = F.interpolate(rgb[None], seeds.shape, mode="area")[0]
    levels = (small.permute(1, 2, 0).flip(-1) * 255).round().byte().contiguous().numpy()  # BGR
    cv2.setRNGSeed(0)  # it begins with k-means from random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(levels, seeds, (0, 0, 0, 0), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    inside = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    mask = torch.from_numpy(_without_islands(inside)).float()
    return F.interpolate(mask[None, None], rgb.shape[1:], mode="bilinear")[0, 0]


def _seeds(height: int, width: int) -> UInt8[ndarray, "h w"]:
    """Surely background along the border, probably object everywhere else."""
    thickness = max(1, round(_BORDER * min(height, width)))
    seeds = np.full((height, width), cv2.GC_BGD, np.uint8)
    seeds[thickness:-thickness, thickness:-thickness] = cv2.GC_PR_FGD
    return seeds


def _without_islands(mask: ndarray) -> ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # the background's label
    return np.isin(labels, np.flatnonzero(areas >= max(1, _ISLAND * areas.max())))
