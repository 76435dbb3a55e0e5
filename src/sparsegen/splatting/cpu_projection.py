"""Numba kernels: 3D Gaussians to splats in pixels (EWA), and the gradients back.

With W a camera's rotation, J the Jacobian of the perspective and M = R S the Gaussian's rotation times
its scales, the 2D covariance is (J W M)(J W M)^T. J W has two rows: how a pixel's x and y move with the
point in the world. M has three columns: the scaled axes of the ellipsoid. So three pairs (u_j, v_j), the
axes as the picture sees them, say it all. A Gaussian is turned once for all of its views.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from sparsegen.splatting.cpu_layout import (
    BLUE,
    BLUR,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    CUTOFF,
    DEPTH,
    EXTENT_X,
    EXTENT_Y,
    FAR,
    GREEN,
    HALF,
    MEAN_X,
    MEAN_Y,
    MIN_ALPHA,
    NEAR,
    ONE,
    OPACITY,
    RED,
    TWO,
    ZERO,
    inlined,
    kernel,
)

_BORDER = np.float32(0.15)  # the Jacobian is taken at most 15 % of the picture outside of it
_SLACK = np.float32(0.01)  # pixels added to a splat's box, more than rounding can lose
_LARGEST = np.float32(1e37)  # a 2D covariance whose determinant is above this is out of float32's reach
_255 = np.float32(255)


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def _scaled(a, factor):
    return a[0] * factor, a[1] * factor, a[2] * factor


@inlined
def _combined(a, x, b, y):
    """a x + b y"""
    return a[0] * x + b[0] * y, a[1] * x + b[1] * y, a[2] * x + b[2] * y


@inlined
def _added(a, b, x, c, y):
    """a + b x + c y"""
    return a[0] + b[0] * x + c[0] * y, a[1] + b[1] * x + c[1] * y, a[2] + b[2] * x + c[2] * y


@inlined
def _row(table, i):
    return table[i, 0], table[i, 1], table[i, 2]


@inlined
def _unit_quat(quats, i):
    """The unit quaternion and the factor that made it one; a zero quaternion turns nothing."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    factor = ONE / max(math.sqrt(w * w + x * x + y * y + z * z), np.float32(1e-12))
    return w * factor, x * factor, y * factor, z * factor, factor


@inlined
def _axes(w, x, y, z):
    """The columns of a unit quaternion's rotation matrix."""
    return (
        (ONE - TWO * (y * y + z * z), TWO * (x * y + w * z), TWO * (x * z - w * y)),
        (TWO * (x * y - w * z), ONE - TWO * (x * x + z * z), TWO * (y * z + w * x)),
        (TWO * (x * z + w * y), TWO * (y * z - w * x), ONE - TWO * (x * x + y * y)),
    )


@inlined
def _seen(viewmat, point):
    """View-space x / z, y / z and z of a point."""
    x = _dot(_row(viewmat, 0), point) + viewmat[0, 3]
    y = _dot(_row(viewmat, 1), point) + viewmat[1, 3]
    z = _dot(_row(viewmat, 2), point) + viewmat[2, 3]
    return x / z, y / z, z


@inlined
def _clamped(slope, focal, center, size):
    """x / z where the Jacobian is taken: far outside of the picture it would blow up."""
    border = _BORDER * size / focal
    return min(max(slope, -(center / focal + border)), (size - center) / focal + border)


@inlined
def _pixel_rows(viewmat, clamp_x, clamp_y):
    """The rows of J W without the factor focal / z."""
    forward = _row(viewmat, 2)
    return _combined(_row(viewmat, 0), ONE, forward, -clamp_x), _combined(
        _row(viewmat, 1), ONE, forward, -clamp_y
    )


@inlined
def _project_one(
    i, means, quats, scales, opacities, colors, viewmats, Ks, count, views, width, height, splats, depths
):  # fmt: skip
    batch = i // count
    point = _row(means, i)
    w, x, y, z, _ = _unit_quat(quats, i)
    axis_0, axis_1, axis_2 = _axes(w, x, y, z)
    m0, m1, m2 = _scaled(axis_0, scales[i, 0]), _scaled(axis_1, scales[i, 1]), _scaled(axis_2, scales[i, 2])
    opacity = opacities[i]
    cutoff = math.log(max(opacity, MIN_ALPHA) * _255)
    for view in range(views):
        camera = batch * views + view
        viewmat = viewmats[camera]
        fx, fy, cx, cy = Ks[camera, 0, 0], Ks[camera, 1, 1], Ks[camera, 0, 2], Ks[camera, 1, 2]
        k = camera * count + i - batch * count
        slope_x, slope_y, depth = _seen(viewmat, point)
        depths[k] = depth
        splats[k, EXTENT_X] = -ONE
        if not (depth >= NEAR and depth <= FAR and opacity >= MIN_ALPHA):
            continue
        clamp_x, clamp_y = _clamped(slope_x, fx, cx, width), _clamped(slope_y, fy, cy, height)
        row_x, row_y = _pixel_rows(viewmat, clamp_x, clamp_y)
        gain_x, gain_y = fx / depth, fy / depth
        u = _scaled((_dot(row_x, m0), _dot(row_x, m1), _dot(row_x, m2)), gain_x)
        v = _scaled((_dot(row_y, m0), _dot(row_y, m1), _dot(row_y, m2)), gain_y)
        uu, uv, vv = _dot(u, u), _dot(u, v), _dot(v, v)
        # |u|^2 |v|^2 - (u v)^2 = |u x v|^2 (Lagrange), which does not cancel for a thin splat
        c0, c1, c2 = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
        determinant = c0 * c0 + c1 * c1 + c2 * c2 + BLUR * (uu + vv) + BLUR * BLUR
        mean_x, mean_y = fx * slope_x + cx, fy * slope_y + cy
        extent_x = math.sqrt(TWO * cutoff * (uu + BLUR)) + _SLACK
        extent_y = math.sqrt(TWO * cutoff * (vv + BLUR)) + _SLACK
        inside_x = mean_x + extent_x > ZERO and mean_x - extent_x < width
        inside_y = mean_y + extent_y > ZERO and mean_y - extent_y < height
        if not (determinant < _LARGEST and inside_x and inside_y):
            continue
        splats[k, MEAN_X], splats[k, MEAN_Y] = mean_x, mean_y
        splats[k, CONIC_XX] = (vv + BLUR) / determinant
        splats[k, CONIC_XY] = -uv / determinant
        splats[k, CONIC_YY] = (uu + BLUR) / determinant
        splats[k, OPACITY] = opacity
        splats[k, RED], splats[k, GREEN], splats[k, BLUE] = colors[i, 0], colors[i, 1], colors[i, 2]
        splats[k, CUTOFF] = cutoff
        splats[k, EXTENT_X], splats[k, EXTENT_Y] = extent_x, extent_y


@kernel
def project(
    means, quats, scales, opacities, colors, viewmats, Ks, count, views, width, height, splats, depths
):  # fmt: skip
    """Fill `splats` (b*v*n, columns) and `depths` (b*v*n) from Gaussians (b*n, ...) and cameras (b*v, ...).

    `count` is n and `views` is v.
    """
    for i in prange(means.shape[0]):
        _project_one(
            np.int64(i), means, quats, scales, opacities, colors, viewmats, Ks, count, views, width, height,
            splats, depths,
        )  # fmt: skip


@inlined
def _axes_gradient(splat, gradient, u, v):
    """Gradients of u and v from those of the conic Q = C^-1, by dC = -Q dQ Q and C = [u u, u v; u v, v v]."""
    xx, xy, yy = splat[CONIC_XX], splat[CONIC_XY], splat[CONIC_YY]
    g_xx, g_xy, g_yy = gradient[CONIC_XX], gradient[CONIC_XY] * HALF, gradient[CONIC_YY]
    p_xx, p_xy = xx * g_xx + xy * g_xy, xx * g_xy + xy * g_yy
    p_yx, p_yy = xy * g_xx + yy * g_xy, xy * g_xy + yy * g_yy
    g_uu = -(p_xx * xx + p_xy * xy)
    g_uv = -TWO * (p_xx * xy + p_xy * yy)
    g_vv = -(p_yx * xy + p_yy * yy)
    return _combined(u, TWO * g_uu, v, g_uv), _combined(v, TWO * g_vv, u, g_uv)


@inlined
def _quat_gradient(w, x, y, z, factor, g0, g1, g2):
    """Gradient of the quaternion before it was normalised, from those of the rotation's columns."""
    gw = TWO * (x * (g1[2] - g2[1]) + y * (g2[0] - g0[2]) + z * (g0[1] - g1[0]))
    gx = TWO * (y * (g1[0] + g0[1]) + z * (g2[0] + g0[2]) + w * (g1[2] - g2[1]) - TWO * x * (g1[1] + g2[2]))
    gy = TWO * (x * (g1[0] + g0[1]) + z * (g2[1] + g1[2]) + w * (g2[0] - g0[2]) - TWO * y * (g0[0] + g2[2]))
    gz = TWO * (x * (g2[0] + g0[2]) + y * (g2[1] + g1[2]) + w * (g0[1] - g1[0]) - TWO * z * (g0[0] + g1[1]))
    radial = w * gw + x * gx + y * gy + z * gz
    return (
        (gw - w * radial) * factor,
        (gx - x * radial) * factor,
        (gy - y * radial) * factor,
        (gz - z * radial) * factor,
    )


@inlined
def _project_one_backward(
    i, means, quats, scales, viewmats, Ks, count, views, width, height, splats, gradients,
    g_means, g_quats, g_scales, g_opacities, g_colors,
):  # fmt: skip
    batch = i // count
    point = _row(means, i)
    w, x, y, z, factor = _unit_quat(quats, i)
    axis_0, axis_1, axis_2 = _axes(w, x, y, z)
    m0, m1, m2 = _scaled(axis_0, scales[i, 0]), _scaled(axis_1, scales[i, 1]), _scaled(axis_2, scales[i, 2])
    none = (ZERO, ZERO, ZERO)
    g_point, g_m0, g_m1, g_m2, g_color = none, none, none, none, none
    g_opacity = ZERO
    for view in range(views):
        camera = batch * views + view
        k = camera * count + i - batch * count
        if splats[k, EXTENT_X] <= ZERO:
            continue
        viewmat, gradient = viewmats[camera], gradients[k]
        fx, fy, cx, cy = Ks[camera, 0, 0], Ks[camera, 1, 1], Ks[camera, 0, 2], Ks[camera, 1, 2]
        slope_x, slope_y, depth = _seen(viewmat, point)
        clamp_x, clamp_y = _clamped(slope_x, fx, cx, width), _clamped(slope_y, fy, cy, height)
        row_x, row_y = _pixel_rows(viewmat, clamp_x, clamp_y)
        gain_x, gain_y = fx / depth, fy / depth
        u = _scaled((_dot(row_x, m0), _dot(row_x, m1), _dot(row_x, m2)), gain_x)
        v = _scaled((_dot(row_y, m0), _dot(row_y, m1), _dot(row_y, m2)), gain_y)

        g_opacity += gradient[OPACITY]
        g_color = _added(g_color, (gradient[RED], gradient[GREEN], gradient[BLUE]), ONE, none, ZERO)
        g_u, g_v = _axes_gradient(splats[k], gradient, u, v)
        # u_j = gain_x (row_x . m_j) and v_j = gain_y (row_y . m_j)
        g_m0 = _added(g_m0, row_x, gain_x * g_u[0], row_y, gain_y * g_v[0])
        g_m1 = _added(g_m1, row_x, gain_x * g_u[1], row_y, gain_y * g_v[1])
        g_m2 = _added(g_m2, row_x, gain_x * g_u[2], row_y, gain_y * g_v[2])
        g_row_x = _added(_scaled(m0, g_u[0]), m1, g_u[1], m2, g_u[2])
        g_row_y = _added(_scaled(m0, g_v[0]), m1, g_v[1], m2, g_v[2])
        # the rows hold the clamped slopes, the mean the true ones
        forward = _row(viewmat, 2)
        g_slope_x, g_slope_y = fx * gradient[MEAN_X], fy * gradient[MEAN_Y]
        if clamp_x == slope_x:
            g_slope_x -= gain_x * _dot(g_row_x, forward)
        if clamp_y == slope_y:
            g_slope_y -= gain_y * _dot(g_row_y, forward)
        # gain = focal / z; slope = x / z
        g_depth = gradient[DEPTH]
        g_depth -= (gain_x * _dot(g_row_x, row_x) + gain_y * _dot(g_row_y, row_y)) / depth
        g_depth -= (g_slope_x * slope_x + g_slope_y * slope_y) / depth
        g_point = _added(g_point, _row(viewmat, 0), g_slope_x / depth, _row(viewmat, 1), g_slope_y / depth)
        g_point = _added(g_point, forward, g_depth, none, ZERO)
    g_means[i, 0], g_means[i, 1], g_means[i, 2] = g_point
    g_colors[i, 0], g_colors[i, 1], g_colors[i, 2] = g_color
    g_opacities[i] = g_opacity
    # m_j = s_j axis_j
    g_scales[i, 0], g_scales[i, 1], g_scales[i, 2] = (
        _dot(g_m0, axis_0),
        _dot(g_m1, axis_1),
        _dot(g_m2, axis_2),
    )
    g_axis_0, g_axis_1 = _scaled(g_m0, scales[i, 0]), _scaled(g_m1, scales[i, 1])
    g_axis_2 = _scaled(g_m2, scales[i, 2])
    g_quat = _quat_gradient(w, x, y, z, factor, g_axis_0, g_axis_1, g_axis_2)
    g_quats[i, 0], g_quats[i, 1], g_quats[i, 2], g_quats[i, 3] = g_quat


@kernel
def project_backward(
    means, quats, scales, viewmats, Ks, count, views, width, height, splats, gradients,
    g_means, g_quats, g_scales, g_opacities, g_colors,
):  # fmt: skip
    """Gradients of the Gaussians (b*n, ...) from those of their splats, `gradients` (b*v*n, columns)."""
    for i in prange(means.shape[0]):
        _project_one_backward(
            np.int64(i), means, quats, scales, viewmats, Ks, count, views, width, height, splats, gradients,
            g_means, g_quats, g_scales, g_opacities, g_colors,
        )  # fmt: skip
