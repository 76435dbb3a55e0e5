"""NeRF's layout: pictures beside a `transforms.json` with camera-to-world matrices in OpenGL axes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsegen.cameras import Cameras, intrinsics
from sparsegen.data.layouts.pictures import has_transparency, read_pixels, write_png
from sparsegen.data.packed import Viewset, Viewsets, collect
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_folder, check_readable

FILE = "transforms.json"


@dataclass(frozen=True)
class Transforms:
    """What a `transforms.json` says: picture files, and cameras of batch shape (V,)."""

    pictures: list[Path]
    cameras: Cameras


def load_transforms(path: str | Path) -> Viewsets:
    """One object (its `transforms.json` or the folder of it), or a folder of such folders, in memory.

    Raises `InputError` for missing or broken files, or objects that differ in picture size or number of
    views.
    """
    return collect(iterate_transforms(path), path)


def iterate_transforms(path: str | Path) -> Iterator[Viewset]:
    """The objects of a folder one by one, in the order of `transforms_names`."""
    for source in _objects(Path(path)):
        yield read_transforms_object(source)


def transforms_names(path: str | Path) -> list[str]:
    """Names of the objects in a folder, sorted; its own if the path is one object's folder or file."""
    return [_name(source) for source in _objects(Path(path))]


def read_transforms_object(path: str | Path) -> Viewset:
    """One object's pictures and cameras. Pictures without transparency have no known coverage."""
    transforms = read_transforms(path)
    size = (transforms.cameras.height, transforms.cameras.width)
    has_alpha = all(has_transparency(picture) for picture in transforms.pictures)
    images = [read_pixels(picture, "RGBA" if has_alpha else "RGB", size) for picture in transforms.pictures]
    rgba = np.stack(images)
    if not has_alpha:
        rgba = np.concatenate([rgba, np.full((*rgba.shape[:3], 1), 255, np.uint8)], axis=-1)
    return Viewset(_name(Path(path)), rgba, transforms.cameras, has_alpha)


def read_transforms(path: str | Path) -> Transforms:
    """The picture files and cameras of a `transforms.json` (or of the folder that holds it).

    The field of view is `camera_angle_x`, or `fl_x, fl_y, cx, cy` in pixels, for all frames or for each;
    the picture size is `w, h`, or that of the first picture. Raises `InputError`.
    """
    path = Path(path)
    path = check_readable(path / FILE if path.is_dir() else path)
    try:
        content = json.loads(path.read_text())
        frames = content["frames"]
        pictures = [_picture(path.parent, str(frame["file_path"])) for frame in frames]
        matrices = torch.tensor([frame["transform_matrix"] for frame in frames], dtype=torch.float32)
        width, height = _size(content, frames, pictures)
        Ks = torch.stack([_intrinsics({**content, **frame}, width, height) for frame in frames])
    except InputError:
        raise
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise InputError(
            f"{path}: not a NeRF transforms file ({what}); expected frames with file_path and "
            "transform_matrix, and camera_angle_x or fl_x"
        ) from None
    if matrices.shape[1:] != (4, 4) or not bool(torch.isfinite(matrices).all()):
        raise InputError(f"{path}: every transform_matrix must be 4 x 4 finite numbers; export it again")
    if not bool(torch.isfinite(Ks).all()):
        raise InputError(f"{path}: focal lengths and principal points must be finite; export it again")
    return Transforms(pictures, Cameras.from_camera_to_world(matrices, Ks, width, height, axes="opengl"))


def save_transforms(viewsets: Viewsets, folder: str | Path) -> None:
    """Write every object of `viewsets` as `folder/NAME/transforms.json` and its RGBA pictures."""
    for i, name in enumerate(viewsets.names):
        viewset = Viewset(name, viewsets.images[i], viewsets.cameras[i], viewsets.has_alpha)
        write_transforms_object(viewset, Path(folder) / name)


def write_transforms_object(viewset: Viewset, folder: str | Path) -> None:
    """Write one object; the folder appears under its name when it is whole."""
    cameras = viewset.cameras
    frames = []
    with atomic_folder(folder) as temporary:
        (temporary / "images").mkdir()
        for i, (matrix, K) in enumerate(zip(cameras.to_camera_to_world("opengl"), cameras.Ks, strict=True)):
            channels = 4 if viewset.has_alpha else 3
            write_png(temporary / "images" / f"{i:06d}.png", viewset.images[i, ..., :channels])
            frames.append({"file_path": f"images/{i:06d}", **_focal(K), "transform_matrix": matrix.tolist()})
        angle = 2 * math.atan(cameras.width / (2 * float(cameras.Ks[0, 0, 0])))
        content = {"camera_angle_x": angle, "w": cameras.width, "h": cameras.height, "frames": frames}
        (temporary / FILE).write_text(json.dumps(content, indent=1))


def _objects(path: Path) -> list[Path]:
    """Each object's `transforms.json`, or the folder that holds it."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if path.is_file() or (path / FILE).exists():
        return [path]
    folders = sorted(found.parent for found in path.glob(f"[!.]*/{FILE}"))
    if not folders:
        raise InputError(f"{path}: holds no {FILE}, nor folders with one; give a NeRF dataset")
    return folders


def _name(source: Path) -> str:
    source = source.absolute()
    return source.parent.name if source.is_file() else source.name


def _picture(folder: Path, name: str) -> Path:
    """The file of a frame; NeRF's own datasets leave `.png` out."""
    path = folder / name
    if path.is_file() or path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        return path
    return path.with_name(path.name + ".png")


def _size(content: dict[str, Any], frames: list[Any], pictures: list[Path]) -> tuple[int, int]:
    if not frames:
        raise ValueError("frames is empty")
    if "w" in content and "h" in content:
        return int(content["w"]), int(content["h"])
    height, width = read_pixels(pictures[0], "L").shape
    return width, height


def _intrinsics(values: dict[str, Any], width: int, height: int) -> torch.Tensor:
    if "fl_x" in values:
        fx = float(values["fl_x"])
    else:
        fx = width / (2 * math.tan(float(values["camera_angle_x"]) / 2))
    fy = float(values.get("fl_y", fx))
    if not (fx > 0 and fy > 0):
        raise ValueError(f"focal lengths {fx:g} and {fy:g} are not positive")
    center = [float(values.get("cx", width / 2)), float(values.get("cy", height / 2))]
    return intrinsics(torch.tensor([fx, fy]), torch.tensor(center))


def _focal(K: torch.Tensor) -> dict[str, float]:
    return {"fl_x": float(K[0, 0]), "fl_y": float(K[1, 1]), "cx": float(K[0, 2]), "cy": float(K[1, 2])}
