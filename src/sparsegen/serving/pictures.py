"""Uploaded pictures: checked, cut out, and kept small."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sparsegen.box import Box
from sparsegen.formats.images import to_pil
from sparsegen.photos import open_photo
from sparsegen.pose import CameraEstimate
from sparsegen.serving.files import at_a_path

# Four times what the networks see of it.
_LARGEST = 512


@dataclass(frozen=True)
class Picture:
    """A picture of an object: as a file, or cut out already; and what is known of its camera.

    A file's object is in its `box`, if it has one. `known` are azimuth and elevation in degrees, `roll` is
    how far the object is turned clockwise in it, None where they are to be found; `estimates` are those of a
    level camera, best first, if they have been made. `focal_length` is that of the cut-out as if it were a
    whole picture, in millimetres on 35 mm film, if the camera noted one.
    """

    content: bytes | UInt8[Tensor, "4 h w"]
    box: Box | None = None
    known: tuple[float | None, float | None] = (None, None)
    roll: float | None = None
    estimates: tuple[CameraEstimate, ...] | None = None
    focal_length: float | None = None

    @property
    def rgba(self) -> Float[Tensor, "4 h w"]:
        assert isinstance(self.content, Tensor)
        return self.content.float() / 255

    def png(self) -> bytes:
        buffer = io.BytesIO()
        to_pil(self.rgba).save(buffer, "PNG")
        return buffer.getvalue()


def cut_out_small(picture: Picture, name: str, model: Path) -> Picture:
    """The object in a picture file, without what is all transparent around it, at most 512 pixels large.

    `model` is the folder of the model that it is for. Raises `InputError`, which calls the picture by `name`.
    """
    assert isinstance(picture.content, bytes)
    with at_a_path(picture.content, name) as path:
        photo = open_photo(path, model=model, box=picture.box)
    rgba = photo.rgba
    seen = rgba[3] > 0
    rows, columns = (torch.where(seen.any(dim))[0] for dim in (1, 0))
    image = to_pil(rgba[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    width = image.width
    image.thumbnail((_LARGEST, _LARGEST))
    focal_length = photo.focal_length
    if focal_length is not None:  # a smaller part of the film is seen through a longer lens
        whole, part = math.hypot(*rgba.shape[1:]), math.hypot(*image.size)
        focal_length *= whole / part * image.width / width
    content = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return replace(picture, content=content, focal_length=focal_length)
