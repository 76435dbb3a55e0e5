"""What the Numba kernels share: how they are compiled, and what the columns of their tables mean."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
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


@cache
def cache_folder() -> Path:
    """Where machine code is kept between processes: NUMBA_CACHE_DIR, or the first place that can be written.

    It is named after the kernels' sources, because Numba itself only notices a change of the file that
    a kernel stands in, not of what it calls.
    """
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("cpu*.py")))
    name = f"sparsegen-numba-{hashlib.sha256(sources).hexdigest()[:12]}"
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    chosen = getattr(config, "CACHE_DIR", "")
    places = [Path(chosen).absolute()] if chosen else [Path(__file__).parent / "__pycache__", user_cache]
    for place in places:
        folder = Path(os.path.expanduser(place))  # leaves "~" where there is no home
        if folder.is_absolute() and _is_writable(folder):
            return folder / name
    # Cached code is run, so it must not be somebody else's: this folder is new, and only ours.
    return Path(tempfile.mkdtemp(prefix="sparsegen-numba-"))


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above that exists."""
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
    """Compile a parallel kernel at its first call, and keep the machine code between processes."""
    with _numba_setting("CACHE_DIR", str(cache_folder())):
        return njit(parallel=True, fastmath=_FINITE_SAFE, error_model="numpy", cache=True)(function)


@contextmanager
def _numba_setting(name: str, value: Any) -> Iterator[None]:
    before = getattr(config, name)
    setattr(config, name, value)
    try:
        yield
    finally:
        setattr(config, name, before)


def inlined(function: Any) -> Any:
    """Compile a function that LLVM makes a part of the kernels that call it."""
    return njit(fastmath=_FINITE_SAFE, error_model="numpy", forceinline=True)(function)


# Indices of the innermost loops: with signed ones Numba checks for Python's negative indices, and
# those checks keep LLVM from using vector registers.
Index = numba.uint64
