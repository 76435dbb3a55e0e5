"""The closed surface of a signed distance field, by marching cubes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sparsegen.errors import InputError

# Pieces with less than this share of the largest piece's volume are floaters.
SMALLEST_PIECE = 0.01


def closed_surface(
    field: Float[ndarray, "x y z"],
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"]]:
    """Vertices in grid steps and faces, counter-clockwise from outside, where a field changes its sign.

    The field is positive outside. The surface has no holes: the border counts as outside, and cavities
    are filled. Pieces smaller than the share `SMALLEST_PIECE` of the largest are left out. Without anything
    inside there are no faces. Raises `InputError` if scikit-image is not installed.
    """
    measure = _measure()
    field = np.pad(field.astype(np.float32), 1, constant_values=np.float32(np.abs(field).max() or 1))
    # Exactly zero would put vertices of several cells onto one point.
    tiny = np.float32(1e-6) * np.abs(field).max()
    field = np.where(np.abs(field) < tiny, tiny, field)
    solid = _large_pieces(_filled(field < 0, measure), measure)
    if not solid.any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    field = np.where(solid, np.minimum(field, -tiny), np.maximum(field, tiny))
    vertices, faces, _, _ = measure.marching_cubes(field, 0.0, gradient_direction="descent")
    return (vertices - 1).astype(np.float32), faces.astype(np.int32)


def check_installed() -> None:
    """Raises `InputError` if scikit-image is not installed."""
    _measure()


def _filled(solid: Bool[ndarray, "x y z"], measure: Any) -> Bool[ndarray, "x y z"]:
    """All that cannot be reached from the border."""
    labels = measure.label(~solid, connectivity=1)
    return labels != labels[0, 0, 0]


def _large_pieces(solid: Bool[ndarray, "x y z"], measure: Any) -> Bool[ndarray, "x y z"]:
    labels = measure.label(solid, connectivity=1)
    volumes = np.bincount(labels.ravel())
    volumes[0] = 0
    keep = volumes >= max(SMALLEST_PIECE * volumes.max(), 1)
    keep[0] = False
    return keep[labels]


def _measure() -> Any:
    try:
        from skimage import measure
    except ImportError:
        raise InputError(
            "meshes need scikit-image, which is not installed: pip install 'sparsegen[mesh]'"
        ) from None
    return measure
