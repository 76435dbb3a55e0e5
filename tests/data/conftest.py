"""Datasets of random pixels, and a box whose six sides have six colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sparsegen.cameras import on_sphere
from sparsegen.data.packed import Viewsets

# As displayed; one a side, in the order +X, +Y, +Z, -X, -Y, -Z.
SIDES = np.array(
    [[200, 40, 30], [30, 180, 60], [50, 60, 210], [220, 200, 40], [40, 190, 200], [190, 50, 180]], np.uint8
)


@pytest.fixture
def make_viewsets() -> Callable[..., Viewsets]:
    """Random pictures, white where nothing covers them, with random cameras on the sphere."""

    def make(names=("a", "b"), views: int = 3, size: int = 8, has_alpha: bool = True) -> Viewsets:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (len(names), views, size, size, 4), dtype=np.uint8)
        images[:, :, 0, :, 3] = 0
        images[:, :, 1, :, 3] = 255
        if not has_alpha:
            images[..., 3] = 255
        images[images[..., 3] == 0] = [255, 255, 255, 0]
        azimuth, elevation = torch.from_numpy(rng.uniform(-1, 1, (2, len(names), views))).float()
        return Viewsets(images, on_sphere(azimuth, elevation, size=size), list(names), has_alpha)

    return make


@pytest.fixture
def sides() -> np.ndarray:
    """Displayed colours of the sides of `box`: +X, +Y, +Z, -X, -Y, -Z."""
    return SIDES


@pytest.fixture
def box():
    """A cube without colours, whose faces share no vertices; and the side (0..5) of every face."""
    import trimesh

    cube = trimesh.creation.box((2, 2, 2))
    cube.unmerge_vertices()
    axis = np.abs(cube.face_normals).argmax(axis=1)
    return cube, axis + 3 * (cube.face_normals[np.arange(12), axis] < 0)
