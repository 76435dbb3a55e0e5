from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from balls import ball_viewsets

from sparsegen.cameras import orbit
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.training.anchors import EXTENT, RESOLUTION, hull_anchors, hull_occupancy, spread_order

RADIUS, CENTER = 0.25, (0.1, -0.15, 0.05)


@pytest.fixture(scope="module")
def off_centre_balls():
    return ball_viewsets(torch.rand(6, 3), views=12, size=64, radius=RADIUS, center=CENTER)


def test_occupancy_has_the_balls_volume(off_centre_balls):
    occupancy = hull_occupancy(off_centre_balls)
    volume = occupancy.sum().item() * (2 * EXTENT / RESOLUTION) ** 3
    ball = 4 / 3 * math.pi * RADIUS**3
    assert ball * 0.95 < volume < ball * 1.35  # a hull from views above the horizon is a little larger


def test_anchors_lie_inside_and_cover_the_hull(off_centre_balls):
    anchors = hull_anchors(off_centre_balls, 64, seed=3)
    assert anchors.shape == (64, 3)
    distance = (anchors - torch.tensor(CENTER)).norm(dim=-1)
    assert distance.max() < 1.2 * RADIUS
    # Random points of the ball are never far from an anchor: about the spacing of 64 even cells.
    directions = torch.nn.functional.normalize(torch.randn(500, 3), dim=-1)
    points = torch.tensor(CENTER) + directions * RADIUS * torch.rand(500, 1) ** (1 / 3)
    gaps = torch.cdist(points, anchors).min(dim=1).values
    assert gaps.max() < 2.5 * RADIUS / 64 ** (1 / 3)


def test_anchors_follow_the_seed(off_centre_balls):
    first, again = (hull_anchors(off_centre_balls, 16, seed=1) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, hull_anchors(off_centre_balls, 16, seed=2))


def test_a_set_without_alpha_is_refused(off_centre_balls):
    empty = ball_viewsets(torch.rand(1, 3))
    np.copyto(empty.images, 0)
    with pytest.raises(InputError, match="anchors=model"):
        hull_anchors(empty, 8)


def test_pictures_without_coverage_carve_no_hull():
    opaque = Viewsets(
        np.full((1, 2, 8, 8, 4), 255, np.uint8), orbit(2, size=8).reshape(1, 2), ["a"], has_alpha=False
    )
    with pytest.raises(InputError, match="anchors=model"):
        hull_anchors(opaque, 4)


def test_every_prefix_of_the_anchors_is_spread_through_the_hull(off_centre_balls):
    """The first sixteen of 64 leave smaller gaps than sixteen at random, and the order drops none."""
    anchors = hull_anchors(off_centre_balls, 64, seed=3)

    def largest_gap(some: torch.Tensor) -> float:
        return torch.cdist(anchors, some).min(dim=1).values.max().item()

    shuffles = [anchors[torch.randperm(64)[:16]] for _ in range(20)]
    assert largest_gap(anchors[:16]) < min(largest_gap(some) for some in shuffles)
    assert sorted(spread_order(anchors).tolist()) == list(range(64))
