"""Textures: a mesh laid out flat by xatlas, each texel colored as the point of the surface that it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.mesh import Mesh, Texture

SIZES = (64, 8192)
# Texels between charts: a program that shrinks the texture mixes neighbours.
_PADDING = 2
# Points colored at a time: bounds the memory.
_POINTS = 200_000

Paint = Callable[[Float[Tensor, "n 3"], Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]


def check_texture(size: int) -> None:
    """Raises `InputError` for a size that no texture can have, or if xatlas is not installed."""
    low, high = SIZES
    if not low <= size <= high:
        raise InputError(f"--texture: expected {low} to {high} texels on a side, found {size}")
    _xatlas()


def bake(mesh: Mesh, size: int, paint: Paint) -> Mesh:
    """The mesh with a texture of `size` x `size` texels.

    `paint` gives the displayed colors of surface points from their positions and unit normals. Texels
    between charts repeat the nearest one within. Raises `InputError` as `check_texture` does.
    """
    from scipy.ndimage import distance_transform_edt  # scikit-image brings SciPy

    check_texture(size)
    places, faces, uv = _lay_out(mesh, size)
    face, weights, texels = _cover(uv[faces] * size, size)
    corners = mesh.faces[face]
    points = torch.from_numpy(np.einsum("tk,tkc->tc", weights, mesh.vertices[corners])).float()
    normals = torch.from_numpy(np.einsum("tk,tkc->tc", weights, mesh.normals[corners])).float()
    pieces = zip(points.split(_POINTS), F.normalize(normals, dim=-1).split(_POINTS), strict=True)
    colors = torch.cat([paint(*piece) for piece in pieces]).numpy()
    image, empty = np.ones((size * size, 3), np.float32), np.ones(size * size, bool)
    image[texels], empty[texels] = colors, False
    nearest: Any = distance_transform_edt(
        empty.reshape(size, size), return_distances=False, return_indices=True
    )
    filled = image.reshape(size, size, 3)[nearest[0], nearest[1]]
    return replace(mesh, texture=Texture(filled, uv, places, faces))


def _lay_out(mesh: Mesh, size: int) -> tuple[Int[ndarray, "m"], Int[ndarray, "f 3"], Float[ndarray, "m 2"]]:
    """The fields `vertices`, `faces` and `uv` of a texture."""
    xatlas = _xatlas()
    atlas = xatlas.Atlas()
    atlas.add_mesh(
        np.ascontiguousarray(mesh.vertices, np.float32), np.ascontiguousarray(mesh.faces, np.uint32)
    )
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding = size, _PADDING
    atlas.generate(pack_options=packing)
    places, faces, uv = atlas[0]
    return places.astype(np.int64), faces.astype(np.int64), uv.astype(np.float32)


def _cover(
    triangles: Float[ndarray, "f 3 2"], size: int
) -> tuple[Int[ndarray, "t"], Float[ndarray, "t 3"], Int[ndarray, "t"]]:
    """Texels whose centres lie in flat triangles (in texels, x right, y down): the face, the weights of its
    corners, and row * size + column."""
    low = np.clip(np.ceil(triangles.min(axis=1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(triangles.max(axis=1) - 0.5) + 1, low, size).astype(np.int64)
    spans = high - low
    counts = spans.prod(axis=1)
    face = np.repeat(np.arange(len(triangles)), counts)
    step = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = low[face, 0] + step % spans[face, 0]
    row = low[face, 1] + step // spans[face, 0]
    weights = _barycentric(np.stack([column, row], axis=-1) + 0.5, triangles[face].astype(np.float64))
    inside = weights.min(axis=1) >= 0  # not where NaN
    return face[inside], weights[inside], (row * size + column)[inside]


def _barycentric(points: Float[ndarray, "t 2"], corners: Float[ndarray, "t 3 2"]) -> Float[ndarray, "t 3"]:
    """Weights of the corners that give the points; NaN in triangles without area."""

    def cross(a: ndarray, b: ndarray) -> ndarray:
        return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]

    a, b, c = np.moveaxis(corners, 1, 0)
    area = cross(b - a, c - a)
    area = np.where(area == 0, np.nan, area)
    second, third = cross(points - a, c - a) / area, cross(b - a, points - a) / area
    return np.stack([1 - second - third, second, third], axis=-1)


def _xatlas() -> Any:
    try:
        import xatlas
    except ImportError:
        raise InputError(
            "textures need xatlas, which is not installed: pip install 'sparsegen[mesh]'"
        ) from None
    return xatlas
