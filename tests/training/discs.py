"""Viewsets of flat discs, which have no front and no rear."""

from __future__ import annotations

import numpy as np
import torch

from sparsegen.cameras import on_sphere
from sparsegen.data.packed import Viewsets


def striped_discs(size: int = 32) -> Viewsets:
    """Two discs with stripes, four pictures each."""
    images = np.zeros((2, 4, size, size, 4), np.uint8)
    row, column = np.mgrid[:size, :size]
    images[..., 3] = 255 * ((row - size / 2) ** 2 + (column - size / 2) ** 2 < (0.35 * size) ** 2)
    images[..., 0] = 255 * (row // 3 % 2)
    images[..., 1] = 255 * (column // 3 % 2)
    azimuth = torch.arange(4) * 1.5
    return Viewsets(images, on_sphere(azimuth, 0 * azimuth + 0.4, size=size).expand(2, 4), ["a", "b"])
