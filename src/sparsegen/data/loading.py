"""Any dataset by its path: packed files, and folders in the layouts that are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sparsegen.data.layouts import co3d, srn, transforms_json
from sparsegen.data.packed import Viewset, Viewsets, collect, load_packed


def load_viewsets(path: str | Path) -> Viewsets:
    """A packed file (mapped), or a folder in the SRN, NeRF or CO3D layout (read).

    Raises `InputError` if there is none of them, or if files in it are broken.
    """
    path = Path(path)
    if _is_folder(path):
        return collect(iterate_folder(path)[1], path)
    return load_packed(path)


def iterate_viewsets(path: str | Path) -> tuple[list[str], Iterator[Viewset]]:
    """The names of a dataset's objects, and the objects one by one, from a packed file or a folder."""
    path = Path(path)
    if _is_folder(path):
        return iterate_folder(path)
    packed = load_packed(path)
    return list(packed.names), packed.singles()


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, or the file that lists the pictures of one."""
    return path.is_dir() or path.suffix == ".json"


def iterate_folder(path: str | Path) -> tuple[list[str], Iterator[Viewset]]:
    """The names of a folder's objects, and the objects one by one, whatever its layout."""
    path = Path(path)
    layout = layout_of(path)
    if layout == "co3d":
        return co3d.iterate_co3d(path)
    if layout == "transforms":
        return transforms_json.transforms_names(path), transforms_json.iterate_transforms(path)
    return srn.srn_names(path), srn.iterate_srn(path)


def layout_of(path: Path) -> Literal["co3d", "transforms", "srn"]:
    """How a folder, or one whose pictures a file lists, is laid out; as SRN's if nothing says otherwise."""
    if (path / co3d.FILE).exists():
        return "co3d"
    if (
        path.suffix == ".json"
        or (path / transforms_json.FILE).exists()
        or any(path.glob(f"[!.]*/{transforms_json.FILE}"))
    ):
        return "transforms"
    return "srn"
