"""One picture that shows what went in, what was cut out, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.formats.cutout import whole
from sparsegen.formats.images import contact_sheet
from sparsegen.gaussians import Gaussians
from sparsegen.photos import Photo, as_large
from sparsegen.ranking import pictures_around
from sparsegen.splatting import render
from sparsegen.views import Views

_VIEWS = 8
_SQUARES = 16  # of the checkerboard, along each side
_GRAYS = (0.55, 0.75)


def write_sheet(
    path: Path,
    photos: Sequence[Photo],
    views: Views | None,
    objects: Sequence[Gaussians],
    size: int,
    labels: Sequence[str] = (),
) -> None:
    """A row for each object: its renderings from all around; before the first, the pictures it came from.

    For each picture: the original, its cut-out over a checkerboard, what the network saw, and each
    object's rendering from there. Raises `InputError` if the file cannot be written.
    """
    columns = []
    inputs, blank = [], torch.ones(3, size, size)
    for i, photo in enumerate(photos):
        assert views is not None
        number = f" {i + 1}" if len(photos) > 1 else ""
        inputs += [*_pictures(photo, size), as_large(views.images[0, i].clamp(0, 1), size)]
        columns += [f"{name}{number}" for name in ("picture", "cut-out", "input", "from there")]
    columns += [f"{360 * i // _VIEWS}°" for i in range(_VIEWS)]
    rows = []
    for gaussians in objects:
        row = []
        for i in range(len(photos)):
            shown = inputs[3 * i : 3 * i + 3] if not rows else [blank] * 3
            row += [*shown, _from_there(gaussians, views, i, size)]
        rows.append([*row, *pictures_around(gaussians, _VIEWS, size)])
    contact_sheet(rows, path, columns, labels)


def _pictures(photo: Photo, size: int) -> tuple[Float[Tensor, "3 s s"], Float[Tensor, "3 s s"]]:
    """The picture as it was, and its cut-out over a checkerboard."""
    squares = torch.arange(size) * _SQUARES // size
    board = torch.tensor(_GRAYS)[(squares[:, None] + squares) % 2]
    over_white, alpha = whole(photo.rgba, size)
    return whole(photo.original, size)[0], over_white - (1 - alpha) * (1 - board)


@torch.no_grad()
def _from_there(gaussians: Gaussians, views: Views | None, index: int, size: int) -> Float[Tensor, "3 s s"]:
    assert views is not None
    camera = views.cameras[0, index : index + 1].resized(size, size).to(gaussians.means.device)
    return render(gaussians, camera, depth=False).rgb[0].clamp(0, 1).cpu()
