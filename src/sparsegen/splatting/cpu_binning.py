"""Numba kernels: for every tile of every picture, the splats that touch it, nearest first.

Splats are sorted once a picture, then appended to the lists of their tiles in that order. The length of
each list is bounded beforehand, so that all lists lie in one array.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from sparsegen.splatting.cpu_layout import (
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    CUTOFF,
    EXTENT_X,
    EXTENT_Y,
    HALF,
    MEAN_X,
    MEAN_Y,
    ONE,
    TILE_HEIGHT,
    TILE_WIDTH,
    ZERO,
    inlined,
    kernel,
)

_DIGIT_BITS, _DIGITS = 11, 3  # 33 bits hold a float32
_BUCKETS = 1 << _DIGIT_BITS
_SLACK = np.float32(1e-4)  # more than rounding can take from sigma


@inlined
def _tiles(mean, extent, size, tile):
    """The first tile, and the one after the last, that hold a pixel centre within `extent` of `mean`.

    Bounds are cut to the picture while still floats: an integer may be too small for them.
    """
    first = math.ceil(max(mean - extent - HALF, ZERO))
    last = math.floor(min(mean + extent - HALF, np.float32(size) - ONE))
    if not last >= first:
        return 0, 0
    return np.int64(first) // tile, np.int64(last) // tile + 1


@inlined
def _tile_box(splat, width, height):
    x_first, x_end = _tiles(splat[MEAN_X], splat[EXTENT_X], width, TILE_WIDTH)
    y_first, y_end = _tiles(splat[MEAN_Y], splat[EXTENT_Y], height, TILE_HEIGHT)
    return x_first, x_end, y_first, y_end


@inlined
def _nearest(low, high):
    """The point of an interval that is nearest to zero."""
    return max(low, min(high, ZERO))


@inlined
def _touches(splat, tile_x, tile_y):
    """Whether sigma falls to CUTOFF anywhere between the outermost pixel centres of a tile.

    sigma is convex with its least value, 0, at the mean. So over a box without the mean it is least on
    an edge that faces the mean, and along an edge at the foot of the parabola, cut to the edge.
    """
    left = np.float32(tile_x * TILE_WIDTH) + HALF - splat[MEAN_X]
    top = np.float32(tile_y * TILE_HEIGHT) + HALF - splat[MEAN_Y]
    right, bottom = left + np.float32(TILE_WIDTH - 1), top + np.float32(TILE_HEIGHT - 1)
    xx, xy, yy = splat[CONIC_XX], splat[CONIC_XY], splat[CONIC_YY]
    limit = splat[CUTOFF] + _SLACK
    x, y = _nearest(left, right), _nearest(top, bottom)
    if x == ZERO and y == ZERO:
        return True
    if x != ZERO:
        foot = min(max(-xy * x / yy, top), bottom)
        if HALF * (xx * x * x + yy * foot * foot) + xy * x * foot <= limit:
            return True
    if y != ZERO:
        foot = min(max(-xy * y / xx, left), right)
        if HALF * (xx * foot * foot + yy * y * y) + xy * foot * y <= limit:
            return True
    return False


@kernel
def bound_tiles(splats, images, count, width, height, tiles_x, tiles_y, bounds):
    """Fill `bounds` (images * tiles) with how many splats' boxes cover each tile."""
    for image_ in prange(images):
        image = np.int64(image_)
        # Each box marks its corners; sums along both axes turn the marks into counts.
        marks = np.zeros((tiles_y + 1, tiles_x + 1), np.int32)
        for k in range(image * count, (image + 1) * count):
            if splats[k, EXTENT_X] > ZERO:
                x_first, x_end, y_first, y_end = _tile_box(splats[k], width, height)
                marks[y_first, x_first] += 1
                marks[y_first, x_end] -= 1
                marks[y_end, x_first] -= 1
                marks[y_end, x_end] += 1
        for y in range(tiles_y):
            running = 0
            for x in range(tiles_x):
                running += marks[y, x]
                marks[y, x] = running
                if y > 0:
                    marks[y, x] += marks[y - 1, x]
                bounds[(image * tiles_y + y) * tiles_x + x] = marks[y, x]


@inlined
def _sort(keys, ids, size):
    """`ids` sorted by `keys`, stably (radix sort). The bits of positive floats sort as the floats do."""
    from_keys, from_ids = keys, ids
    to_keys, to_ids = np.empty_like(keys), np.empty_like(ids)
    starts = np.empty(_BUCKETS, np.int64)
    for digit in range(_DIGITS):
        shift = np.uint32(digit * _DIGIT_BITS)
        starts[:] = 0
        for i in range(size):
            starts[(from_keys[i] >> shift) & np.uint32(_BUCKETS - 1)] += 1
        total = 0
        for bucket in range(_BUCKETS):
            filled = starts[bucket]
            starts[bucket] = total
            total += filled
        for i in range(size):
            bucket = (from_keys[i] >> shift) & np.uint32(_BUCKETS - 1)
            place = starts[bucket]
            starts[bucket] = place + 1
            to_keys[place], to_ids[place] = from_keys[i], from_ids[i]
        from_keys, to_keys = to_keys, from_keys
        from_ids, to_ids = to_ids, from_ids
    return from_ids


@kernel
def fill_tiles(
    splats, depth_bits, images, count, width, height, tiles_x, tiles_y, bands, starts, ends, lists
):  # fmt: skip
    """Fill `lists` with indices into a picture's splats; tile t's are `lists[starts[t]:ends[t]]`.

    `depth_bits` are the bits of the float32 depths; equal depths keep the Gaussians' own order. A picture's
    tiles are filled in `bands` of rows, each by one thread; lists are the same for any number of them.
    """
    order, drawn = np.empty(images * count, np.int32), np.empty(images, np.int64)
    for image_ in prange(images):
        image = np.int64(image_)
        keys, ids = np.empty(count, np.uint32), np.empty(count, np.int32)
        size = 0
        for i in range(count):
            if splats[image * count + i, EXTENT_X] > ZERO:
                keys[size], ids[size] = depth_bits[image * count + i], i
                size += 1
        ids = _sort(keys, ids, size)
        for j in range(size):
            order[image * count + j] = ids[j]
        drawn[image] = size
    for task_ in prange(images * bands):
        task = np.int64(task_)
        image, band = task // bands, task % bands
        y_top, y_bottom = band * tiles_y // bands, (band + 1) * tiles_y // bands
        first_tile = image * tiles_x * tiles_y
        for tile in range(first_tile + y_top * tiles_x, first_tile + y_bottom * tiles_x):
            ends[tile] = starts[tile]
        for j in range(image * count, image * count + drawn[image]):
            splat = splats[image * count + order[j]]
            x_first, x_end, y_first, y_end = _tile_box(splat, width, height)
            alone = (x_end - x_first) * (y_end - y_first) == 1
            for y in range(max(y_first, y_top), min(y_end, y_bottom)):
                for x in range(x_first, x_end):
                    if alone or _touches(splat, x, y):
                        tile = first_tile + y * tiles_x + x
                        lists[ends[tile]] = order[j]
                        ends[tile] += 1
