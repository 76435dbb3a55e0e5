"""Edits as the page asks for them: a list, applied to the object from the start, so that undo is to drop one.

Queries keep the numbers of the object as it was made, whatever has been deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, Field
from torch import Tensor

from sparsegen import editing
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.viewer import scene_bytes

Queries = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=200_000)]
_Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Level = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_JobId = Annotated[str, Field(max_length=64)]


class Edit(BaseModel):
    """One change of some queries; which of the other values count depends on its kind."""

    kind: Literal["delete", "move", "scale", "recolor", "swap"]
    queries: Queries
    offset: tuple[_Coordinate, _Coordinate, _Coordinate] = (0, 0, 0)
    factor: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] = 1
    color: tuple[_Level, _Level, _Level] = (0, 0, 0)
    other_job: _JobId = ""
    other_sample: Annotated[int, Field(ge=0, le=1000)] = 0


@dataclass(frozen=True)
class Edited:
    """An object after its edits; what was deleted is still in it, and marked."""

    gaussians: Gaussians
    deleted: Bool[Tensor, "m"]

    def result(self) -> Gaussians:
        """The object without what was deleted."""
        return editing.delete(self.gaussians, self.deleted)

    def scene(self) -> bytes:
        """The same for the viewer, with the queries' first numbers."""
        kept = ~editing.of_gaussians(self.gaussians, self.deleted)
        rows = np.frombuffer(scene_bytes(self.gaussians), "<f4").reshape(self.gaussians.count, -1)
        return rows[kept.numpy()].tobytes()


def apply_edits(
    gaussians: Gaussians, edits: Sequence[Edit], find: Callable[[str, int], Gaussians | None], whole: int
) -> Edited:
    """Apply edits in order; `find` gives the other object of a swap. Raises `InputError`.

    Edits name queries of the object with all of its queries, `whole` in number; `gaussians` may have fewer.
    """
    edited = Edited(gaussians, editing.select_ids(gaussians, []))
    count = editing.query_count(gaussians)
    for edit in edits:
        selection = editing.select_ids(gaussians, [q for q in edit.queries if not count <= q < whole])
        if edit.kind == "delete":
            edited = Edited(edited.gaussians, edited.deleted | selection)
        else:
            edited = Edited(
                _changed(edited.gaussians, edit, selection & ~edited.deleted, find), edited.deleted
            )
    return _finite(edited)


def _finite(edited: Edited) -> Edited:
    """As it is, if viewers and files can hold it: they also hold products of scales."""
    for values in (edited.gaussians.means, edited.gaussians.scales):
        if not values.square().sum(-1).isfinite().all():
            raise InputError("the edits make the object larger than numbers can say; undo one")
    return edited


def _changed(
    gaussians: Gaussians, edit: Edit, selection: Tensor, find: Callable[[str, int], Gaussians | None]
) -> Gaussians:
    match edit.kind:
        case "move":
            return editing.move(gaussians, selection, edit.offset)
        case "scale":
            return editing.scale(gaussians, selection, edit.factor)
        case "recolor":
            return editing.recolor(gaussians, selection, edit.color)
        case _:
            other = find(edit.other_job, edit.other_sample)
            if other is None:
                raise InputError("the other object is gone; open or make it again")
            return editing.swap(gaussians, selection, other)


def spread(edited: Edited, queries: Sequence[int], distance: float) -> list[int]:
    """A selection grown by `distance` in world units, or shrunk where that is negative."""
    selection = editing.select_ids(edited.gaussians, queries) & ~edited.deleted
    if distance >= 0:
        changed = editing.grow(edited.gaussians, selection, distance)
    else:
        changed = editing.shrink(edited.gaussians, selection, -distance)
    return (changed & ~edited.deleted).nonzero()[:, 0].tolist()


def spread_alike(
    edited: Edited, queries: Sequence[int], likeness: Float[Tensor, "m m"], count: int
) -> list[int]:
    """A selection grown by the `count` queries that are most like it, or shrunk where that is negative."""
    left = ~edited.deleted
    selection = editing.select_ids(edited.gaussians, queries)[left]
    among = likeness[left][:, left]
    if count >= 0:
        changed = editing.grow_alike(selection, among, count)
    else:
        changed = editing.shrink_alike(selection, among, -count)
    return left.nonzero()[changed, 0].tolist()
