"""The ShapeNet-SRN layout: `OBJECT/{rgb/000000.png, pose/000000.txt, opc/000000.png, intrinsics.txt}`.

`rgb/` holds pictures over white, `pose/` camera-to-world matrices with OpenCV axes as 16 numbers, and
`intrinsics.txt` the focal length and principal point in pixels. Coverage, which SRN does not have, is
in `opc/` as gray pictures; without that folder it counts as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from sparsegen.cameras import Cameras, intrinsics
from sparsegen.data.layouts.pictures import over_white, read_pixels, straight, write_png
from sparsegen.data.packed import Viewset, Viewsets, collect
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_folder


def load_srn(folder: str | Path) -> Viewsets:
    """All objects of a folder such as `cars_train/`, in memory.

    Raises `InputError` for a folder without objects, missing or broken files, or objects that differ in
    picture size or number of views.
    """
    return collect(iterate_srn(folder), folder)


def iterate_srn(folder: str | Path) -> Iterator[Viewset]:
    """The objects of a folder one by one, in the order of `srn_names`."""
    for source in _objects(Path(folder)):
        yield read_srn_object(source)


def srn_names(folder: str | Path) -> list[str]:
    """Names of the objects in a folder, sorted; its own if the folder is one object."""
    return [source.absolute().name for source in _objects(Path(folder))]


def read_srn_object(folder: str | Path) -> Viewset:
    """One object's pictures and cameras."""
    folder = Path(folder)
    cameras = read_srn_cameras(folder)
    stems = [path.stem for path in _poses(folder)]
    found = {path.stem for path in (folder / "rgb").glob("*.png")}
    if set(stems) != found:
        odd = min(set(stems) ^ found)
        lacks = "rgb" if odd in stems else "pose"
        raise InputError(f"{folder}: frame {odd} has no file in {lacks}/; restore the dataset")
    size = (cameras.height, cameras.width)
    has_alpha = (folder / "opc").is_dir()
    images = np.stack([_read_frame(folder, stem, has_alpha, size) for stem in stems])
    return Viewset(folder.absolute().name, images, cameras, has_alpha)


def read_srn_cameras(folder: str | Path) -> Cameras:
    """One object's cameras, without its pictures."""
    folder = Path(folder)
    focal, center, height, width = _read_intrinsics(folder / "intrinsics.txt")
    matrices = torch.stack([_read_pose(path) for path in _poses(folder)])
    Ks = intrinsics(torch.tensor([focal, focal]), torch.tensor(center)).expand(len(matrices), 3, 3)
    return Cameras.from_camera_to_world(matrices, Ks, width, height)


def _objects(folder: Path) -> list[Path]:
    """The folders of single objects: those in `folder`, or itself."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder of objects in the SRN layout")
    if (folder / "intrinsics.txt").exists():
        return [folder]
    folders = sorted(path.parent for path in folder.glob("[!.]*/intrinsics.txt"))
    if not folders:
        inner = sorted(path.parent.parent for path in folder.glob("[!.]*/*/intrinsics.txt"))
        cure = f"did you mean {inner[0]}?" if inner else "expected OBJECT/{rgb,pose,intrinsics.txt}"
        raise InputError(f"{folder}: holds no objects in the SRN layout; {cure}")
    return folders


def _poses(folder: Path) -> list[Path]:
    poses = sorted((folder / "pose").glob("*.txt"))
    if not poses:
        raise InputError(f"{folder / 'pose'}: holds no *.txt files; expected one for every picture")
    return poses


def save_srn(viewsets: Viewsets, folder: str | Path) -> None:
    """Write every object of `viewsets` under `folder`."""
    for i, name in enumerate(viewsets.names):
        viewset = Viewset(name, viewsets.images[i], viewsets.cameras[i], viewsets.has_alpha)
        write_srn_object(viewset, Path(folder) / name)


def write_srn_object(viewset: Viewset, folder: str | Path) -> None:
    """Write one object; the folder appears under its name when it is whole."""
    cameras = viewset.cameras
    check_srn_cameras(viewset.name, cameras)
    K = cameras.Ks[0].tolist()
    with atomic_folder(folder) as temporary:
        subfolders = ["rgb", "pose", *(["opc"] if viewset.has_alpha else [])]
        for subfolder in subfolders:
            (temporary / subfolder).mkdir()
        text = f"{K[0][0]!r} {K[0][2]!r} {K[1][2]!r} 0.\n0. 0. 0.\n1.\n{cameras.height} {cameras.width}\n"
        (temporary / "intrinsics.txt").write_text(text)
        for i, pose in enumerate(cameras.to_camera_to_world()):
            numbers = " ".join(repr(value) for value in pose.flatten().tolist())
            (temporary / "pose" / f"{i:06d}.txt").write_text(numbers + "\n")
            write_png(temporary / "rgb" / f"{i:06d}.png", over_white(viewset.images[i]))
            if viewset.has_alpha:
                write_png(temporary / "opc" / f"{i:06d}.png", viewset.images[i, ..., 3])


def check_srn_cameras(name: str, cameras: Cameras) -> None:
    """Raise `InputError` for cameras of one object that the layout cannot hold."""
    fx, fy = cameras.Ks[:, 0, 0], cameras.Ks[:, 1, 1]
    if not (torch.allclose(fx, fy) and torch.allclose(cameras.Ks, cameras.Ks[:1].expand_as(cameras.Ks))):
        raise InputError(
            f"{name}: the SRN layout holds one focal length an object, found {fx.min():g} to "
            f"{torch.maximum(fx.max(), fy.max()):g}; add --pack, or give one --distance"
        )


def _read_frame(folder: Path, stem: str, has_alpha: bool, size: tuple[int, int]) -> UInt8[ndarray, "h w 4"]:
    rgb = read_pixels(folder / "rgb" / f"{stem}.png", "RGB", size)
    if not has_alpha:
        return np.dstack([rgb, np.full(size, 255, np.uint8)])
    return straight(rgb, read_pixels(folder / "opc" / f"{stem}.png", "L", size))


def _read_pose(path: Path) -> Float[Tensor, "4 4"]:
    numbers = _read_numbers(path)
    if len(numbers) != 16 or not np.isfinite(numbers).all():
        raise InputError(
            f"{path}: expected 16 finite numbers (camera to world), found {len(numbers)}; restore it"
        )
    return torch.tensor(numbers).reshape(4, 4)


def _read_intrinsics(path: Path) -> tuple[float, tuple[float, float], int, int]:
    """Focal length, principal point, height and width: the first three numbers and the last two."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError):
        lines = []
    numbers = _parse(" ".join(lines), path)
    last = _parse(next((line for line in reversed(lines[:5]) if len(line.split()) == 2), ""), path)
    if len(numbers) < 5 or len(last) != 2 or min(last) < 1 or numbers[0] <= 0:
        raise InputError(
            f"{path}: expected 'f cx cy 0.', '0. 0. 0.', '1.' and 'height width' on four lines; restore it"
        )
    return numbers[0], (numbers[1], numbers[2]), int(last[0]), int(last[1])


def _read_numbers(path: Path) -> list[float]:
    try:
        return _parse(path.read_text(), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore it") from None


def _parse(text: str, path: Path) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise InputError(f"{path}: expected numbers only, found {text.strip()[:40]!r}; restore it") from None
