"""What a job does: uploaded pictures to objects, uploaded files to objects."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians
from sparsegen.formats.images import to_pil
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.photos import frame, read_photo
from sparsegen.pose import CameraEstimate, estimate_or_keep
from sparsegen.serving.jobs import Report
from sparsegen.serving.limits import Limits
from sparsegen.viewer import viewer_html
from sparsegen.views import Views, cat_views

# What can be downloaded: the formats of Gaussian files, and the page.
DOWNLOADS = ("ply", "compressed.ply", "splat", "spz", "glb", "html")

_CUTOUT_SIZE = 320
# Beyond it float32 has no room for an object's details, nor the page for its camera.
_FARTHEST = 1e6


@dataclass(frozen=True)
class Order:
    """Pictures of one object, and what to make of them. Angles in degrees; None where not known."""

    pictures: tuple[bytes, ...]
    samples: int = 1
    steps: int = 1
    seed: int = 0
    azimuth: float | None = None
    elevation: float | None = None


@dataclass(frozen=True)
class Result:
    """What came of it: one list of cameras, best first, and one cut-out (PNG) for each picture."""

    objects: tuple[Gaussians, ...]
    cameras: tuple[list[CameraEstimate], ...] = ()
    cutouts: tuple[bytes, ...] = ()


def make_objects(pipeline: Pipeline, order: Order, report: Report) -> Result:
    """Cut out, find the cameras, generate. Raises `InputError` for pictures that cannot be used."""
    size = pipeline.model.config.image_size
    cutouts: list[Tensor] = []
    for i, data in enumerate(order.pictures):
        report("cutting out", 0.05 * i / len(order.pictures))
        cutouts.append(_read_picture(data, i + 1))
    cameras = []
    for i, rgba in enumerate(cutouts):
        report("finding the camera", 0.05 + 0.6 * i / len(cutouts))
        cameras.append(estimate_or_keep(pipeline, rgba, (order.azimuth, order.elevation)))
    framed = [
        frame(rgba, size, c[0].azimuth, c[0].elevation) for rgba, c in zip(cutouts, cameras, strict=True)
    ]
    views: Views = reduce(cat_views, framed)
    objects = []
    for i in range(order.samples):
        report("making the object", 0.65 + 0.35 * i / order.samples)
        objects += pipeline(views, steps=order.steps, seed=order.seed + i)
    return Result(tuple(g.to("cpu") for g in objects), tuple(cameras), tuple(map(_as_png, cutouts)))


def check_picture(data: bytes, limits: Limits) -> None:
    """Raise `InputError` for what is no picture, or has too many pixels; nothing is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = limits.pixels + 1
    except Exception:  # a damaged file can make Pillow's decoders raise almost anything
        raise InputError("not a picture, or of an unknown format; give a PNG, JPEG or WebP file") from None
    if pixels > limits.pixels:
        raise InputError(f"the picture has more than {limits.pixels:,} pixels; scale it down")


def open_file(data: bytes, limits: Limits) -> Result:
    """The object in an uploaded Gaussian file, told by its content. Raises `InputError`."""
    with TemporaryDirectory(prefix="sparsegen-") as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        with _named(path, "the file"):
            gaussians = load_gaussians(path)
    if gaussians.count > limits.gaussians:
        raise InputError(f"the file has {gaussians.count:,} Gaussians, expected at most {limits.gaussians:,}")
    if gaussians.means.abs().max() > _FARTHEST:
        raise InputError(f"the file has Gaussians more than {_FARTHEST:,.0f} units away; scale it down")
    return Result((gaussians,))


def encode(gaussians: Gaussians, kind: str) -> bytes:
    """One object as a file of one of `DOWNLOADS`. Raises `InputError` where nothing is left of it."""
    if not gaussians.count:
        raise InputError("nothing is left of the object; undo an edit")
    if kind == "html":
        return viewer_html(gaussians, "object").encode()
    with TemporaryDirectory(prefix="sparsegen-") as folder:
        path = Path(folder) / f"object.{kind}"
        with _named(path, f"object.{kind}"):
            save_gaussians(path, gaussians)
        return path.read_bytes()


def _read_picture(data: bytes, number: int) -> Tensor:
    with TemporaryDirectory(prefix="sparsegen-") as folder:
        path = Path(folder) / "picture"  # without a suffix: the content tells the format
        path.write_bytes(data)
        with _named(path, f"picture {number}"):
            return read_photo(path)


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Errors call a temporary file by a name that its owner knows."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from None


def _as_png(rgba: Tensor) -> bytes:
    picture = to_pil(rgba)
    picture.thumbnail((_CUTOUT_SIZE, _CUTOUT_SIZE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
