"""Triton kernels: splats to pixels, and the gradients back.

One program, of one warp, draws one tile. It takes the splats of the tile's bit set one by one, nearest first,
over all of the tile's pixels. A pixel that has become opaque keeps its transmittance with a minus sign,
which switches it off and still remembers the value.
"""

from __future__ import annotations

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from sparsegen.splatting.triton_layout import (
    BLUE,
    DEPTH,
    GREEN,
    LOG_OPACITY,
    MAX_ALPHA,
    MEAN_X,
    MEAN_Y,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
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
    SUM_BLOCK,
    SUM_ROW,
    TILE_HEIGHT,
    TILE_WIDTH,
    W_BLUE,
    W_DEPTH,
    W_GREEN,
    W_RED,
    WORD,
    S,
)


@triton.jit
def _tile_frame(flat, tiles_x, tiles):
    """Picture of a tile, and the columns (w,) and rows (h,) of its pixels."""
    tile = flat % tiles
    columns = tile % tiles_x * TILE_WIDTH + tl.arange(0, TILE_WIDTH)
    rows = tile // tiles_x * TILE_HEIGHT + tl.arange(0, TILE_HEIGHT)
    return (flat // tiles).to(tl.int64), columns, rows


@triton.jit
def _lowest(word):
    """The lowest bit of a word that is not zero, and its number: the exponent of the bit as a float."""
    bit = word & (0 - word)
    return bit, ((bit.to(tl.float32).to(tl.int32, bitcast=True) >> 23) & 0xFF) - 127


@triton.jit
def _blend(row, x, y, transmittance):
    """What splat `row` does to a tile: its way from the pixels, alpha, weight, and what light is left."""
    dx, dy = tl.load(row + MEAN_X) - x, tl.load(row + MEAN_Y) - y  # (w,), (h,)
    along_x, along_y = tl.load(row + Q_XX) * dx * dx, tl.load(row + Q_YY) * dy * dy
    across = tl.load(row + Q_XY) * dy
    power = along_x[None, :] + along_y[:, None] + across[:, None] * dx[None, :]
    alpha = tl.minimum(tl.exp2(power + tl.load(row + LOG_OPACITY)), MAX_ALPHA)
    alpha = tl.where((alpha >= MIN_ALPHA) & (power <= 0), alpha, 0.0)
    left = transmittance - alpha * transmittance
    drawn = left > MIN_TRANSMITTANCE  # false for good once the pixel is switched off
    weight = tl.where(drawn, alpha * transmittance, 0.0)
    return dx, dy, alpha, weight, drawn, tl.where(drawn, left, -tl.abs(transmittance))


@triton.jit
def rasterize(
    splats, bits, rgb, alpha, depth, stops, hits, count, words, width, height, tiles_x, tiles,
    WITH_DEPTH: tl.constexpr,
):  # fmt: skip
    """Draw every tile into `rgb` (i, 3, h, w), `alpha` and `depth` (i, h, w).

    `stops` (i * tiles) tells how many words were drawn until the whole tile was opaque, and `hits` how many
    splats they hold.
    """
    flat = tl.program_id(0)
    image, columns, rows = _tile_frame(flat, tiles_x, tiles)
    inside = (columns < width)[None, :] & (rows < height)[:, None]
    x, y = columns + 0.5, rows + 0.5
    table, own_bits = splats + image * count * SPLAT_ROW, bits + flat.to(tl.int64) * words
    light = tl.where(inside, 1.0, -1.0)  # pixels of the tile that are outside of the picture are switched off
    red, green, blue = tl.zeros_like(light), tl.zeros_like(light), tl.zeros_like(light)
    z = tl.zeros_like(light)
    w, end, found = 0, words, 0
    while w < end:
        word = tl.load(own_bits + w)
        if word != 0:
            while word != 0:
                bit, number = _lowest(word)
                word = word ^ bit
                row = table + (w * WORD + number) * SPLAT_ROW
                _, _, _, weight, _, light = _blend(row, x, y, light)
                red += weight * tl.load(row + RED)
                green += weight * tl.load(row + GREEN)
                blue += weight * tl.load(row + BLUE)
                if WITH_DEPTH:
                    z += weight * tl.load(row + DEPTH)
                found += 1
            if tl.max(light) <= 0:
                end = w + 1
        w += 1
    tl.store(stops + flat, end)
    tl.store(hits + flat, found)

    area = height * width
    pixel = rows[:, None] * width + columns[None, :]
    tl.store(rgb + image * 3 * area + pixel, red, inside)
    tl.store(rgb + (image * 3 + 1) * area + pixel, green, inside)
    tl.store(rgb + (image * 3 + 2) * area + pixel, blue, inside)
    tl.store(alpha + image * area + pixel, 1 - tl.abs(light), inside)
    if WITH_DEPTH:
        tl.store(depth + image * area + pixel, z, inside)


@triton.jit
def rasterize_backward(
    splats, bits, stops, starts, rgb, alpha, depth, g_rgb, g_alpha, g_depth, firsts, pairs, least, capacity,
    count, words, width, height, tiles_x, tiles, WITH_DEPTH: tl.constexpr,
):  # fmt: skip
    """Replay `rasterize` and write what each tile says about each of its splats to a row of `pairs`.

    Tile t's rows are numbered from starts[t] on; `firsts` (i * tiles, words) tells which of them belongs to
    the first splat of a word. Only the tiles work that start at one of the `capacity` rows from number
    `least` on, which is the first row of `pairs`.

    With w_i = alpha_i T_i a splat's weight in a pixel and d_i the loss's derivative by that weight, the
    loss's derivative by alpha_i is T_i d_i - (sum of w_j d_j over the splats j behind i) / (1 - alpha_i).
    The whole sum is known from the finished picture; what has been drawn is taken off on the way.
    """
    flat = tl.program_id(0)
    first = tl.load(starts + flat) - least
    if (first >= 0) & (first < capacity):
        image, columns, rows = _tile_frame(flat, tiles_x, tiles)
        inside = (columns < width)[None, :] & (rows < height)[:, None]
        x, y = columns + 0.5, rows + 0.5
        table, own = splats + image * count * SPLAT_ROW, flat.to(tl.int64) * words
        area = height * width
        pixel = rows[:, None] * width + columns[None, :]
        reds, greens, blues = (
            image * 3 * area + pixel,
            (image * 3 + 1) * area + pixel,
            (image * 3 + 2) * area + pixel,
        )
        g_red, g_green = tl.load(g_rgb + reds, inside, 0.0), tl.load(g_rgb + greens, inside, 0.0)
        g_blue, g_cover = (
            tl.load(g_rgb + blues, inside, 0.0),
            tl.load(g_alpha + image * area + pixel, inside, 0.0),
        )
        rest = g_red * tl.load(rgb + reds, inside, 0.0) + g_green * tl.load(rgb + greens, inside, 0.0)
        rest += g_blue * tl.load(rgb + blues, inside, 0.0)
        rest += g_cover * tl.load(alpha + image * area + pixel, inside, 0.0)
        g_z = tl.zeros_like(rest)
        if WITH_DEPTH:
            g_z = tl.load(g_depth + image * area + pixel, inside, 0.0)
            rest += g_z * tl.load(depth + image * area + pixel, inside, 0.0)
        light = tl.where(inside, 1.0, -1.0)
        sums = pairs + first * SUM_ROW
        w, end, found = 0, tl.load(stops + flat), 0
        while w < end:
            word = tl.load(bits + own + w)
            tl.store(firsts + own + w, found)
            while word != 0:
                bit, number = _lowest(word)
                word = word ^ bit
                row = table + (w * WORD + number) * SPLAT_ROW
                before = light
                dx, dy, opaque, weight, drawn, light = _blend(row, x, y, light)
                g_weight = tl.load(row + RED) * g_red + tl.load(row + GREEN) * g_green
                g_weight += tl.load(row + BLUE) * g_blue + g_cover
                if WITH_DEPTH:
                    g_weight += tl.load(row + DEPTH) * g_z
                    tl.store(sums + W_DEPTH, tl.sum(weight * g_z))
                rest -= weight * g_weight
                g_opaque = before * g_weight - rest / (1 - opaque)
                # d alpha / d sigma = -alpha, and nothing where alpha is capped
                g_sigma = tl.where(drawn & (opaque < MAX_ALPHA), -opaque * g_opaque, 0.0)
                in_row, in_row_y = tl.sum(g_sigma, 0), tl.sum(g_sigma * dy[:, None], 0)  # of every column
                tl.store(sums + S, tl.sum(in_row))
                tl.store(sums + S_X, tl.sum(in_row * dx))
                tl.store(sums + S_XX, tl.sum(in_row * dx * dx))
                tl.store(sums + S_Y, tl.sum(in_row_y))
                tl.store(sums + S_XY, tl.sum(in_row_y * dx))
                tl.store(sums + S_YY, tl.sum(g_sigma * (dy * dy)[:, None]))
                tl.store(sums + W_RED, tl.sum(weight * g_red))
                tl.store(sums + W_GREEN, tl.sum(weight * g_green))
                tl.store(sums + W_BLUE, tl.sum(weight * g_blue))
                sums += SUM_ROW
                found += 1
            w += 1


@triton.jit
def _population(word):
    """The number of bits that are set."""
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    return ((word * 0x01010101) >> 24).to(tl.int32)


@triton.jit
def gather(
    span_x, span_y, order, bits, stops, starts, firsts, pairs, sums, least, capacity, count, words, tiles_x,
    tiles, total, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add up what tiles say about every splat in `pairs` (see `rasterize_backward`), in the tiles' order.

    `sums` (i*n, columns) has the Gaussians in their own order. Where `least` is 0 it is set, and later
    added to.
    """
    image = tl.program_id(1).to(tl.int64)
    if (least == 0) | (tl.load(starts + total) > least):
        j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = j < count
        k = image * count + j
        in_x, in_y = tl.load(span_x + k, inside, 1), tl.load(span_y + k, inside, 1)
        across = tl.maximum((in_x >> 16) - (in_x & 0xFFFF) + 1, 0)
        covered = across * tl.maximum((in_y >> 16) - (in_y & 0xFFFF) + 1, 0)
        across = tl.maximum(across, 1)
        column = tl.arange(0, SUM_BLOCK)
        own = sums + tl.load(order + k, inside, 0)[:, None] * SUM_ROW + column[None, :]
        shown = inside[:, None] & (column < COLUMNS)[None, :]
        total_sum = tl.zeros([BLOCK, SUM_BLOCK], tl.float32)
        if least > 0:
            total_sum = tl.load(own, shown, 0.0)
        t, most = 0, tl.max(covered)
        while t < most:
            tile = ((in_y & 0xFFFF) + t // across) * tiles_x + (in_x & 0xFFFF) + t % across
            flat, active = image * tiles + tile, t < covered
            first = tl.load(starts + flat, active, -1) - least
            active = (
                active & (first >= 0) & (first < capacity) & (j // WORD < tl.load(stops + flat, active, 0))
            )
            place = flat * words + j // WORD
            word = tl.load(bits + place, active, 0).to(tl.uint32, bitcast=True)
            bit = tl.full([BLOCK], 1, tl.uint32) << (j % WORD).to(tl.uint32)
            active = active & ((word & bit) != 0)
            pair = first + tl.load(firsts + place, active, 0) + _population(word & (bit - 1))
            rows = pairs + pair[:, None] * SUM_ROW + column[None, :]
            total_sum += tl.load(rows, active[:, None] & shown, 0.0)
            t += 1
        tl.store(own, total_sum, inside[:, None] & (column < SUM_ROW)[None, :])
