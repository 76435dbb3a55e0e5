"""Batched pinhole cameras: paths around an object, pixel rays, and other conventions.

World: right-handed, +Z up, objects face +X. Camera axes are OpenCV's: x right, y down, z forward.
Pixel (column i, row j) has its centre at (i + 0.5, j + 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# ShapeNet-SRN's framing of an object with unit bounding-box diagonal (paper, section 4.1).
RADIUS = 1.3
FOCAL_128 = 131.25  # pixels, for a picture 128 pixels wide

# Flips the y and z axes of a camera: OpenGL (x right, y up, z backward) <-> OpenCV.
_OPENGL = (1.0, -1.0, -1.0)
# Flips the x and y axes of a camera: PyTorch3D (x left, y up, z forward) <-> OpenCV.
_PYTORCH3D = (-1.0, -1.0, 1.0)


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras of one picture size, with any batch shape.

    `viewmats` map world to camera; `Ks` are intrinsics in pixels.
    """

    viewmats: Float[Tensor, "*batch 4 4"]
    Ks: Float[Tensor, "*batch 3 3"]
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.viewmats.shape[-2:] != (4, 4) or self.Ks.shape[-2:] != (3, 3):
            raise ValueError(
                f"viewmats must be (..., 4, 4) and Ks (..., 3, 3), got {tuple(self.viewmats.shape)} "
                f"and {tuple(self.Ks.shape)}"
            )
        if self.viewmats.shape[:-2] != self.Ks.shape[:-2]:
            raise ValueError(
                f"viewmats and Ks must share their batch shape, got {tuple(self.viewmats.shape[:-2])} "
                f"and {tuple(self.Ks.shape[:-2])}"
            )

    @property
    def batch_shape(self) -> torch.Size:
        return self.viewmats.shape[:-2]

    @property
    def centers(self) -> Float[Tensor, "*batch 3"]:
        """Camera positions in the world."""
        rotation, translation = self.viewmats[..., :3, :3], self.viewmats[..., :3, 3:]
        return -(rotation.mT @ translation)[..., 0]

    @property
    def camera_to_world(self) -> Float[Tensor, "*batch 4 4"]:
        """Inverse of `viewmats` in closed form."""
        return _rigid(self.viewmats[..., :3, :3].mT, self.centers)

    def __getitem__(self, index: Any) -> Cameras:
        return replace(self, viewmats=self.viewmats[index], Ks=self.Ks[index])

    def __len__(self) -> int:
        return self.batch_shape[0]

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Cameras:
        return replace(self, viewmats=self.viewmats.to(device, dtype), Ks=self.Ks.to(device, dtype))

    def reshape(self, *batch: int) -> Cameras:
        return replace(self, viewmats=self.viewmats.reshape(*batch, 4, 4), Ks=self.Ks.reshape(*batch, 3, 3))

    def expand(self, *batch: int) -> Cameras:
        """Broadcast the batch shape, as `Tensor.expand` does."""
        return replace(self, viewmats=self.viewmats.expand(*batch, 4, 4), Ks=self.Ks.expand(*batch, 3, 3))

    def resized(self, width: int, height: int) -> Cameras:
        """The same cameras for pictures scaled to `width` x `height` pixels."""
        across, down, last = self.Ks.unbind(-2)
        Ks = torch.stack([across * (width / self.width), down * (height / self.height), last], dim=-2)
        return Cameras(self.viewmats, Ks, width, height)

    def mirrored(self) -> Cameras:
        """Where an object that is its own mirror image in the plane y = 0 looks as from here, left and right
        exchanged."""
        from_image = self.viewmats.new_tensor([1.0, -1.0, 1.0, 1.0])
        exchanged = self.viewmats.new_tensor([-1.0, 1.0, 1.0, 1.0])
        Ks = self.Ks.clone()
        Ks[..., 0, 2] = self.width - Ks[..., 0, 2]
        return replace(self, viewmats=exchanged[:, None] * self.viewmats * from_image, Ks=Ks)

    def project(
        self, points: Float[Tensor, "*batch n 3"]
    ) -> tuple[Float[Tensor, "*batch n 2"], Float[Tensor, "*batch n"]]:
        """Pixel coordinates and view-space depth of world points.

        Coordinates of points with depth at or below zero have no meaning.
        """
        rotation, translation = self.viewmats[..., :3, :3], self.viewmats[..., None, :3, 3]
        local = points @ rotation.mT + translation  # (*batch, n, 3)
        depth = local[..., 2]
        homogeneous = local @ self.Ks.mT
        return homogeneous[..., :2] / homogeneous[..., 2:], depth

    def rays(
        self, width: int | None = None, height: int | None = None
    ) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch h w 3"]]:
        """Camera centres and unit ray directions in the world through every pixel centre.

        `width` and `height` ask for a grid of another size over the same picture.
        """
        cameras = self.resized(width or self.width, height or self.height)
        Ks = cameras.Ks
        u = torch.arange(cameras.width, dtype=Ks.dtype, device=Ks.device) + 0.5
        v = torch.arange(cameras.height, dtype=Ks.dtype, device=Ks.device) + 0.5
        y = (v - Ks[..., 1, 2, None]) / Ks[..., 1, 1, None]  # (*batch, h)
        x = (u - Ks[..., 0, 2, None]) / Ks[..., 0, 0, None]  # (*batch, w); no skew
        shape = (*self.batch_shape, cameras.height, cameras.width)
        local = torch.stack(
            [x[..., None, :].expand(shape), y[..., :, None].expand(shape), x.new_ones(shape)], dim=-1
        )
        world = torch.einsum("...ji,...hwj->...hwi", self.viewmats[..., :3, :3], local)
        return self.centers, F.normalize(world, dim=-1)

    # --- other conventions -------------------------------------------------------------------

    @staticmethod
    def from_camera_to_world(
        camera_to_world: Float[Tensor, "*batch 4 4"],
        Ks: Float[Tensor, "*batch 3 3"],
        width: int,
        height: int,
        axes: str = "opencv",
    ) -> Cameras:
        """From camera-to-world matrices with OpenCV axes (SRN pose files) or OpenGL axes (NeRF)."""
        rotation = camera_to_world[..., :3, :3] * _axis_flip(axes, camera_to_world)
        translation = -(rotation.mT @ camera_to_world[..., :3, 3:])[..., 0]
        return Cameras(_rigid(rotation.mT, translation), Ks, width, height)

    def to_camera_to_world(self, axes: str = "opencv") -> Float[Tensor, "*batch 4 4"]:
        """Camera-to-world matrices with OpenCV axes (SRN pose files) or OpenGL axes (NeRF)."""
        rotation = self.viewmats[..., :3, :3].mT * _axis_flip(axes, self.viewmats)
        return _rigid(rotation, self.centers)

    @staticmethod
    def from_pytorch3d(
        R: Float[Tensor, "*batch 3 3"],
        T: Float[Tensor, "*batch 3"],
        focal_length: Float[Tensor, "*batch 2"],
        principal_point: Float[Tensor, "*batch 2"],
        width: int,
        height: int,
    ) -> Cameras:
        """From PyTorch3D's row-vector convention, X_view = X_world R + T, with NDC intrinsics.

        PyTorch3D's NDC has +x left and +y up, and spans [-1, 1] over the shorter picture side; this is
        what CO3D annotations store under `ndc_isotropic`.
        """
        flip = R.new_tensor(_PYTORCH3D)
        viewmats = _rigid(R.mT * flip[:, None], T * flip)
        half = min(width, height) / 2
        center = R.new_tensor([width / 2, height / 2])
        Ks = intrinsics(focal_length * half, center - principal_point * half)
        return Cameras(viewmats, Ks, width, height)

    def to_pytorch3d(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`(R, T, focal_length, principal_point)` as `from_pytorch3d` takes them."""
        flip = self.viewmats.new_tensor(_PYTORCH3D)
        R = (self.viewmats[..., :3, :3] * flip[:, None]).mT
        T = self.viewmats[..., :3, 3] * flip
        half = min(self.width, self.height) / 2
        center = self.Ks.new_tensor([self.width / 2, self.height / 2])
        focal = torch.stack([self.Ks[..., 0, 0], self.Ks[..., 1, 1]], dim=-1) / half
        return R, T, focal, (center - self.Ks[..., :2, 2]) / half


def intrinsics(
    focal: Float[Tensor, "*batch 2"], center: Float[Tensor, "*batch 2"]
) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsic matrices from focal lengths and principal points in pixels."""
    focal, center = torch.broadcast_tensors(focal, center)
    K = focal.new_zeros(*focal.shape[:-1], 3, 3)
    K[..., 0, 0], K[..., 1, 1] = focal[..., 0], focal[..., 1]
    K[..., :2, 2] = center
    K[..., 2, 2] = 1
    return K


def look_at(
    centers: Float[Tensor, "*batch 3"],
    size: int = 128,
    focal: float | None = None,
    target: Sequence[float] = (0.0, 0.0, 0.0),
) -> Cameras:
    """Cameras at `centers` that look at `target` with +Z up in square pictures of `size` pixels.

    `focal` is in pixels; without it the ShapeNet-SRN field of view is taken (131.25 at 128 pixels).
    Straight down or up, the picture's top points along +X.
    """
    forward = F.normalize(centers.new_tensor(target) - centers, dim=-1)
    up = torch.zeros_like(forward)
    up[..., 2] = 1
    vertical = torch.linalg.cross(forward, up).norm(dim=-1, keepdim=True) < 1e-6
    up = torch.where(vertical, up.roll(1, -1), up)
    right = F.normalize(torch.linalg.cross(forward, up), dim=-1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    viewmats = _rigid(rotation, -(rotation @ centers[..., None])[..., 0])
    focal = FOCAL_128 * size / 128 if focal is None else focal
    K = intrinsics(centers.new_tensor([focal, focal]), centers.new_tensor([size / 2, size / 2]))
    return Cameras(viewmats, K.expand(*centers.shape[:-1], 3, 3), size, size)


def on_sphere(
    azimuth: Float[Tensor, "*batch"],
    elevation: Float[Tensor, "*batch"],
    radius: float = RADIUS,
    size: int = 128,
    focal: float | None = None,
) -> Cameras:
    """Cameras on a sphere, looking at the origin. Angles in radians; azimuth 0 is in front (+X)."""
    azimuth, elevation = torch.broadcast_tensors(azimuth, elevation)
    flat = elevation.cos()
    centers = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()], dim=-1)
    return look_at(radius * centers, size, focal)


def focal_at(distance: float, size: int) -> float:
    """The focal length in pixels under which an object is as large from `distance` as the usual lens makes it
    from the usual distance."""
    return FOCAL_128 * size / 128 * distance / RADIUS


def orbit(
    count: int,
    elevation: float = math.radians(20),
    radius: float = RADIUS,
    size: int = 128,
    focal: float | None = None,
    azimuth: float = 0.0,
) -> Cameras:
    """`count` cameras evenly around a circle, the first at `azimuth` (0 is in front). Angles in radians."""
    azimuths = azimuth + torch.arange(count) * (2 * math.pi / count)
    return on_sphere(azimuths, torch.full((count,), elevation), radius, size, focal)


def spiral(
    count: int,
    turns: float = 5.0,
    elevations: tuple[float, float] = (math.radians(85), math.radians(1)),
    radius: float = RADIUS,
    size: int = 128,
    focal: float | None = None,
) -> Cameras:
    """`count` cameras on an Archimedean spiral over the upper hemisphere, from top to horizon."""
    along = (torch.arange(count) + 0.5) / count
    azimuth = along * (2 * math.pi * turns)
    elevation = elevations[0] + (elevations[1] - elevations[0]) * along
    return on_sphere(azimuth, elevation, radius, size, focal)


def fibonacci_sphere(
    count: int, radius: float = RADIUS, size: int = 128, focal: float | None = None
) -> Cameras:
    """`count` cameras evenly over the whole sphere, from top to bottom, on a Fibonacci lattice."""
    number = torch.arange(count) + 0.5
    golden = math.pi * (3 - math.sqrt(5))
    return on_sphere(number * golden, torch.asin(1 - 2 * number / count), radius, size, focal)


def stack(cameras: Sequence[Cameras], dim: int = 0) -> Cameras:
    """Stack cameras of one picture size along a new batch dimension `dim` (counted from the front)."""
    return _join(torch.stack, cameras, dim)


def cat(cameras: Sequence[Cameras], dim: int = 0) -> Cameras:
    """Concatenate cameras of one picture size along batch dimension `dim` (counted from the front)."""
    return _join(torch.cat, cameras, dim)


def _join(join: Callable[..., Tensor], cameras: Sequence[Cameras], dim: int) -> Cameras:
    sizes = {(c.width, c.height) for c in cameras}
    if len(sizes) != 1:
        raise ValueError(f"cameras must share one picture size, got {sorted(sizes)}")
    return replace(
        cameras[0],
        viewmats=join([c.viewmats for c in cameras], dim),
        Ks=join([c.Ks for c in cameras], dim),
    )


def _rigid(rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]) -> Tensor:
    matrix = rotation.new_zeros(*rotation.shape[:-2], 4, 4)
    matrix[..., :3, :3] = rotation
    matrix[..., :3, 3] = translation
    matrix[..., 3, 3] = 1
    return matrix


def _axis_flip(axes: str, like: Tensor) -> Tensor:
    """Signs that turn camera columns of the `axes` convention into OpenCV's, and back."""
    if axes == "opencv":
        return like.new_ones(3)
    if axes == "opengl":
        return like.new_tensor(_OPENGL)
    raise ValueError(f"axes must be 'opencv' or 'opengl', got {axes!r}")
