"""Triton kernels: 3D Gaussians to splats in pixels, nearest first, and the gradients back."""

from __future__ import annotations

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from sparsegen.splatting.triton_geometry import (
    added,
    axes,
    clamped,
    combined,
    covariance,
    dot,
    load_camera_row,
    load_lens,
    load_unit_quat,
    load_vector,
    pixel_rows,
    scaled,
    seen_axes,
    slopes,
    store_vector,
)
from sparsegen.splatting.triton_layout import (
    BLUE,
    DEPTH,
    FAR,
    GREEN,
    LOG2_255,
    LOG2_E,
    LOG_OPACITY,
    MEAN_X,
    MEAN_Y,
    MIN_ALPHA,
    NEAR,
    Q_XX,
    Q_XY,
    Q_YY,
    RED,
    S_X,
    S_XX,
    S_XY,
    S_Y,
    S_YY,
    SPLAT_ROW,
    SUM_ROW,
    TILE_HEIGHT,
    TILE_WIDTH,
    W_DEPTH,
    W_RED,
    S,
)

_SLACK = tl.constexpr(0.01)  # pixels added to a splat's box, more than rounding can lose
_LARGEST = tl.constexpr(1e37)  # a 2D covariance whose determinant is above this is out of float32's reach
_LAST = tl.constexpr(0x7F800000)  # the bits of infinity
_NO_TILES = tl.constexpr(1)


@triton.jit
def order_keys(means, viewmats, keys, count, views, BLOCK: tl.constexpr):
    """Fill `keys` (i, n) int64: pictures in turn, nearest Gaussian first, and last what is out of sight."""
    image = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    forward, shift = load_camera_row(viewmats, image, 2)
    z = dot(forward, load_vector(means, image // views * count + n, inside)) + shift
    # the bits of positive floats sort as the floats do
    bits = tl.where((z >= NEAR) & (z <= FAR), z.to(tl.int32, bitcast=True), _LAST)
    tl.store(keys + image * count + n, (image << 32) | bits.to(tl.int64), inside)


@triton.jit
def _span(mean, extent, size, drawn, TILE: tl.constexpr):
    """The first tile, and in the upper half the last, with a pixel centre within `extent` of `mean`."""
    first = tl.ceil(tl.where(drawn, tl.maximum(mean - extent - 0.5, 0.0), 1.0)).to(tl.int32)
    last = tl.floor(tl.where(drawn, tl.minimum(mean + extent - 0.5, size - 1.0), 0.0)).to(tl.int32)
    return tl.where(last >= first, (first // TILE) | ((last // TILE) << 16), _NO_TILES)


@triton.jit
def project(
    means, quats, scales, opacities, colors, viewmats, Ks, order, splats, span_x, span_y, count, views,
    width, height, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill `splats` (i*n, columns) and the tiles that their boxes cover (i*n), in `order` (i*n)."""
    image = tl.program_id(1).to(tl.int64)
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = j < count
    k = image * count + j
    i = tl.load(order + k, inside, image * count) - image * count + image // views * count
    point, size = load_vector(means, i, inside), load_vector(scales, i, inside)
    opacity = tl.load(opacities + i, inside, 0.0)
    w, x, y, z, _ = load_unit_quat(quats, i, inside)
    axis_0, axis_1, axis_2 = axes(w, x, y, z)
    m0, m1, m2 = scaled(axis_0, size[0]), scaled(axis_1, size[1]), scaled(axis_2, size[2])

    fx, fy, cx, cy = load_lens(Ks, image)
    slope_x, slope_y, depth, visible = slopes(viewmats, image, point)
    clamp_x, clamp_y = clamped(slope_x, fx, cx, width), clamped(slope_y, fy, cy, height)
    row_x, row_y = pixel_rows(viewmats, image, clamp_x, clamp_y)
    u, v = seen_axes(row_x, fx / depth, m0, m1, m2), seen_axes(row_y, fy / depth, m0, m1, m2)
    xx, xy, yy, determinant = covariance(u, v)
    mean_x, mean_y = fx * slope_x + cx, fy * slope_y + cy

    visible = visible & inside & (opacity >= MIN_ALPHA)
    log_opacity = tl.log2(tl.where(visible, opacity, 1.0))
    reach = tl.maximum(log_opacity + LOG2_255, 0.0) * (2.0 / LOG2_E)  # twice the largest sigma
    extent_x, extent_y = tl.sqrt(reach * xx) + _SLACK, tl.sqrt(reach * yy) + _SLACK
    inside_x = (mean_x + extent_x > 0) & (mean_x - extent_x < width)
    inside_y = (mean_y + extent_y > 0) & (mean_y - extent_y < height)
    drawn = visible & (determinant < _LARGEST) & inside_x & inside_y
    tl.store(span_x + k, _span(mean_x, extent_x, width, drawn, TILE_WIDTH), inside)
    tl.store(span_y + k, _span(mean_y, extent_y, height, drawn, TILE_HEIGHT), inside)

    row = splats + k * SPLAT_ROW
    tl.store(row + MEAN_X, mean_x, drawn)
    tl.store(row + MEAN_Y, mean_y, drawn)
    factor = LOG2_E / -determinant
    tl.store(row + Q_XX, 0.5 * yy * factor, drawn)
    tl.store(row + Q_XY, -xy * factor, drawn)
    tl.store(row + Q_YY, 0.5 * xx * factor, drawn)
    tl.store(row + LOG_OPACITY, log_opacity, drawn)
    red, green, blue = load_vector(colors, i, drawn)
    tl.store(row + RED, red, drawn)
    tl.store(row + GREEN, green, drawn)
    tl.store(row + BLUE, blue, drawn)
    tl.store(row + DEPTH, depth, drawn)


@triton.jit
def _covariance_gradient(xx, xy, yy, sums):
    """Gradients of the 2D covariance's entries from those of its inverse Q: dC = -Q dQ Q.

    sigma = (xx dx^2 + yy dy^2) / 2 + xy dx dy, so the sums are twice the gradients of xx and yy, and the
    gradient of xy, which stands in both corners of Q.
    """
    g_xx, g_xy, g_yy = 0.5 * sums[0], 0.5 * sums[1], 0.5 * sums[2]
    p_xx, p_xy = xx * g_xx + xy * g_xy, xx * g_xy + xy * g_yy
    p_yx, p_yy = xy * g_xx + yy * g_xy, xy * g_xy + yy * g_yy
    return -(p_xx * xx + p_xy * xy), -2 * (p_xx * xy + p_xy * yy), -(p_yx * xy + p_yy * yy)


@triton.jit
def _quat_gradient(w, x, y, z, factor, g0, g1, g2):
    """Gradient of the quaternion before it was normalised, from those of the rotation's columns."""
    gw = 2 * (x * (g1[2] - g2[1]) + y * (g2[0] - g0[2]) + z * (g0[1] - g1[0]))
    gx = 2 * (y * (g1[0] + g0[1]) + z * (g2[0] + g0[2]) + w * (g1[2] - g2[1]) - 2 * x * (g1[1] + g2[2]))
    gy = 2 * (x * (g1[0] + g0[1]) + z * (g2[1] + g1[2]) + w * (g2[0] - g0[2]) - 2 * y * (g0[0] + g2[2]))
    gz = 2 * (x * (g2[0] + g0[2]) + y * (g2[1] + g1[2]) + w * (g0[1] - g1[0]) - 2 * z * (g0[0] + g1[1]))
    radial = w * gw + x * gx + y * gy + z * gz
    return (
        (gw - w * radial) * factor,
        (gx - x * radial) * factor,
        (gy - y * radial) * factor,
        (gz - z * radial) * factor,
    )


@triton.jit
def _view_gradient(viewmats, Ks, camera, point, m0, m1, m2, slope_sums, conic_sums, g_depth, width, height):
    """Gradients of a Gaussian's mean and scaled axes from the pixels of one picture."""
    fx, fy, cx, cy = load_lens(Ks, camera)
    slope_x, slope_y, depth, _ = slopes(viewmats, camera, point)
    clamp_x, clamp_y = clamped(slope_x, fx, cx, width), clamped(slope_y, fy, cy, height)
    row_x, row_y = pixel_rows(viewmats, camera, clamp_x, clamp_y)
    gain_x, gain_y = fx / depth, fy / depth
    u, v = seen_axes(row_x, gain_x, m0, m1, m2), seen_axes(row_y, gain_y, m0, m1, m2)
    c_xx, c_xy, c_yy, determinant = covariance(u, v)
    xx, xy, yy = c_yy / determinant, -c_xy / determinant, c_xx / determinant
    g_uu, g_uv, g_vv = _covariance_gradient(xx, xy, yy, conic_sums)

    # u_j = gain_x (row_x . m_j) and v_j = gain_y (row_y . m_j)
    a = scaled(combined(u, 2 * g_uu, v, g_uv), gain_x)
    b = scaled(combined(v, 2 * g_vv, u, g_uv), gain_y)
    g_m0 = combined(row_x, a[0], row_y, b[0])
    g_m1 = combined(row_x, a[1], row_y, b[1])
    g_m2 = combined(row_x, a[2], row_y, b[2])
    g_row_x = added(scaled(m0, a[0]), m1, a[1], m2, a[2])
    g_row_y = added(scaled(m0, b[0]), m1, b[1], m2, b[2])
    # the rows hold the clamped slopes, the mean the true ones
    right, _ = load_camera_row(viewmats, camera, 0)
    down, _ = load_camera_row(viewmats, camera, 1)
    forward, _ = load_camera_row(viewmats, camera, 2)
    g_x = fx * (xx * slope_sums[0] + xy * slope_sums[1])
    g_y = fy * (xy * slope_sums[0] + yy * slope_sums[1])
    g_x = tl.where(clamp_x == slope_x, g_x - dot(g_row_x, forward), g_x)
    g_y = tl.where(clamp_y == slope_y, g_y - dot(g_row_y, forward), g_y)
    # gain = focal / z; slope = x / z
    g_z = g_depth - (dot(g_row_x, row_x) + dot(g_row_y, row_y) + g_x * slope_x + g_y * slope_y) / depth
    return added(scaled(forward, g_z), right, g_x / depth, down, g_y / depth), g_m0, g_m1, g_m2


@triton.jit
def _plus(a, b, counts):
    """a + b where b counts; where not, b may be anything."""
    return (
        a[0] + tl.where(counts, b[0], 0.0),
        a[1] + tl.where(counts, b[1], 0.0),
        a[2] + tl.where(counts, b[2], 0.0),
    )


@triton.jit
def project_backward(
    means, quats, scales, opacities, viewmats, Ks, sums, g_means, g_quats, g_scales, g_opacities, g_colors,
    count, views, width, height, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the Gaussians (b*n, ...) from what pixels say of their splats, `sums` (b*v*n, columns)."""
    batch = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    i = batch * count + n
    point, size = load_vector(means, i, inside), load_vector(scales, i, inside)
    w, x, y, z, factor = load_unit_quat(quats, i, inside)
    axis_0, axis_1, axis_2 = axes(w, x, y, z)
    m0, m1, m2 = scaled(axis_0, size[0]), scaled(axis_1, size[1]), scaled(axis_2, size[2])
    zero = tl.zeros([BLOCK], tl.float32)
    g_sigma, g_point, g_color = zero, (zero, zero, zero), (zero, zero, zero)
    g_m0, g_m1, g_m2 = (zero, zero, zero), (zero, zero, zero), (zero, zero, zero)
    view = 0
    while view < views:
        camera = batch * views + view
        row = sums + (camera * count + n) * SUM_ROW
        s, g_depth = tl.load(row + S, inside, 0.0), tl.load(row + W_DEPTH, inside, 0.0)
        s_x, s_y = tl.load(row + S_X, inside, 0.0), tl.load(row + S_Y, inside, 0.0)
        s_xx, s_xy = tl.load(row + S_XX, inside, 0.0), tl.load(row + S_XY, inside, 0.0)
        s_yy = tl.load(row + S_YY, inside, 0.0)
        d_point, d_m0, d_m1, d_m2 = _view_gradient(
            viewmats, Ks, camera, point, m0, m1, m2, (s_x, s_y), (s_xx, s_xy, s_yy), g_depth, width, height
        )
        # What no pixel shows has no gradient, even where its projection is not finite.
        shown = (s != 0) | (s_x != 0) | (s_y != 0) | (s_xx != 0) | (s_xy != 0) | (s_yy != 0) | (g_depth != 0)
        g_point = _plus(g_point, d_point, shown)
        g_m0, g_m1 = _plus(g_m0, d_m0, shown), _plus(g_m1, d_m1, shown)
        g_m2 = _plus(g_m2, d_m2, shown)
        g_color = _plus(g_color, load_vector(row + W_RED, zero.to(tl.int32), inside), inside)
        g_sigma += s
        view += 1
    store_vector(g_means, i, g_point, inside)
    store_vector(g_colors, i, g_color, inside)
    opacity = tl.load(opacities + i, inside, 1.0)
    tl.store(g_opacities + i, -g_sigma / tl.where(g_sigma != 0, opacity, 1.0), inside)
    store_vector(g_scales, i, (dot(g_m0, axis_0), dot(g_m1, axis_1), dot(g_m2, axis_2)), inside)
    # m_j = s_j axis_j
    g0, g1, g2 = scaled(g_m0, size[0]), scaled(g_m1, size[1]), scaled(g_m2, size[2])
    gw, gx, gy, gz = _quat_gradient(w, x, y, z, factor, g0, g1, g2)
    tl.store(g_quats + 4 * i, gw, inside)
    tl.store(g_quats + 4 * i + 1, gx, inside)
    tl.store(g_quats + 4 * i + 2, gy, inside)
    tl.store(g_quats + 4 * i + 3, gz, inside)
