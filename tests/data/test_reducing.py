from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsegen.cameras import orbit
from sparsegen.data.packed import Viewsets, load_packed
from sparsegen.data.reducing import block_means, write_reduced
from sparsegen.errors import InputError


def test_block_means_are_those_of_the_composited_picture():
    """Over any background, a reduced picture is the mean of the picture."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 8, 4), dtype=np.uint8)
    images[0, :4, :4, 3] = 0
    reduced = block_means(images, 4)
    assert reduced.shape == (2, 2, 2, 4)
    for background in (0.0, 255.0):

        def over(rgba: np.ndarray, background: float = background) -> np.ndarray:
            alpha = rgba[..., 3:].astype(float) / 255
            return rgba[..., :3] * alpha + background * (1 - alpha)

        means = over(images).reshape(2, 2, 4, 2, 4, 3).mean((2, 4))
        assert np.abs(over(reduced) - means).max() < 1.1  # bytes
    assert (reduced[0, 0, 0] == 0).all()


def test_cameras_see_the_same_points_in_the_smaller_picture(tmp_path):
    cameras = orbit(3, elevation=0.4, size=16).reshape(1, 3)
    images = np.zeros((1, 3, 16, 16, 4), np.uint8)
    whole = Viewsets(images, cameras, ["a"])
    write_reduced(whole, 4, tmp_path / "small.pack")
    small = load_packed(tmp_path / "small.pack")
    assert small.images.shape == (1, 3, 4, 4, 4)
    points = torch.rand(1, 3, 5, 3) - 0.5
    torch.testing.assert_close(small.cameras.project(points)[0], cameras.project(points)[0] / 4)
    with pytest.raises(InputError, match="16 x 16 pixels cannot be averaged to 5"):
        write_reduced(whole, 5, tmp_path / "five.pack")
