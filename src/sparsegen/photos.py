"""From picture files to the views that the network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras, intrinsics, on_sphere, stack
from sparsegen.data.layouts.transforms_json import read_transforms
from sparsegen.errors import InputError
from sparsegen.formats.cutout import cut_out, fit, whole
from sparsegen.formats.images import load_image
from sparsegen.views import Views

# Where a picture of an unknown camera is taken to be from, in degrees: in front and to the left of an
# object that faces +X.
AZIMUTH = -36.0
ELEVATION = 26.0


def read_photo(
    path: Path, size: int, azimuth: float = AZIMUTH, elevation: float = ELEVATION, framed: bool = False
) -> Views:
    """One object from one picture, its camera given by angles in degrees.

    The object is cut out of a plain background (an RGBA picture brings its alpha) and framed as the
    training pictures are; `framed` pictures are taken whole. Raises `InputError`.
    """
    rgba = cut_out(load_image(path), str(path))
    image, alpha = whole(rgba, size) if framed else fit(rgba, size, name=str(path))
    angles = torch.tensor([math.radians(azimuth)]), torch.tensor([math.radians(elevation)])
    return Views(image[None, None], on_sphere(*angles, size=size)[None], alpha[None, None])


def read_posed_photos(paths: Sequence[Path], transforms_path: Path, size: int) -> Views:
    """One object from several pictures, whose cameras a `transforms.json` holds.

    Frames are matched by file name. Pictures are taken whole, padded to squares. The cameras must stand
    in the object's frame: unit bounding-box diagonal, centre at the origin, +Z up. Raises `InputError`.
    """
    transforms = read_transforms(transforms_path)
    frames = {name: i for i, p in enumerate(transforms.pictures) for name in (p.stem, p.name)}
    images, alphas, cameras = [], [], []
    for path in paths:
        index = frames.get(path.name, frames.get(path.stem))
        if index is None:
            raise InputError(f"{path}: {transforms_path} has no frame of this name; add one with its camera")
        rgba = cut_out(load_image(path), str(path))
        image, alpha = whole(rgba, size)
        images.append(image)
        alphas.append(alpha)
        cameras.append(_padded(transforms.cameras[index], rgba.shape[1:], size))
    return Views(torch.stack(images)[None], stack(cameras)[None], torch.stack(alphas)[None])


def _padded(camera: Cameras, shape: Sequence[int], size: int) -> Cameras:
    """The camera of a picture of `shape` (h, w), after padding to a centred square and scaling to `size`."""
    height, width = shape
    camera = camera.resized(width, height)
    side = max(width, height)
    focal = torch.stack([camera.Ks[0, 0], camera.Ks[1, 1]])
    margin = torch.tensor([(side - width) / 2, (side - height) / 2])
    K = intrinsics(focal, camera.Ks[:2, 2] + margin)
    return Cameras(camera.viewmats, K, side, side).resized(size, size)


def as_large(image: Float[Tensor, "c h w"], size: int) -> Float[Tensor, "c s s"]:
    """A square picture scaled to `size`, for sheets."""
    return torch.nn.functional.interpolate(image[None], size=(size, size), mode="bilinear")[0]
