"""Which way is up: every file format has its own axes, and objects must stand upright in all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians

Up = Literal["z", "y", "-y"]
UPS: tuple[Up, ...] = get_args(Up)

# Where the world's (x forward, y left, z up) goes, as a matrix and the same rotation as a quaternion wxyz.
# "z" is the world itself. "y" is glTF's: x left, y up, z forward, (y, z, x). "-y" is half a turn about z
# from there, (-y, -z, x), which is how viewers for photographed scenes take files with y pointing down.
_ROTATIONS = {
    "z": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [1.0, 0.0, 0.0, 0.0]),
    "y": ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], [0.5, -0.5, -0.5, -0.5]),
    "-y": ([[0, -1, 0], [0, 0, -1], [1, 0, 0]], [0.5, 0.5, -0.5, 0.5]),
}


def from_world(gaussians: Gaussians, up: Up) -> Gaussians:
    """Gaussians of the world (+Z up, facing +X) in the axes of a file in which `up` points up."""
    matrix, quat = _rotation(gaussians, up)
    return _turned(gaussians, matrix, quat)


def to_world(gaussians: Gaussians, up: Up) -> Gaussians:
    """The way back from the axes of a file."""
    matrix, quat = _rotation(gaussians, up)
    return _turned(gaussians, matrix.mT, quat * quat.new_tensor([1, -1, -1, -1]))


def quat_product(a: Float[Tensor, "*batch 4"], b: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The rotation that turns by `b` first, then by `a`; both wxyz."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    product = (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
    return torch.stack(product, dim=-1)


def quat_of(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """wxyz of a rotation matrix: the eigenvector that Bar-Itzhack's symmetric matrix keeps."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotation.unbind(-2))
    symmetric = [
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ]
    matrix = torch.stack([torch.stack(row, dim=-1) for row in symmetric], dim=-2)
    return torch.linalg.eigh(matrix).eigenvectors[..., -1]


def _rotation(like: Gaussians, up: Up) -> tuple[Tensor, Tensor]:
    if up not in _ROTATIONS:
        raise InputError(f"up axis {up!r} is unknown: choose from {', '.join(UPS)}")
    matrix, quat = _ROTATIONS[up]
    return like.means.new_tensor(matrix), like.quats.new_tensor(quat)


def _turned(gaussians: Gaussians, matrix: Tensor, quat: Tensor) -> Gaussians:
    return replace(
        gaussians,
        means=gaussians.means @ matrix.mT,
        quats=quat_product(quat.expand_as(gaussians.quats), gaussians.quats),
    )
