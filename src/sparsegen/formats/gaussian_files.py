"""Every file format of Gaussians behind two functions: `load_gaussians` and `save_gaussians`.

In memory an object stands +Z up and faces +X; each file has the axes in which usual viewers show it
upright, which `up` overrides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.formats import compressed_ply, gltf, splat, spz
from sparsegen.formats.axes import Up, from_world, to_world
from sparsegen.formats.files import MAX_GAUSSIANS, check_readable, write_bytes
from sparsegen.formats.ply import load_ply, save_ply
from sparsegen.gaussians import Gaussians


@dataclass(frozen=True)
class GaussianFormat:
    """A file format, the axis that points up in its files, and what is lost in them."""

    name: str
    suffix: str
    up: Up
    lossless: bool


# Longer suffixes first: `.compressed.ply` ends in `.ply` as well.
FORMATS = (
    GaussianFormat("compressed PLY", ".compressed.ply", "-y", lossless=False),
    GaussianFormat("PLY", ".ply", "z", lossless=True),
    GaussianFormat("splat", ".splat", "-y", lossless=False),
    GaussianFormat("SPZ", ".spz", "y", lossless=False),
    GaussianFormat("binary glTF", ".glb", "y", lossless=True),
    GaussianFormat("glTF", ".gltf", "y", lossless=True),
)

_HEAD_BYTES = 16_384


def load_gaussians(path: str | Path, up: Up | None = None, most: int = MAX_GAUSSIANS) -> Gaussians:
    """Read one object from a Gaussian file of any format, turned +Z up, facing +X.

    The format is told by the content; only `.splat` files, which have no header, by the suffix. `up` is
    the axis that points up in the file, where it is not the format's own. Raises `InputError` if the
    file is of no known format, damaged, cut short, or has values that are not finite, or more than `most`
    Gaussians; formats that pack many into few bytes are not unpacked then.
    """
    path = check_readable(path)
    found = _format_of_content(path)
    gaussians = load_ply(path) if found.suffix == ".ply" else _decode(found, path, most)
    if gaussians.count > most:
        raise InputError(f"{path}: has {gaussians.count:,} Gaussians, expected at most {most:,}")
    return to_world(_checked(gaussians, path), up or found.up)


def save_gaussians(
    path: str | Path, gaussians: Gaussians, up: Up | None = None, spz_version: int = 3
) -> None:
    """Write one object (Gaussians without batch dimensions) in the format that the suffix names.

    `up` is the axis that shall point up in the file, where it is not the format's own. Raises
    `InputError` for an unknown suffix, Gaussians that are not finite, or a file that cannot be written.
    """
    wanted = format_of_suffix(path)
    if gaussians.batch_shape:
        raise ValueError(f"a file holds one object, got batch shape {tuple(gaussians.batch_shape)}")
    gaussians = gaussians.detach().to("cpu", torch.float32)
    if not gaussians.count:
        raise InputError(f"{path}: not written, there are no Gaussians")
    if not all(getattr(gaussians, name).isfinite().all() for name in _TENSORS):
        raise InputError(f"{path}: not written, the Gaussians hold NaN or infinity; are the weights sound?")
    gaussians = from_world(gaussians, up or wanted.up)
    if wanted.suffix == ".ply":
        save_ply(path, gaussians)
    else:
        write_bytes(path, _encode(wanted, gaussians, spz_version))


def format_of_suffix(path: str | Path) -> GaussianFormat:
    """The format that a file's name asks for. Raises `InputError` if there is none."""
    name = Path(path).name.lower()
    for candidate in FORMATS:
        if name.endswith(candidate.suffix):
            return candidate
    raise InputError(f"{path}: no Gaussian format by that name; end it in one of {_suffixes()}")


_TENSORS = ("means", "quats", "scales", "opacities", "colors")


def _suffixes() -> str:
    return ", ".join(f.suffix for f in FORMATS)


def _format_of_content(path: Path) -> GaussianFormat:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if path.name.lower().endswith(".splat"):
        suffix = ".splat"
    elif compressed_ply.is_compressed_ply(head):
        suffix = ".compressed.ply"
    elif head.startswith(b"ply"):
        suffix = ".ply"
    elif spz.is_spz(head):
        suffix = ".spz"
    elif gltf.is_gltf(head):
        suffix = ".glb" if head.startswith(b"glTF") else ".gltf"
    else:
        raise InputError(f"{path}: not a file of 3D Gaussians; give one of {_suffixes()}")
    return next(f for f in FORMATS if f.suffix == suffix)


def _decode(found: GaussianFormat, path: Path, most: int) -> Gaussians:
    data, name = path.read_bytes(), str(path)
    if found.suffix in (".compressed.ply", ".splat"):
        return (splat if found.suffix == ".splat" else compressed_ply).decode(data, name)
    return (spz if found.suffix == ".spz" else gltf).decode(data, name, most)


def _encode(wanted: GaussianFormat, gaussians: Gaussians, spz_version: int) -> bytes:
    if wanted.suffix == ".spz":
        return spz.encode(gaussians, spz_version)
    if wanted.suffix in (".glb", ".gltf"):
        return gltf.encode(gaussians, binary=wanted.suffix == ".glb")
    return (splat if wanted.suffix == ".splat" else compressed_ply).encode(gaussians)


def _checked(gaussians: Gaussians, path: Path) -> Gaussians:
    for name in _TENSORS:
        broken = ~getattr(gaussians, name).isfinite()
        if broken.any():
            first = int(broken.nonzero()[0, 0])
            raise InputError(f"{path}: the {name} of Gaussian {first} are not finite; write the file again")
    if (gaussians.scales < 0).any() or (gaussians.opacities < 0).any() or (gaussians.opacities > 1).any():
        raise InputError(f"{path}: scales below 0, or opacities outside 0 to 1; write the file again")
    # A rotation of length zero has no meaning and is drawn unrotated.
    quats = gaussians.quats.clone()
    quats[(quats == 0).all(dim=-1), 0] = 1
    return replace(gaussians, quats=F.normalize(quats, dim=-1, eps=1e-30))
