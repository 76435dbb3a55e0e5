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


def dataset_gallery(viewsets: Viewsets, path: str | Path, objects: int, columns: int = 8) -> None:
    """Write a picture of some objects, chosen evenly, each in one view, `columns` in a row.

    The views take turns, so that neighbours are seen from different cameras.
    """
    object_ids = _evenly(len(viewsets), objects)
    view_ids = torch.arange(len(object_ids)) % viewsets.images.shape[1]
    pictures = viewsets.views(object_ids, view_ids[:, None]).images[:, 0]
    contact_sheet(pictures.split(columns), path)


def _evenly(total: int, count: int) -> torch.Tensor:
    count = max(1, min(count, total))
    return torch.arange(count) * total // count
