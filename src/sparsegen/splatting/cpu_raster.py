"""Numba kernels: splats to pixels, and the gradients back.

A tile's state is a flat scratch array of planes, each TILE_HEIGHT rows of TILE_WIDTH pixels. Splats are
taken one by one, nearest first, over whole rows of the tile: every lane of a vector register is a pixel,
and nothing in the inner loop branches. A pixel that has become opaque keeps its transmittance with a
minus sign, which switches it off and still remembers the value.

`depths` is None when no depth is drawn. Numba then compiles a kernel of its own, without the branches.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from sparsegen.splatting.cpu_layout import (
    BLUE,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    CUTOFF,
    DEPTH,
    EXTENT_Y,
    GREEN,
    HALF,
    MAX_ALPHA,
    MEAN_X,
    MEAN_Y,
    MIN_TRANSMITTANCE,
    ONE,
    OPACITY,
    RED,
    TILE_HEIGHT,
    TILE_WIDTH,
    ZERO,
    Index,
    inlined,
    kernel,
)

# Planes of the scratch array. The pictures' gradients share their numbers with the pictures.
_PIXELS = TILE_WIDTH * TILE_HEIGHT
_LANES = np.uint64(TILE_WIDTH)
_T, _R, _G, _B, _Z, _A, _REST = (np.uint64(plane * _PIXELS) for plane in range(7))
_FORWARD_PLANES, _BACKWARD_PLANES = 5, 7

# Before every 32nd splat it is worth asking whether all pixels are opaque.
_CHECK = 31

# exp(x) on [-0.75, 0]: least squares for the relative error (3e-8 for its eighth power) in a
# Chebyshev basis.
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (
    np.float32(c) for c in (1.0, 0.9999996, 0.49999216, 0.1666066, 0.041443445, 0.007897734, 0.0009497848)
)
_LARGEST_SIGMA = np.float32(6)
_EIGHTH = np.float32(-0.125)


@inlined
def exp_negative(sigma):
    """exp(-sigma) for 0 <= sigma <= 6; alpha is below 1/255 from ln 255 = 5.54 on.

    A polynomial of sigma / 8 to the eighth power: unlike math.exp it fits vector registers.
    """
    x = sigma * _EIGHTH
    p = _E0 + x * (_E1 + x * (_E2 + x * (_E3 + x * (_E4 + x * (_E5 + x * _E6)))))
    p = p * p
    p = p * p
    return p * p


@inlined
def _rows(splat, top, rows):
    """The tile's rows that a splat can reach: the first, and the one after the last."""
    middle = splat[MEAN_Y] - top - HALF
    first = math.ceil(max(middle - splat[EXTENT_Y], ZERO))
    last = math.floor(min(middle + splat[EXTENT_Y], np.float32(rows) - ONE))
    return np.int64(first), np.int64(last) + 1


@inlined
def _all_opaque(state):
    largest = -ONE
    for p in range(Index(_PIXELS)):
        largest = max(largest, state[p])
    return largest <= ZERO


@inlined
def _tile_frame(tile, tiles_x, tiles_y, width, height):
    """Picture of a tile, its top left pixel, and its rows and columns inside of the picture."""
    image = tile // (tiles_x * tiles_y)
    place = tile - image * tiles_x * tiles_y
    top, left = place // tiles_x * TILE_HEIGHT, place % tiles_x * TILE_WIDTH
    return image, top, left, min(TILE_HEIGHT, height - top), min(TILE_WIDTH, width - left)


@inlined
def _draw(state, splats, depths, k, top, left, first_row, end_row):
    """Add splat `k` to a tile."""
    splat = splats[k]
    first_dx = splat[MEAN_X] - (left + HALF)
    half_xx, xy, half_yy = HALF * splat[CONIC_XX], splat[CONIC_XY], HALF * splat[CONIC_YY]
    opacity, cutoff = splat[OPACITY], splat[CUTOFF]
    red, green, blue = splat[RED], splat[GREEN], splat[BLUE]
    for row in range(first_row, end_row):
        dy = splat[MEAN_Y] - (top + np.float32(row) + HALF)
        xy_dy, yy_dy2 = xy * dy, half_yy * dy * dy
        start = Index(row) * _LANES
        for lane in range(_LANES):
            p = start + lane
            dx = first_dx - np.float32(np.int32(lane))
            sigma = (half_xx * dx + xy_dy) * dx + yy_dy2
            transmittance = state[_T + p]
            alpha = min(MAX_ALPHA, opacity * exp_negative(min(sigma, _LARGEST_SIGMA)))
            alpha = alpha if (sigma <= cutoff) & (sigma >= ZERO) else ZERO
            left_over = transmittance - alpha * transmittance
            drawn = left_over > MIN_TRANSMITTANCE  # false for good once the pixel is switched off
            state[_T + p] = left_over if drawn else -abs(transmittance)
            weight = alpha * transmittance if drawn else ZERO
            state[_R + p] += weight * red
            state[_G + p] += weight * green
            state[_B + p] += weight * blue
            if depths is not None:
                state[_Z + p] += weight * depths[k]


@kernel
def rasterize(
    splats, depths, count, width, height, tiles_x, tiles_y, starts, ends, lists, workers,
    out_rgb, out_alpha, out_depth,
):  # fmt: skip
    """Draw the tiles' splats into `out_rgb` (i, 3, h, w), `out_alpha` and `out_depth` (i, h, w) or None."""
    for worker_ in prange(workers):
        worker = np.int64(worker_)
        state = np.empty(_FORWARD_PLANES * _PIXELS, np.float32)
        for tile in range(worker, starts.size - 1, workers):
            image, top, left, rows, columns = _tile_frame(tile, tiles_x, tiles_y, width, height)
            state[:_PIXELS] = ONE
            state[_PIXELS:] = ZERO
            for j in range(starts[tile], ends[tile]):
                if (j - starts[tile]) & _CHECK == _CHECK and _all_opaque(state):
                    break
                k = image * count + lists[j]
                first_row, end_row = _rows(splats[k], np.float32(top), rows)
                _draw(state, splats, depths, k, np.float32(top), np.float32(left), first_row, end_row)
            for y in range(rows):
                for x in range(columns):
                    p = Index(y * TILE_WIDTH + x)
                    out_rgb[image, 0, top + y, left + x] = state[_R + p]
                    out_rgb[image, 1, top + y, left + x] = state[_G + p]
                    out_rgb[image, 2, top + y, left + x] = state[_B + p]
                    out_alpha[image, top + y, left + x] = ONE - abs(state[_T + p])
                    if depths is not None:
                        out_depth[image, top + y, left + x] = state[_Z + p]


# Sums that a splat gathers over the rows of a tile, one for each lane. dx is the same in all rows of a
# lane, so that powers of dx can wait until the lanes are added up.
_S, _S_DY, _S_DY2, _W_R, _W_G, _W_B, _W_Z = (np.uint64(plane * TILE_WIDTH) for plane in range(7))
_LANE_SUMS = 7


@inlined
def _draw_backward(state, sums, splats, depths, k, top, left, first_row, end_row, gradient):
    """Replay `_draw` and add what the pixels' gradients say about splat `k` to its row of the table.

    With w_i = alpha_i T_i a splat's weight in a pixel and d_i the loss's derivative by that weight, the
    loss's derivative by alpha_i is T_i d_i - (sum of w_j d_j over the splats j behind i) / (1 - alpha_i).
    The whole sum is known from the finished picture; what has been drawn is taken off on the way.
    """
    splat = splats[k]
    first_dx = splat[MEAN_X] - (left + HALF)
    half_xx, xy, half_yy = HALF * splat[CONIC_XX], splat[CONIC_XY], HALF * splat[CONIC_YY]
    opacity, cutoff = splat[OPACITY], splat[CUTOFF]
    red, green, blue = splat[RED], splat[GREEN], splat[BLUE]
    for i in range(Index(_LANE_SUMS * TILE_WIDTH)):
        sums[i] = ZERO
    for row in range(first_row, end_row):
        dy = splat[MEAN_Y] - (top + np.float32(row) + HALF)
        xy_dy, yy_dy2, dy2 = xy * dy, half_yy * dy * dy, dy * dy
        start = Index(row) * _LANES
        for lane in range(_LANES):
            p = start + lane
            dx = first_dx - np.float32(np.int32(lane))
            sigma = (half_xx * dx + xy_dy) * dx + yy_dy2
            transmittance = state[_T + p]
            alpha = min(MAX_ALPHA, opacity * exp_negative(min(sigma, _LARGEST_SIGMA)))
            alpha = alpha if (sigma <= cutoff) & (sigma >= ZERO) else ZERO
            left_over = transmittance - alpha * transmittance
            drawn = left_over > MIN_TRANSMITTANCE
            state[_T + p] = left_over if drawn else -abs(transmittance)
            weight = alpha * transmittance if drawn else ZERO
            g_red, g_green, g_blue = state[_R + p], state[_G + p], state[_B + p]
            g_weight = red * g_red + green * g_green + blue * g_blue + state[_A + p]
            if depths is not None:
                g_weight += depths[k] * state[_Z + p]
                sums[_W_Z + lane] += weight * state[_Z + p]
            behind = state[_REST + p] - weight * g_weight
            state[_REST + p] = behind
            g_alpha = transmittance * g_weight - behind / (ONE - alpha)
            # d alpha / d sigma = -alpha, and nothing where alpha is clamped
            g_sigma = -alpha * g_alpha if drawn & (alpha < MAX_ALPHA) else ZERO
            sums[_S + lane] += g_sigma
            sums[_S_DY + lane] += g_sigma * dy
            sums[_S_DY2 + lane] += g_sigma * dy2
            sums[_W_R + lane] += weight * g_red
            sums[_W_G + lane] += weight * g_green
            sums[_W_B + lane] += weight * g_blue
    _add_lanes(sums, splat, depths, first_dx, gradient)


@inlined
def _add_lanes(sums, splat, depths, first_dx, gradient):
    """Add up the lanes: sigma = (xx dx^2 + yy dy^2) / 2 + xy dx dy, and dx, dy grow with the mean."""
    s, s_x, s_xx, s_y, s_xy, s_yy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    w_red, w_green, w_blue, w_depth = ZERO, ZERO, ZERO, ZERO
    for lane in range(_LANES):
        dx = first_dx - np.float32(np.int32(lane))
        s += sums[_S + lane]
        s_x += sums[_S + lane] * dx
        s_xx += sums[_S + lane] * dx * dx
        s_y += sums[_S_DY + lane]
        s_xy += sums[_S_DY + lane] * dx
        s_yy += sums[_S_DY2 + lane]
        w_red += sums[_W_R + lane]
        w_green += sums[_W_G + lane]
        w_blue += sums[_W_B + lane]
        w_depth += sums[_W_Z + lane]
    gradient[MEAN_X] += splat[CONIC_XX] * s_x + splat[CONIC_XY] * s_y
    gradient[MEAN_Y] += splat[CONIC_XY] * s_x + splat[CONIC_YY] * s_y
    gradient[CONIC_XX] += HALF * s_xx
    gradient[CONIC_XY] += s_xy
    gradient[CONIC_YY] += HALF * s_yy
    gradient[OPACITY] -= s / splat[OPACITY]
    gradient[RED] += w_red
    gradient[GREEN] += w_green
    gradient[BLUE] += w_blue
    if depths is not None:
        gradient[DEPTH] += w_depth


@kernel
def rasterize_backward(
    splats, depths, count, width, height, tiles_x, tiles_y, starts, ends, lists,
    rgb, alpha, depth, g_rgb, g_alpha, g_depth, gradients,
):  # fmt: skip
    """Add the splats' gradients to `gradients` (parts, i*n, columns), which must come as zeros.

    Part p of a picture is every tile of number p modulo the number of parts. It belongs to one thread
    and writes to its own table: no two threads ever add to one number, so that sums are the same in
    every run and for any number of threads.
    """
    parts, tiles = gradients.shape[0], tiles_x * tiles_y
    for task_ in prange(rgb.shape[0] * parts):
        task = np.int64(task_)
        image, part = task // parts, task % parts
        state = np.empty(_BACKWARD_PLANES * _PIXELS, np.float32)
        sums = np.empty(_LANE_SUMS * TILE_WIDTH, np.float32)
        for tile in range(image * tiles + part, (image + 1) * tiles, parts):
            _, top, left, rows, columns = _tile_frame(tile, tiles_x, tiles_y, width, height)
            state[:_PIXELS] = -ONE  # pixels of the tile that are outside of the picture are switched off
            state[_PIXELS:] = ZERO
            for y in range(rows if starts[tile] < ends[tile] else 0):
                for x in range(columns):
                    p, v, u = Index(y * TILE_WIDTH + x), top + y, left + x
                    red, green, blue = g_rgb[image, 0, v, u], g_rgb[image, 1, v, u], g_rgb[image, 2, v, u]
                    rest = (
                        red * rgb[image, 0, v, u] + green * rgb[image, 1, v, u] + blue * rgb[image, 2, v, u]
                    )
                    rest += g_alpha[image, v, u] * alpha[image, v, u]
                    if depths is not None:
                        state[_Z + p] = g_depth[image, v, u]
                        rest += g_depth[image, v, u] * depth[image, v, u]
                    state[_T + p], state[_REST + p], state[_A + p] = ONE, rest, g_alpha[image, v, u]
                    state[_R + p], state[_G + p], state[_B + p] = red, green, blue
            for j in range(starts[tile], ends[tile]):
                if (j - starts[tile]) & _CHECK == _CHECK and _all_opaque(state):
                    break
                k = image * count + lists[j]
                first_row, end_row = _rows(splats[k], np.float32(top), rows)
                _draw_backward(
                    state, sums, splats, depths, k, np.float32(top), np.float32(left), first_row, end_row,
                    gradients[part, k],
                )  # fmt: skip
