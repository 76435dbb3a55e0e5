"""Pixels of dataset pictures: reading and writing bytes, and colours over white."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from sparsegen.errors import InputError


def read_pixels(path: Path, mode: str, size: tuple[int, int] | None = None) -> UInt8[ndarray, "h w *c"]:
    """A picture's bytes as gray ("L"), "RGB" (transparent ones over white) or "RGBA".

    Raises `InputError` if it is missing, broken, or not of `size` (height, width).
    """
    with _opened(path) as image:
        image.load()
        if mode == "RGB" and image.has_transparency_data:
            pixels = over_white(np.asarray(image.convert("RGBA")))
        else:
            pixels = np.asarray(image.convert(mode))
    if size is not None and pixels.shape[:2] != size:
        raise InputError(
            f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {size[1]} x {size[0]} as the "
            "dataset says; restore it"
        )
    return pixels


def has_transparency(path: Path) -> bool:
    """Whether a picture says which of its pixels are covered. Raises `InputError`."""
    with _opened(path) as image:
        return image.has_transparency_data


def write_png(path: Path, pixels: UInt8[ndarray, "h w *c"]) -> None:
    Image.fromarray(pixels).save(path, compress_level=4)


def over_white(rgba: UInt8[ndarray, "*b h w 4"]) -> UInt8[ndarray, "*b h w 3"]:
    """Straight colours over a white background."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def straight(rgb: UInt8[ndarray, "*b h w 3"], alpha: UInt8[ndarray, "*b h w"]) -> UInt8[ndarray, "*b h w 4"]:
    """RGBA with straight colours from colours over white and their coverage; white where it is 0."""
    coverage = alpha[..., None].astype(np.float32) / 255
    color = 255 + (rgb.astype(np.float32) - 255) / np.maximum(coverage, 1e-6)
    color = np.where(coverage > 0, np.clip(np.round(color), 0, 255), 255).astype(np.uint8)
    return np.concatenate([color, alpha[..., None]], axis=-1)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; restore the dataset") from None
    except Exception as error:  # a damaged file can make Pillow's decoders raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable picture ({reason}); restore the dataset") from None
