"""What a predictor is asked: input pictures, cameras to predict, and noise of each object's own."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.views import Views


@dataclass(frozen=True)
class Task:
    """B objects as a predictor meets them; the truth is not in it.

    `targets` are the cameras to draw: those of the judged views, then those of the input views.
    `placeholders` are the cameras that a generative model is to fill with noise, or None for its own choice;
    `seeds` has one number for each object, so that its noise is the same whatever batch it is in.
    """

    inputs: Views  # (B, n)
    placeholders: Cameras | None  # (B, p)
    targets: Cameras  # (B, V)
    seeds: tuple[int, ...]


def make_task(
    viewsets: Viewsets, protocol: Protocol, ids: Sequence[int], picture_ids: Sequence[int], seed: int
) -> Task:
    """The objects `ids` as a predictor meets them, with the input pictures of the objects `picture_ids`."""
    given = views_of(viewsets, picture_ids, protocol.input_views)
    cameras = viewsets.cameras[torch.tensor(ids)]
    placeholders = list(protocol.placeholder_views)
    return Task(
        inputs=Views(given.images, cameras[:, list(protocol.input_views)], given.alphas),
        placeholders=cameras[:, placeholders] if placeholders else None,
        targets=cameras[:, list(protocol.drawn_views(cameras.batch_shape[1]))],
        seeds=tuple(object_seed(viewsets.names[i], seed) for i in ids),
    )


def views_of(viewsets: Viewsets, ids: Sequence[int], views: Sequence[int]) -> Views:
    """The same views of several objects."""
    return viewsets.views(torch.tensor(ids), torch.tensor(views).expand(len(ids), -1))


def object_seed(name: str, seed: int) -> int:
    """The seed of one object's noise: the same on any machine and in any batch."""
    return zlib.crc32(f"{seed}/{name}".encode())
