"""Triton functions: what one camera makes of one 3D Gaussian (EWA), for the kernels of both directions.

With W a camera's rotation, J the Jacobian of the perspective and M = R S the Gaussian's rotation times
its scales, the 2D covariance is (J W M)(J W M)^T. J W has two rows: how a pixel's x and y move with the
point in the world. M has three columns: the scaled axes of the ellipsoid. So three pairs (u_j, v_j), the
axes as the picture sees them, say it all. Vectors are tuples of blocks with an entry for each Gaussian.
"""

from __future__ import annotations

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from sparsegen.splatting.triton_layout import BLUR, BORDER, FAR, NEAR


@triton.jit
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@triton.jit
def scaled(a, factor):
    return a[0] * factor, a[1] * factor, a[2] * factor


@triton.jit
def combined(a, x, b, y):
    """a x + b y"""
    return a[0] * x + b[0] * y, a[1] * x + b[1] * y, a[2] * x + b[2] * y


@triton.jit
def added(a, b, x, c, y):
    """a + b x + c y"""
    return a[0] + b[0] * x + c[0] * y, a[1] + b[1] * x + c[1] * y, a[2] + b[2] * x + c[2] * y


@triton.jit
def cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@triton.jit
def load_vector(table, i, mask):
    row = table + 3 * i
    return tl.load(row, mask, 0.0), tl.load(row + 1, mask, 0.0), tl.load(row + 2, mask, 0.0)


@triton.jit
def store_vector(table, i, a, mask):
    row = table + 3 * i
    tl.store(row, a[0], mask)
    tl.store(row + 1, a[1], mask)
    tl.store(row + 2, a[2], mask)


@triton.jit
def load_unit_quat(quats, i, mask):
    """The unit quaternion and the factor that made it one; a zero quaternion turns nothing."""
    row = quats + 4 * i
    w, x = tl.load(row, mask, 0.0), tl.load(row + 1, mask, 0.0)
    y, z = tl.load(row + 2, mask, 0.0), tl.load(row + 3, mask, 0.0)
    factor = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    return w * factor, x * factor, y * factor, z * factor, factor


@triton.jit
def axes(w, x, y, z):
    """The columns of a unit quaternion's rotation matrix."""
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    second = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    third = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    return first, second, third


@triton.jit
def load_camera_row(viewmats, camera, row: tl.constexpr):
    """A row of a camera's rotation, and of its translation."""
    start = viewmats + camera * 16 + row * 4
    return (tl.load(start), tl.load(start + 1), tl.load(start + 2)), tl.load(start + 3)


@triton.jit
def load_lens(Ks, camera):
    """fx, fy, cx, cy"""
    start = Ks + camera * 9
    return tl.load(start), tl.load(start + 4), tl.load(start + 2), tl.load(start + 5)


@triton.jit
def clamped(slope, focal, center, size):
    """x / z where the Jacobian is taken: far outside of the picture it would blow up."""
    border = BORDER * size / focal
    return tl.minimum(tl.maximum(slope, -(center / focal + border)), (size - center) / focal + border)


@triton.jit
def slopes(viewmats, camera, point):
    """View-space x / z, y / z and z, and whether z lies between the planes; where not, as if z were 1."""
    right, shift_x = load_camera_row(viewmats, camera, 0)
    down, shift_y = load_camera_row(viewmats, camera, 1)
    forward, shift_z = load_camera_row(viewmats, camera, 2)
    z = dot(forward, point) + shift_z
    visible = (z >= NEAR) & (z <= FAR)
    z = tl.where(visible, z, 1.0)
    return (dot(right, point) + shift_x) / z, (dot(down, point) + shift_y) / z, z, visible


@triton.jit
def pixel_rows(viewmats, camera, clamp_x, clamp_y):
    """The rows of J W without the factor focal / z."""
    right, _ = load_camera_row(viewmats, camera, 0)
    down, _ = load_camera_row(viewmats, camera, 1)
    forward, _ = load_camera_row(viewmats, camera, 2)
    return combined(right, 1.0, forward, -clamp_x), combined(down, 1.0, forward, -clamp_y)


@triton.jit
def seen_axes(row, gain, m0, m1, m2):
    """u or v: one pixel coordinate of the three scaled axes."""
    return dot(row, m0) * gain, dot(row, m1) * gain, dot(row, m2) * gain


@triton.jit
def covariance(u, v):
    """Entries xx, xy, yy of the 2D covariance, and its determinant.

    |u|^2 |v|^2 - (u v)^2 = |u x v|^2 (Lagrange), which does not cancel for a thin splat.
    """
    uu, uv, vv = dot(u, u), dot(u, v), dot(v, v)
    normal = cross(u, v)
    return uu + BLUR, uv, vv + BLUR, dot(normal, normal) + BLUR * (uu + vv) + BLUR * BLUR
