"""Triangle meshes as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Texture:
    """A picture for a mesh: `image` in [0, 1] as displayed, its first row on top.

    A vertex at a seam has several places in the picture. Place i belongs to vertex `vertices[i]` of the
    mesh; `uv` are in [0, 1], (0, 0) the picture's upper left corner; `faces` are the mesh's faces, in order,
    by the numbers of their places.
    """

    image: Float[ndarray, "h w 3"]
    uv: Float[ndarray, "m 2"]
    vertices: Int[ndarray, "m"]
    faces: Int[ndarray, "f 3"]


@dataclass(frozen=True)
class Mesh:
    """Triangles of one object in world units (+Z up, facing +X).

    `faces` are counter-clockwise seen from outside; `colors` are those of the vertices, in [0, 1] as
    displayed (sRGB). A `texture`, where there is one, shows the same colors in more detail.
    """

    vertices: Float[ndarray, "n 3"]
    faces: Int[ndarray, "f 3"]
    colors: Float[ndarray, "n 3"]
    texture: Texture | None = None

    def __post_init__(self) -> None:
        if self.vertices.shape[1:] != (3,) or self.colors.shape != self.vertices.shape:
            raise ValueError(
                f"vertices and colors must both be (n, 3), got {self.vertices.shape} and {self.colors.shape}"
            )
        if self.faces.shape[1:] != (3,):
            raise ValueError(f"faces must be (f, 3), got {self.faces.shape}")

    @property
    def normals(self) -> Float[ndarray, "n 3"]:
        """Unit normals of the vertices: of the faces around, weighted by area."""
        return vertex_normals(self.vertices, self.faces)


def vertex_normals(vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "n 3"]:
    """Unit normals of the vertices, pointing outside; (0, 0, 1) where no face gives one."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    of_faces = np.cross(b - a, c - a)  # twice the area long
    sums = np.stack(
        [np.bincount(faces.ravel(), np.repeat(of_faces[:, k], 3), len(vertices)) for k in range(3)], axis=-1
    )
    lengths = np.linalg.norm(sums, axis=-1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-300), [0.0, 0.0, 1.0]).astype(np.float32)
