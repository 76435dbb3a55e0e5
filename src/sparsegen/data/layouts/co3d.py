"""CO3D's layout: a category folder with `frame_annotations.jgz`, pictures and masks, read only.

Turntable videos of real objects. Cameras follow PyTorch3D: X_camera = X_world R + T in row vectors,
intrinsics in normalized device coordinates.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras, stack
from sparsegen.data.layouts.pictures import read_pixels
from sparsegen.data.packed import Viewset, Viewsets, collect
from sparsegen.errors import InputError
from sparsegen.formats.files import check_readable

FILE = "frame_annotations.jgz"
MARGIN = 1.1  # side of the square cut-out by the longer side of the mask's box
# Apparent size, at the distance of the camera, of an object of unit bounding-box diagonal.
APPARENT_SIZE = 0.8


def load_co3d(folder: str | Path, views: int = 16, size: int = 128) -> Viewsets:
    """Objects of a category folder: `views` frames of each sequence, evenly chosen, as squares of `size`.

    Every frame is cut out around its mask, which becomes its alpha. The world is moved so that cameras
    look at the origin, turned so that their mean up direction is +Z, and scaled so that objects have
    about a unit bounding-box diagonal. Sequences with fewer frames are left out. Raises `InputError`.
    """
    return collect(iterate_co3d(folder, views, size)[1], folder)


def iterate_co3d(folder: str | Path, views: int = 16, size: int = 128) -> tuple[list[str], Iterator[Viewset]]:
    """The names of the sequences that have `views` frames, sorted, and their objects one by one."""
    sequences = read_annotations(folder)
    names = _long_enough(sequences, views, folder)

    def read(name: str) -> Viewset:
        frames = sequences[name]
        chosen = [frames[i * len(frames) // views] for i in range(views)]
        return _read_object(name, chosen, _dataset_root(Path(folder)), size)

    return names, map(read, names)


def read_annotations(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """The annotated frames with a mask of every sequence, in order of their frame number."""
    path = check_readable(Path(folder) / FILE)
    try:
        frames = json.loads(gzip.decompress(path.read_bytes()))
        sequences = defaultdict(list)
        for frame in frames:
            if frame.get("mask") and frame.get("viewpoint"):
                sequences[str(frame["sequence_name"])].append(frame)
        return {name: sorted(some, key=lambda f: f["frame_number"]) for name, some in sequences.items()}
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not CO3D frame annotations ({reason}); download it again") from None


def frame_camera(frame: dict[str, Any]) -> Cameras:
    """The camera of an annotated frame (batch shape ()) for its whole picture.

    `ndc_isotropic` divides by half the shorter side, `ndc_norm_image_bounds` (the default of old
    annotations) each axis by half its own side.
    """
    viewpoint = frame["viewpoint"]
    height, width = (int(side) for side in frame["image"]["size"])
    kind = (viewpoint.get("intrinsics_format") or "ndc_norm_image_bounds").lower()
    focal = torch.tensor(viewpoint["focal_length"], dtype=torch.float32)
    center = torch.tensor(viewpoint["principal_point"], dtype=torch.float32)
    if kind == "ndc_norm_image_bounds":
        isotropic = torch.tensor([width, height]) / min(width, height)
        focal, center = focal * isotropic, center * isotropic
    elif kind != "ndc_isotropic":
        raise ValueError(f"intrinsics_format {kind!r} is unknown")
    R = torch.tensor(viewpoint["R"], dtype=torch.float32)
    T = torch.tensor(viewpoint["T"], dtype=torch.float32)
    return Cameras.from_pytorch3d(R, T, focal, center, width, height)


def _long_enough(sequences: dict[str, list[dict[str, Any]]], views: int, folder: str | Path) -> list[str]:
    names = sorted(name for name, frames in sequences.items() if len(frames) >= views)
    if not names:
        raise InputError(
            f"{Path(folder) / FILE}: no sequence has {views} frames with masks; download the whole category"
        )
    return names


def _dataset_root(category: Path) -> Path:
    """Paths in the annotations start with the category's name."""
    return category.resolve().parent


def _read_object(name: str, frames: list[dict[str, Any]], root: Path, size: int) -> Viewset:
    images, cameras, sizes = [], [], []
    for frame in frames:
        try:
            camera = frame_camera(frame)
            picture, mask = root / frame["image"]["path"], root / frame["mask"]["path"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else error
            raise InputError(
                f"{root}: sequence {name}: a damaged annotation ({what}); download it again"
            ) from None
        shape = (camera.height, camera.width)
        rgba = np.dstack([read_pixels(picture, "RGB", shape), read_pixels(mask, "L", shape)])
        box = _square_box(rgba[..., 3])
        if box is None:
            raise InputError(f"{mask}: the mask is empty; expected an object in it")
        image, cut = _cut_out(rgba, camera, box, size)
        images.append(image)
        cameras.append(cut)
        sizes.append((box[2] - box[0]) / MARGIN / float(camera.Ks[0, 0]))
    return Viewset(name, np.stack(images), _to_our_world(stack(cameras), torch.tensor(sizes)))


def _square_box(mask: UInt8[ndarray, "h w"]) -> tuple[float, float, float, float] | None:
    """The square (left, top, right, bottom) around a mask, in pixels; may leave the picture."""
    rows, columns = np.nonzero(mask > 127)
    if not len(rows):
        return None
    low = np.array([columns.min(), rows.min()])
    high = np.array([columns.max() + 1, rows.max() + 1])
    center, half = (low + high) / 2, MARGIN * (high - low).max() / 2
    return (*(center - half).tolist(), *(center + half).tolist())


def _cut_out(
    rgba: UInt8[ndarray, "h w 4"], camera: Cameras, box: tuple[float, float, float, float], size: int
) -> tuple[UInt8[ndarray, "s s 4"], Cameras]:
    """A square of a picture, and the camera that sees just that square."""
    left, top, right, bottom = box
    premultiplied = rgba.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    channels = []
    # A whole-pixel frame of nothing around the picture, where the square may reach out of it.
    pad = int(max(0, -left, -top, right - camera.width, bottom - camera.height)) + 1
    source = left + pad, top + pad, right + pad, bottom + pad
    for channel in np.moveaxis(premultiplied, -1, 0):
        padded = Image.fromarray(np.pad(channel, pad))
        channels.append(padded.resize((size, size), Image.Resampling.BOX, source))
    cut = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    alpha = cut[..., 3:]
    color = np.where(alpha > 0, cut[..., :3] / np.maximum(alpha, 1e-6) * 255, 255)
    image = np.concatenate([color, alpha], axis=-1).round().clip(0, 255).astype(np.uint8)
    scale = size / (right - left)
    Ks = camera.Ks.clone()
    Ks[:2, 2] -= Ks.new_tensor([left, top])
    Ks[:2] *= scale
    return image, Cameras(camera.viewmats, Ks, size, size)


def _to_our_world(cameras: Cameras, sizes: Float[Tensor, "v"]) -> Cameras:
    """Cameras of a sequence around the origin, +Z up, at the scale of an object of unit diagonal.

    `sizes` are the tangents of the angles under which the object appears.
    """
    rotations = cameras.viewmats[:, :3, :3]
    centers, forward = cameras.centers, rotations[:, 2]
    # The point nearest to all optical axes, by least squares over the planes normal to them.
    planes = torch.eye(3) - forward[:, :, None] * forward[:, None, :]
    offsets = planes @ centers[..., None]  # (v, 3, 1)
    target = torch.linalg.lstsq(planes.reshape(-1, 3), offsets.reshape(-1, 1)).solution[:, 0]
    distances = (centers - target).norm(dim=-1)
    scale = APPARENT_SIZE / (sizes * distances).median()
    up = F.normalize(-rotations[:, 1].mean(dim=0), dim=0)
    front = F.normalize(centers[0] - target - up * (up @ (centers[0] - target)), dim=0)
    turn = torch.stack([front, torch.linalg.cross(up, front), up])  # world to ours: rows are our axes
    local = rotations @ turn.T
    moved = scale * (centers - target) @ turn.T
    viewmats = cameras.viewmats.clone()
    viewmats[:, :3, :3] = local
    viewmats[:, :3, 3] = -(local @ moved[..., None])[..., 0]
    return replace(cameras, viewmats=viewmats)
