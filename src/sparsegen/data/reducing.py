"""Smaller pictures of the same objects, by averaging blocks of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from sparsegen.data.packed import Viewset, Viewsets, write_packed
from sparsegen.errors import InputError


def write_reduced(viewsets: Viewsets, size: int, path: Path) -> None:
    """Write viewsets whose pictures are `size` pixels wide and high to one packed file.

    `InputError` if the pictures cannot be cut into whole blocks.
    """
    height, width = viewsets.images.shape[2:4]
    if height != width or size < 1 or width % size:
        raise InputError(
            f"{path}: pictures of {width} x {height} pixels cannot be averaged to {size}; give a size that "
            "divides both"
        )

    def singles() -> Iterator[Viewset]:
        for i, name in enumerate(viewsets.names):
            images = block_means(viewsets.images[i], width // size)
            yield Viewset(name, images, viewsets.cameras[i].resized(size, size), viewsets.has_alpha)

    write_packed(viewsets.names, singles(), path)


def block_means(images: UInt8[ndarray, "v h w 4"], side: int) -> UInt8[ndarray, "v h/side w/side 4"]:
    """Means of blocks of `side` x `side` pixels of RGBA bytes with straight alpha; what is transparent adds
    no color."""
    views, height, width, _ = images.shape
    blocks = images.reshape(views, height // side, side, width // side, side, 4).astype(np.float32)
    alpha = blocks[..., 3:]
    total = alpha.sum((2, 4))
    color = (blocks[..., :3] * alpha).sum((2, 4)) / np.maximum(total, 1)
    return np.concatenate([color, total / side**2], axis=-1).round().astype(np.uint8)
