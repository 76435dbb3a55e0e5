"""A contact sheet of predicted objects beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from sparsegen.data.packed import Viewsets
from sparsegen.evaluation.predictors import Predictor
from sparsegen.evaluation.protocols import Protocol
from sparsegen.evaluation.tasks import make_task, views_of
from sparsegen.formats.images import contact_sheet

OBJECTS, NOVEL_VIEWS = 10, 4
_FRAME = 0.8  # gray level of the line around what belongs together


def spread(ids: Sequence[int], count: int = OBJECTS) -> list[int]:
    """At most `count` of `ids`, evenly spread: nobody chose the good ones."""
    places = (np.arange(count) + 0.5) * len(ids) / count if len(ids) > count else np.arange(len(ids))
    return [ids[int(place)] for place in places]


@torch.inference_mode()
def write(
    predictor: Predictor,
    viewsets: Viewsets,
    protocol: Protocol,
    ids: Sequence[int],
    seed: int,
    path: Path,
) -> None:
    """Write a row for each object: its input pictures, then novel views, generated beside the true ones."""
    targets = protocol.target_views(viewsets.cameras.batch_shape[1])
    shown = spread(range(len(targets)), NOVEL_VIEWS)
    views = [targets[place] for place in shown]
    rows = []
    for i in ids:
        task = make_task(viewsets, protocol, [i], [i], seed)
        predicted = predictor(task).rgb[0, shown].clamp(0, 1)
        truth = views_of(viewsets, [i], views).images[0]
        # One picture for a pair, so that the eye sees what belongs together.
        pictures = [*task.inputs.images[0], *torch.cat([predicted, truth], dim=-1)]
        rows.append([F.pad(picture, (1, 1, 1, 1), value=_FRAME) for picture in pictures])
    columns = [
        *(f"input, view {view}" for view in protocol.input_views),
        *(f"view {view}: generated, true" for view in views),
    ]
    contact_sheet(rows, path, columns)
