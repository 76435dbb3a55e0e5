"""Predicted objects beside the truth, as pictures: a strip for each object, and a sheet of strips."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.data.protocols import Protocol
from sparsegen.evaluation.document import Block, Picture, Text
from sparsegen.evaluation.predictors import Prediction
from sparsegen.evaluation.scores import Scores
from sparsegen.formats.files import write_bytes
from sparsegen.formats.images import contact_sheet, encode_png, load_image
from sparsegen.views import Views

# Within the report's folder: a picture of every object.
STRIPS = "strips"
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


@dataclass(frozen=True)
class Strips:
    """Pictures of each object in the report's folder, under names that no other run's pictures have."""

    folder: Path
    key: str
    protocol: Protocol

    def file(self, name: str) -> str:
        """Where the object's strip is, from the report's folder."""
        return f"{STRIPS}/{hashlib.blake2b(f'{self.key}/{name}'.encode(), digest_size=8).hexdigest()}.png"

    def keep(self, name: str, prediction: Prediction, truth: Views) -> None:
        picture = strip(prediction, truth, len(self.protocol.input_views))
        write_bytes(self.folder / self.file(name), encode_png(picture))


def remove_others(folder: Path, files: dict[str, dict[str, str]]) -> None:
    """Remove the strips in a report's folder that earlier runs left behind."""
    kept = {Path(file).name for some in files.values() for file in some.values()}
    for path in (folder / STRIPS).glob("*.png"):
        if path.name not in kept:
            path.unlink()


def pictures(
    scores: Sequence[Scores], strips: dict[str, dict[str, str]], folder: Path, view_count: int
) -> list[Block]:
    """Strips of some objects, each from all models, which `objects.png` gets too."""
    shown = [
        (folder / strips[s.name][s.objects[i]], f"{s.objects[i]}, {s.name}: {s.per_object['psnr'][i]:.2f} dB")
        for i in spread(scores[0].scored)
        for s in scores
        if s.objects[i] not in s.problems
    ]
    protocol = scores[0].protocol
    write((path for path, _ in shown), protocol, view_count, folder / "objects.png")
    words = f"Rows of objects.png, from left to right: {caption(protocol, view_count)}."
    if len(scores) > 1:
        words += f" Of each object a row from each model: {', '.join(s.name for s in scores)}."
    return [Text(words), *(Picture(path.read_bytes(), title) for path, title in shown)]


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
