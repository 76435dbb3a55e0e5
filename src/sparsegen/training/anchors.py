"""Anchor queries inside the training set's alpha hull, where Gaussians have something to show.

Anchors drawn in the whole cube leave most Gaussians in empty space, where they fade and die.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError

EXTENT = 0.6  # half the side of the cube that holds every object
# Hulls are carved of so many objects, from so many views of each, in a grid of so many cells a side.
_OBJECTS, _VIEWS, RESOLUTION = 200, 12, 32
_LLOYD_ITERATIONS = 20
_CANDIDATES = 32  # points drawn for each anchor before Lloyd's iterations


def hull_anchors(viewsets: Viewsets, count: int, seed: int = 0) -> Float[Tensor, "m 3"]:
    """`count` points spread evenly through the objects' visual hulls, denser where more objects are, in
    `spread_order`.

    The hulls are carved in a grid over the cube of half side `EXTENT`. World frame; the same seed gives
    the same points.
    """
    if not viewsets.has_alpha:
        raise InputError("anchors=hull: the training set has no alpha to carve hulls from; use anchors=model")
    occupancy = hull_occupancy(viewsets, seed)
    if not occupancy.any():
        raise InputError("anchors=hull: no alpha of the training set covers anything; use anchors=model")
    generator = torch.Generator().manual_seed(seed)
    cells = torch.multinomial(occupancy, count * _CANDIDATES, replacement=True, generator=generator)
    jitter = torch.rand(len(cells), 3, generator=generator) - 0.5
    points = _grid()[cells] + jitter * (2 * EXTENT / RESOLUTION)
    drawn = points[torch.randperm(len(points), generator=generator)[:count]]
    anchors = _lloyd(points, drawn)
    return anchors[spread_order(anchors)]


def spread_order(points: Float[Tensor, "m 3"]) -> Int[Tensor, "m"]:
    """The order in which each point is the farthest from those before it, from the middle one on.

    Any prefix is then spread through the whole: what training with some of the anchor queries needs.
    """
    order = [int((points - points.mean(0)).norm(dim=1).argmin())]
    distance = (points - points[order[0]]).norm(dim=1)
    while len(order) < len(points):
        order.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[order[-1]]).norm(dim=1))
    return torch.tensor(order)


def hull_occupancy(viewsets: Viewsets, seed: int = 0) -> Float[Tensor, "cells"]:
    """The share of objects whose visual hull contains each cell's centre, x slowest and z fastest.

    There are `RESOLUTION` cells along each side of the cube.
    """
    rng = np.random.default_rng(seed)
    total_objects, total_views = viewsets.images.shape[:2]
    chosen = rng.permutation(total_objects)[:_OBJECTS]
    grid = _grid()
    occupancy = torch.zeros(len(grid))
    for index in chosen:
        view_ids = rng.permutation(total_views)[:_VIEWS]
        alphas = torch.from_numpy(np.ascontiguousarray(viewsets.images[index, view_ids, :, :, 3]))
        cameras = viewsets.cameras[int(index)][torch.from_numpy(view_ids)]
        occupancy += _inside(grid, alphas, cameras)
    return occupancy / len(chosen)


def _inside(points: Float[Tensor, "n 3"], alphas: Tensor, cameras: Cameras) -> Bool[Tensor, "n"]:
    """Whether points project onto opaque pixels in every view that has them in its picture.

    Three quarters of the views must have them: a corner that few look at is never carved away.
    """
    pixels, depth = cameras.project(points.expand(len(alphas), -1, 3))  # (V, N, 2), (V, N)
    column, row = pixels.floor().long().unbind(-1)
    seen = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height) & (depth > 0)
    flat = row.clamp(0, cameras.height - 1) * cameras.width + column.clamp(0, cameras.width - 1)
    opaque = alphas.flatten(1).gather(1, flat) > 127
    return (opaque | ~seen).all(0) & (4 * seen.sum(0) >= 3 * len(seen))


def _grid() -> Float[Tensor, "cells 3"]:
    axis = ((torch.arange(RESOLUTION) + 0.5) / RESOLUTION * 2 - 1) * EXTENT
    return torch.cartesian_prod(axis, axis, axis)


def _lloyd(points: Float[Tensor, "n 3"], centers: Float[Tensor, "m 3"]) -> Float[Tensor, "m 3"]:
    """k-means: every centre moves to the mean of its points, and stays where it has none."""
    for _ in range(_LLOYD_ITERATIONS):
        nearest = torch.cdist(points, centers).argmin(dim=1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, points)
        counts = torch.bincount(nearest, minlength=len(centers))[:, None]
        centers = torch.where(counts > 0, sums / counts.clamp_min(1), centers)
    return centers
