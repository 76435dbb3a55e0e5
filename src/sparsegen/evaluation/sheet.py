"""Predicted objects beside the truth, as pictures: a strip for each object, and a sheet of strips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.data.protocols import Protocol
from sparsegen.evaluation.predictors import Prediction
from sparsegen.formats.images import contact_sheet, load_image
from sparsegen.views import Views

OBJECTS, NOVEL_VIEWS = 10, 4
_FRAME = 0.8  # gray level of the line around what belongs together
_GAP = 4  # pixels between what does not


def spread(ids: Sequence[int], count: int = OBJECTS) -> list[int]:
    """At most `count` of `ids`, evenly spread: nobody chose the good ones."""
    places = (np.arange(count) + 0.5) * len(ids) / count if len(ids) > count else np.arange(len(ids))
    return [ids[int(place)] for place in places]


def strip(prediction: Prediction, truth: Views, inputs: int) -> Float[Tensor, "3 h w"]:
    """One object's `inputs` true input pictures, which come last, then novel views, drawn beside true."""
    shown = spread(range(truth.view_count - inputs), NOVEL_VIEWS)
    pairs = torch.cat([prediction.rgb[0, shown].clamp(0, 1), truth.images[0, shown]], dim=-1)
    framed = [F.pad(p, (1, 1, 1, 1), value=_FRAME) for p in (*truth.images[0, -inputs:], *pairs)]
    return torch.cat([F.pad(picture, (0, _GAP), value=1.0) for picture in framed], dim=-1)


def write(strips: Iterable[Path], protocol: Protocol, view_count: int, path: Path) -> None:
    """Write a sheet with a row for each strip."""
    pictures = [load_image(file)[:3] for file in strips]
    contact_sheet([[picture] for picture in pictures], path, [caption(protocol, view_count)])


def caption(protocol: Protocol, view_count: int) -> str:
    """What a strip shows, from left to right."""
    views = spread(protocol.target_views(view_count), NOVEL_VIEWS)
    inputs = "view" if len(protocol.input_views) == 1 else "views"
    return (
        f"input, {inputs} {', '.join(map(str, protocol.input_views))}; then generated beside true: views "
        f"{', '.join(map(str, views))}"
    )
