"""Triton kernel: for every tile of every picture, which splats touch it, as a set of bits.

A bit set has a fixed size, so that nobody waits for a count; and every test stands alone.
"""

from __future__ import annotations

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from sparsegen.splatting.triton_layout import (
    LOG2_255,
    LOG_OPACITY,
    MEAN_X,
    MEAN_Y,
    Q_XX,
    Q_XY,
    Q_YY,
    SPLAT_ROW,
    TILE_HEIGHT,
    TILE_WIDTH,
    WORD,
)

_SLACK = tl.constexpr(1e-4)  # more than rounding can take from log2 alpha


@triton.jit
def _nearest(low, high):
    """The point of an interval that is nearest to zero."""
    return tl.maximum(low, tl.minimum(high, 0.0))


@triton.jit
def _touches(row, tile_x, tile_y, candidate):
    """Whether alpha rises to 1/255 anywhere between the outermost pixel centres of a tile.

    log2 alpha is concave and largest at the mean. So over a box without the mean it is largest on an edge
    that faces the mean, and along an edge at the top of the parabola, cut to the edge.
    """
    left = tile_x * TILE_WIDTH + 0.5 - tl.load(row + MEAN_X, candidate, 0.0)
    top = tile_y * TILE_HEIGHT + 0.5 - tl.load(row + MEAN_Y, candidate, 0.0)
    right, bottom = left + (TILE_WIDTH - 1), top + (TILE_HEIGHT - 1)
    xx, xy = tl.load(row + Q_XX, candidate, -1.0), tl.load(row + Q_XY, candidate, 0.0)
    yy, least = tl.load(row + Q_YY, candidate, -1.0), -LOG2_255 - _SLACK
    peak = tl.load(row + LOG_OPACITY, candidate, 0.0)
    x, y = _nearest(left, right), _nearest(top, bottom)
    foot_y = tl.minimum(tl.maximum(-0.5 * xy * x / yy, top), bottom)
    foot_x = tl.minimum(tl.maximum(-0.5 * xy * y / xx, left), right)
    on_side = peak + xx * x * x + (xy * x + yy * foot_y) * foot_y >= least
    on_top = peak + yy * y * y + (xy * y + xx * foot_x) * foot_x >= least
    return ((x == 0) & (y == 0)) | ((x != 0) & on_side) | ((y != 0) & on_top)


@triton.jit
def bin_tiles(
    splats, span_x, span_y, bits, count, words, tiles_x, tiles, WORDS: tl.constexpr
):  # fmt: skip
    """Fill `bits` (i * tiles, words) int32: bit b of word w tells whether splat 32 w + b touches the tile."""
    flat = tl.program_id(0)
    image, tile = (flat // tiles).to(tl.int64), flat % tiles
    tile_x, tile_y = tile % tiles_x, tile // tiles_x
    word = tl.program_id(1) * WORDS + tl.arange(0, WORDS)
    bit = tl.arange(0, WORD)
    j = word[:, None] * WORD + bit[None, :]
    inside = j < count
    k = image * count + j
    in_x, in_y = tl.load(span_x + k, inside, 1), tl.load(span_y + k, inside, 1)
    covers_x = ((in_x & 0xFFFF) <= tile_x) & (tile_x <= (in_x >> 16))
    covers_y = ((in_y & 0xFFFF) <= tile_y) & (tile_y <= (in_y >> 16))
    candidate = inside & covers_x & covers_y
    hit = candidate & _touches(splats + k * SPLAT_ROW, tile_x, tile_y, candidate)
    packed = tl.sum(hit.to(tl.int32) << bit[None, :], axis=1)
    tl.store(bits + flat.to(tl.int64) * words + word, packed, word < words)
