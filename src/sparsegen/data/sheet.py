"""A look at a dataset: objects in rows, their views in columns."""

from __future__ import annotations

from pathlib import Path

import torch

from sparsegen.data.packed import Viewsets
from sparsegen.formats.images import contact_sheet


def dataset_sheet(viewsets: Viewsets, path: str | Path, objects: int = 10, views: int = 8) -> None:
    """Write a picture of some objects, chosen evenly, with some of their views, chosen evenly."""
    object_ids = _evenly(len(viewsets), objects)
    view_ids = _evenly(viewsets.images.shape[1], views)
    chosen = viewsets.views(object_ids, view_ids.expand(len(object_ids), -1))
    names = [viewsets.names[i] for i in object_ids.tolist()]
    contact_sheet(chosen.images, path, [f"view {i}" for i in view_ids.tolist()], names)


def _evenly(total: int, count: int) -> torch.Tensor:
    count = max(1, min(count, total))
    return torch.arange(count) * total // count
