"""GrabCut (Rother et al. 2004) by OpenCV, seeded from the border of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

# GrabCut's graph is cut at this size: seconds become tenths, and the network sees far less.
_SIDE = 256
_ITERATIONS = 4
# Share of the picture along its border that is taken for background.
_BORDER = 0.02
# An island smaller than this share of the largest is background.
_ISLAND = 0.1


def grabcut(rgb: Float[Tensor, "3 h w"]) -> Float[Tensor, "h w"]:
    """Coverage, 0 or 1 but along the edge, of what differs from the border of the picture."""
    height, width = rgb.shape[1:]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.interpolate(rgb[None], size, mode="area")[0]
    levels = (small.permute(1, 2, 0).flip(-1) * 255).round().byte().contiguous().numpy()  # BGR
    seeds = _seeds(*size)
    if not (seeds == cv2.GC_PR_FGD).any():  # too small to have an inside
        return torch.zeros(height, width)
    cv2.setRNGSeed(0)  # it begins with k-means from random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(levels, seeds, (0, 0, 0, 0), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    mask = torch.from_numpy(_without_islands(seeds == cv2.GC_PR_FGD)).float()
    return F.interpolate(mask[None, None], (height, width), mode="bilinear")[0, 0]


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
