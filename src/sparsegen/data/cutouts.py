"""Shapes drawn by a texture's transparency: leaves, fences, decals.

The renderer hits a triangle or misses it, so triangles that are partly clear are split until their
pieces are nearly one or the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

if TYPE_CHECKING:
    from PIL import Image

MAX_SPLITS = 6  # a triangle becomes at most 4 to this power
MAX_FACES = 200_000  # of one mesh
# Where a triangle is probed: six points near its corners and edges, one in the middle.
_PROBES = np.array(
    [[10, 1, 1], [1, 10, 1], [1, 1, 10], [5.5, 5.5, 1], [5.5, 1, 5.5], [1, 5.5, 5.5], [4, 4, 4]]
)
_PROBES /= 12


def alpha_map(image: Image.Image, material: Any) -> Float[ndarray, "h w"] | None:
    """Opacity of a material's texture, or None where it is opaque by the format's rules."""
    mode = getattr(material, "alphaMode", "BLEND")  # OBJ files do not say; their pictures do
    if mode in (None, "OPAQUE") or not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA"))[..., 3] / np.float32(255)
    if mode == "MASK":
        cutoff = material.alphaCutoff
        return (alpha >= (0.5 if cutoff is None else cutoff)).astype(np.float32)
    return alpha


def split_cutouts(
    corners: Float[ndarray, "f 3 c"], alpha: Float[ndarray, "h w"]
) -> tuple[Float[ndarray, "g 3 c"], Float[ndarray, "g"], ndarray]:
    """Triangles split where a texture's opacity varies, their opacities, and the face each came from.

    The last two columns of `corners` are texture coordinates; all columns are interpolated.
    """
    parents = np.arange(len(corners))
    for _ in range(MAX_SPLITS):
        probes = _probe(corners[..., -2:], alpha)
        mixed = np.ptp(probes, axis=1) > 0.5
        if not mixed.any() or len(corners) + 3 * mixed.sum() > MAX_FACES:
            break
        corners = np.concatenate([corners[~mixed], _quarters(corners[mixed])])
        parents = np.concatenate([parents[~mixed], np.tile(parents[mixed], 4)])
    return corners, _probe(corners[..., -2:], alpha).mean(axis=1), parents


def _quarters(corners: Float[ndarray, "f 3 c"]) -> Float[ndarray, "4*f 3 c"]:
    a, b, c = np.moveaxis(corners, 1, 0)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    pieces = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    return np.concatenate([np.stack(piece, axis=1) for piece in pieces])


def _probe(uv: Float[ndarray, "f 3 2"], alpha: Float[ndarray, "h w"]) -> Float[ndarray, "f p"]:
    """Opacity at some points of each triangle; textures repeat, and v = 0 is the bottom row."""
    height, width = alpha.shape
    points = np.einsum("pc,fcd->fpd", _PROBES, uv)
    rows = np.floor((1 - points[..., 1]) * height).astype(int) % height
    columns = np.floor(points[..., 0] * width).astype(int) % width
    return alpha[rows, columns]
