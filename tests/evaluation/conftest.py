"""A small test set of painted rectangles, seen by a spiral of cameras."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sparsegen import cameras
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol

SIZE = 24
VIEWS = 5


def make_viewsets(count: int, seed: int = 0, prefix: str = "object") -> Viewsets:
    """`count` objects: each view shows a rectangle of its own with a texture between 0.2 and 0.8."""
    generator = np.random.default_rng(seed)
    images = np.zeros((count, VIEWS, SIZE, SIZE, 4), np.uint8)
    for n in range(count):
        for v in range(VIEWS):
            top, left = generator.integers(2, 8, 2)
            height, width = generator.integers(8, 14, 2)
            inside = (n, v, slice(top, top + height), slice(left, left + width))
            images[(*inside, slice(3))] = generator.integers(51, 204, (height, width, 3))
            images[(*inside, 3)] = 255
    path = cameras.spiral(VIEWS, size=SIZE).reshape(1, VIEWS).expand(count, VIEWS)
    return Viewsets(images, path, [f"{prefix}-{n}" for n in range(count)])


@pytest.fixture
def viewsets() -> Viewsets:
    return make_viewsets(6)


@pytest.fixture
def more_viewsets() -> Callable[..., Viewsets]:
    return make_viewsets


@pytest.fixture
def protocol() -> Protocol:
    return Protocol("test", input_views=(3,))
