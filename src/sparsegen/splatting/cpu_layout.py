"""What the Numba kernels share: how they are compiled, and what the columns of their tables mean."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import config, njit

# --- tables ------------------------------------------------------------------------------------

# A splat is what one Gaussian looks like in one picture: a row of this float32 table.
MEAN_X, MEAN_Y = 0, 1  # centre in pixels
CONIC_XX, CONIC_XY, CONIC_YY = 2, 3, 4  # inverse of the 2D covariance
OPACITY = 5
RED, GREEN, BLUE = 6, 7, 8
CUTOFF = 9  # largest exponent sigma at which alpha = opacity exp(-sigma) still reaches 1/255
EXTENT_X, EXTENT_Y = 10, 11  # half sides of the box in which sigma <= CUTOFF; not positive: not drawn
SPLAT_COLUMNS = 12

# The gradient table has a row for each splat with the columns above up to BLUE, and one more for depth.
DEPTH = 9
GRADIENT_COLUMNS = 10

# --- the contract's constants (reference.py says what they do) -----------------------------------

NEAR = np.float32(0.01)
FAR = np.float32(1e10)
BLUR = np.float32(0.3)  # pixels^2, added to the 2D covariance
MIN_ALPHA = np.float32(1 / 255)
MAX_ALPHA = np.float32(0.999)
MIN_TRANSMITTANCE = np.float32(1e-4)

# --- pictures are cut into tiles ---------------------------------------------------------------

# A row of 16 pixels is one or two vector registers wide, and 8 rows keep few dead pixels for a small
# splat: the fastest of the shapes that were measured.
TILE_WIDTH, TILE_HEIGHT = 16, 8

# Numba turns a Python float into a double, and float32 * int64 into one: spell constants out.
ZERO, HALF, ONE, TWO = (np.float32(value) for value in (0, 0.5, 1, 2))

# --- compilation ---------------------------------------------------------------------------------


def use_writable_cache() -> None:
    """Give Numba a private cache folder where it would find none to write to, and so would fail.

    Numba tries the package's own folder, then the user's cache folder. A NUMBA_CACHE_DIR set by the
    user always wins.
    """
    home_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    chosen = getattr(config, "CACHE_DIR", "")
    if chosen or _is_writable(Path(__file__).parent) or _is_writable(home_cache):
        return
    folder = (
        Path(tempfile.gettempdir()) / f"sparsegen-numba-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    )
    folder.mkdir(mode=0o700, exist_ok=True)
    # Cached code is run: never trust a folder that somebody else has put there.
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        folder = Path(tempfile.mkdtemp(prefix="sparsegen-numba-"))
    config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue]


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, or in the nearest one above that exists."""
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


# Without "nnan" and "ninf": parameters that are not finite must fail comparisons, and so be dropped.
_FINITE_SAFE = {"nsz", "arcp", "contract", "afn", "reassoc"}


def kernel(function: Any) -> Any:
    """Compile a parallel kernel, and keep the machine code between processes."""
    return njit(parallel=True, fastmath=_FINITE_SAFE, error_model="numpy", cache=True)(function)


def inlined(function: Any) -> Any:
    """Compile a function that LLVM makes a part of the kernels that call it."""
    return njit(fastmath=_FINITE_SAFE, error_model="numpy", forceinline=True)(function)


def inlined_finite(function: Any) -> Any:
    """The same, for numbers that are known to be finite: faster by a fifth where it counts."""
    return njit(fastmath=True, error_model="numpy", forceinline=True)(function)


use_writable_cache()

# Indices of the innermost loops: with signed ones Numba checks for Python's negative indices, and
# those checks keep LLVM from using vector registers.
Index = numba.uint64
