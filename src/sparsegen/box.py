"""A box around one object of a picture, as people draw it and detectors find it."""

from __future__ import annotations

import math
from typing import NamedTuple

from sparsegen.errors import InputError

# Pictures, and parts of them, of fewer pixels on a side show no object and no background.
SMALLEST_SIDE = 4


class Box(NamedTuple):
    """Edges in pixels from the left and from the top of the picture, as it stands upright."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def parse(cls, text: str, name: str) -> Box:
        """From `LEFT,TOP,RIGHT,BOTTOM`, or with spaces between.

        Raises `InputError`, which begins with `name`.
        """
        try:
            box = cls(*(float(edge) for edge in text.replace(",", " ").split()))
        except (TypeError, ValueError):
            box = None
        if box is None or not all(map(math.isfinite, box)) or box.right <= box.left or box.bottom <= box.top:
            raise InputError(
                f"{name}: expected LEFT,TOP,RIGHT,BOTTOM in pixels, as in 40,60,420,280; found {text!r}"
            )
        return box

    def pixels(self, height: int, width: int, name: str) -> tuple[slice, slice]:
        """Rows and columns of a picture that are in the box; what lies beyond the picture is left out.

        Raises `InputError`, which calls the picture by `name`, if hardly anything is left.
        """
        rows = slice(max(0, round(self.top)), min(height, round(self.bottom)))
        columns = slice(max(0, round(self.left)), min(width, round(self.right)))
        if min(rows.stop - rows.start, columns.stop - columns.start) < SMALLEST_SIDE:
            raise InputError(
                f"{name}: is {width} x {height} pixels, too little of it is in the box "
                f"{','.join(f'{edge:g}' for edge in self)}; give LEFT,TOP,RIGHT,BOTTOM in its pixels"
            )
        return rows, columns
