"""What the Triton kernels share: the contract's constants, and what the columns of their tables mean.

A global of a kernel must be a `tl.constexpr`.
"""

from __future__ import annotations

import math

import triton.language as tl  # pyright: ignore[reportMissingImports]

from sparsegen.splatting import reference

# --- the contract's constants (reference.py says what they do) -----------------------------------

NEAR = tl.constexpr(reference.NEAR)
FAR = tl.constexpr(reference.FAR)
BORDER = tl.constexpr(reference.BORDER)
BLUR = tl.constexpr(reference.BLUR)
MIN_ALPHA = tl.constexpr(reference.MIN_ALPHA)
MAX_ALPHA = tl.constexpr(reference.MAX_ALPHA)
MIN_TRANSMITTANCE = tl.constexpr(reference.MIN_TRANSMITTANCE)
LOG2_E = tl.constexpr(math.log2(math.e))
LOG2_255 = tl.constexpr(math.log2(255))

# --- tables ------------------------------------------------------------------------------------

# A splat is what one Gaussian looks like in one picture: a row of a float32 table, nearest first in every
# picture. With d the way from a pixel to the mean,
# log2 alpha = Q_XX dx^2 + Q_XY dx dy + Q_YY dy^2 + LOG_OPACITY.
MEAN_X, MEAN_Y = tl.constexpr(0), tl.constexpr(1)
Q_XX, Q_XY, Q_YY = tl.constexpr(2), tl.constexpr(3), tl.constexpr(4)
LOG_OPACITY = tl.constexpr(5)
RED, GREEN, BLUE = tl.constexpr(6), tl.constexpr(7), tl.constexpr(8)
DEPTH = tl.constexpr(9)
SPLAT_COLUMNS = 12  # 48 bytes: a row never lies in more than two sectors of memory
SPLAT_ROW = tl.constexpr(SPLAT_COLUMNS)

# What the pixels say about a splat: sums over pixels of the loss's derivative by sigma, times powers of dx
# and dy; and of the weight times the picture's gradient.
S, S_X, S_Y, S_XX, S_XY, S_YY = (tl.constexpr(column) for column in range(6))
W_RED, W_GREEN, W_BLUE, W_DEPTH = (tl.constexpr(column) for column in range(6, 10))
SUM_COLUMNS = 10
SUM_ROW = tl.constexpr(SUM_COLUMNS)
SUM_BLOCK = tl.constexpr(16)  # the next power of two

# Tiles in pixels, and splats in a word of a tile's bit set.
TILE_WIDTH, TILE_HEIGHT = tl.constexpr(16), tl.constexpr(16)
WORD = tl.constexpr(32)
