"""From picture files to the views that the network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.box import Box
from sparsegen.cameras import RADIUS, Cameras, focal_at, intrinsics, on_sphere, stack
from sparsegen.data.layouts.transforms_json import read_transforms
from sparsegen.errors import InputError
from sparsegen.formats.cutout import fit, object_extent, whole
from sparsegen.formats.images import load_focal_length, load_image
from sparsegen.matting import AUTO, apply_mask, remove_background
from sparsegen.models.camera_head import Framing
from sparsegen.views import Views

# A shape as large as cars are on average, of unit bounding-box diagonal: a superellipsoid with these
# half-extents (length, width, height) and exponent, whose roof is narrower by TAPER. Seen from the test
# cameras its picture's edges lie within 0.7 pixels of 128, on average, of the average over held-out cars.
HALF_EXTENTS = (0.426, 0.189, 0.150)
EXPONENT = 5.65
TAPER = 0.30

# Where a picture is taken to be from, in degrees, if nothing better is known: in front and to the left of
# an object that faces +X.
AZIMUTH = -36.0
ELEVATION = 26.0

FILM_DIAGONAL = math.hypot(36, 24)  # millimetres
# Pictures for refinement are so large: fewer pixels than networks see say nothing new, more take too long.
SIZES = (128, 512)
# Distances in world units; the shipped weights have seen most everyday cars at 1.3, others from 1.1 to 2.6.
DISTANCES = (1.1, 3.0)


@dataclass(frozen=True)
class Photo:
    """A picture and the object in it: as it was, cut out, and in words by what.

    `focal_length` is the equivalent in millimetres on 35 mm film, where the camera noted it.
    """

    original: Float[Tensor, "4 h w"]
    rgba: Float[Tensor, "4 h2 w2"]
    method: str
    focal_length: float | None = None


def open_photo(
    path: str | Path,
    matting: str = AUTO,
    mask: str | Path | None = None,
    model: str | Path | None = None,
    box: Box | None = None,
) -> Photo:
    """A picture with its object cut out: by its mask, its own alpha, or by `matting`.

    `matting`, `model` and `box` are what `sparsegen.matting.remove_background` takes; with a mask they say
    nothing. Raises `InputError`, also where nothing is left of the object.
    """
    original = load_image(path)
    if mask is None:
        cut = remove_background(original, matting, str(path), model, box)
    else:
        cut = apply_mask(original, load_image(mask), str(path), str(mask))
    if cut.rgba[3].max() < 0.5:
        raise InputError(f"{path}: its alpha is empty, no object is seen; give a picture with an object")
    return Photo(original, cut.rgba, cut.method, load_focal_length(path))


def read_photo(
    path: str | Path,
    matting: str = AUTO,
    mask: str | Path | None = None,
    model: str | Path | None = None,
    box: Box | None = None,
) -> Float[Tensor, "4 h w"]:
    """The cut-out picture of `open_photo` alone."""
    return open_photo(path, matting, mask, model, box).rgba


def frame(
    rgba: Float[Tensor, "4 h w"],
    size: int,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    distance: float | None = None,
    framing: Framing | None = None,
) -> Views:
    """One object from one cut-out picture, its camera given by angles in degrees.

    The object is framed as a typical one is in the training pictures of that camera, or differs from it by
    `framing`; one that stands farther away, at `distance` where that is known, has the longer lens that makes
    it as large. Raises `InputError` if nothing of the object is seen.
    """
    framing = framing or Framing()
    distance = min(max(framing.distance, DISTANCES[0]), DISTANCES[1]) if distance is None else distance
    camera = _camera(size, azimuth, elevation, distance)
    span, (right, down) = typical_frame(camera)
    right, down = right + span * framing.right, down + span * framing.down
    image, alpha = fit(rgba, size, span * framing.zoom, (right, down))
    return Views(image[None, None], camera[None, None], alpha[None, None])


def distance_of(
    rgba: Float[Tensor, "4 h w"],
    focal_length: float,
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    framing: Framing | None = None,
) -> float:
    """How far away a typical object, or one that differs from it by `framing`, stood that a lens shows as
    large as the object in a cut-out picture.

    `focal_length` is the equivalent in millimetres on 35 mm film, angles are in degrees, the distance is in
    world units, within those that the network was seen to cope with. The picture must be whole: the lens's
    field of view is that of its diagonal.
    """
    in_pixels = focal_length / FILM_DIAGONAL * math.hypot(*rgba.shape[1:])
    shown = object_extent(rgba) / in_pixels  # the tangent of the object's angle, roughly
    distance = RADIUS
    for _ in range(5):
        camera = _camera(128, azimuth, elevation, distance)
        span, _ = typical_frame(camera)
        span *= 1.0 if framing is None else framing.zoom
        distance *= span * camera.width / float(camera.Ks[0, 0]) / shown
        distance = min(max(distance, DISTANCES[0]), DISTANCES[1])
    return distance


def take_whole(
    rgba: Float[Tensor, "4 h w"], size: int, azimuth: float = AZIMUTH, elevation: float = ELEVATION
) -> Views:
    """The same for a picture that is framed already: padded to a square and scaled."""
    image, alpha = whole(rgba, size)
    camera = _camera(size, azimuth, elevation, RADIUS)
    return Views(image[None, None], camera[None, None], alpha[None, None])


def _camera(size: int, azimuth: float, elevation: float, distance: float) -> Cameras:
    angles = torch.tensor([math.radians(azimuth), math.radians(elevation)])
    return on_sphere(angles[0], angles[1], distance, size, focal_at(distance, size))


def typical_frame(camera: Cameras) -> tuple[float, tuple[float, float]]:
    """Larger side and middle (right, down) of a typical object's bounding box in a camera's picture.

    In shares of the square picture; the camera has batch shape (). Perspective moves the middle: what is
    near is large.
    """
    span, center = typical_frames(camera)
    right, down = center.tolist()
    return float(span), (right, down)


def typical_frames(cameras: Cameras) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b 2"]]:
    """The same in the pictures of many cameras."""
    pixels, _ = cameras.project(_typical_points())
    low, high = pixels.amin(-2), pixels.amax(-2)
    return (high - low).amax(-1) / cameras.width, (low + high) / (2 * cameras.width)


def _typical_points(count: int = 2000) -> Float[Tensor, "n 3"]:
    """Points on the typical shape, along directions that a golden spiral spreads over the sphere."""
    index = torch.arange(count) + 0.5
    height = 1 - 2 * index / count
    turn = index * (math.pi * (3 - math.sqrt(5)))
    flat = (1 - height**2).sqrt()
    points = torch.stack([flat * turn.cos(), flat * turn.sin(), height], dim=-1)
    points = points / points.abs().pow(EXPONENT).sum(-1, keepdim=True) ** (1 / EXPONENT)
    narrowing = 1 - TAPER * points[:, 2:].clamp_min(0)
    points = torch.cat([points[:, :2] * narrowing, points[:, 2:]], dim=-1)
    return points * torch.tensor(HALF_EXTENTS)


def pose_photos(
    paths: Sequence[Path], cutouts: Sequence[Float[Tensor, "4 h w"]], transforms_path: Path, size: int
) -> Views:
    """One object from several cut-out pictures, whose cameras a `transforms.json` holds.

    Frames are matched by file name. Pictures are taken whole, padded to squares. The cameras must stand
    in the object's frame: unit bounding-box diagonal, centre at the origin, +Z up. Raises `InputError`.
    """
    transforms = read_transforms(transforms_path)
    frames = {name: i for i, p in enumerate(transforms.pictures) for name in (p.stem, p.name)}
    images, alphas, cameras = [], [], []
    for path, rgba in zip(paths, cutouts, strict=True):
        index = frames.get(path.name, frames.get(path.stem))
        if index is None:
            raise InputError(f"{path}: {transforms_path} has no frame of this name; add one with its camera")
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


def full_size(cutouts: Sequence[Float[Tensor, "4 h w"]], views: Views) -> int:
    """How large square pictures of the framing of `views` must be to show all that the cut-out photos do,
    within `SIZES`."""
    assert views.alphas is not None
    shown = (object_extent(alpha.expand(4, -1, -1)) for alpha in views.alphas[0])
    scale = max(object_extent(c) / extent for c, extent in zip(cutouts, shown, strict=True))
    least, most = SIZES
    return min(max(16 * math.ceil(scale * views.cameras.width / 16), least), most)


def as_large(image: Float[Tensor, "c h w"], size: int) -> Float[Tensor, "c s s"]:
    """A square picture scaled to `size`, for sheets."""
    return torch.nn.functional.interpolate(image[None], size=(size, size), mode="bilinear")[0]
