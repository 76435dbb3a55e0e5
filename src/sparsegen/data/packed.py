"""Viewsets in memory, and in one file that is mapped instead of read.

The file is a safetensors file: `images` (N, V, H, W, 4) bytes, `viewmats` (N, V, 4, 4) and `Ks`
(N, V, 3, 3) floats, with the objects' names in its metadata.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path, check_readable
from sparsegen.views import Views

FORMAT = "sparsegen.viewsets"
_TENSORS = {"images": ("U8", np.uint8), "viewmats": ("F32", "<f4"), "Ks": ("F32", "<f4")}


@dataclass(frozen=True)
class Viewset:
    """Posed pictures of one object: RGBA bytes with straight alpha, and cameras of batch shape (V,).

    `has_alpha` is False where the pictures came without coverage; their alpha is 255 everywhere.
    """

    name: str
    images: UInt8[ndarray, "v h w 4"]
    cameras: Cameras
    has_alpha: bool = True


@dataclass(frozen=True)
class Viewsets:
    """N objects with V posed pictures each, in memory or mapped from a file.

    `images` are RGBA bytes, displayed colours with straight alpha; `cameras` has batch shape (N, V).
    """

    images: UInt8[ndarray, "n v h w 4"]
    cameras: Cameras
    names: list[str]
    has_alpha: bool = True

    def __post_init__(self) -> None:
        n, v, h, w, channels = self.images.shape
        shape = (*self.cameras.batch_shape, self.cameras.height, self.cameras.width)
        if shape != (n, v, h, w) or channels != 4 or len(self.names) != n:
            raise ValueError(
                f"pictures {self.images.shape}, cameras {shape} and {len(self.names)} names do not fit"
            )

    def __len__(self) -> int:
        return len(self.names)

    def singles(self) -> Iterator[Viewset]:
        """The objects one by one."""
        for i, name in enumerate(self.names):
            yield Viewset(name, self.images[i], self.cameras[i], self.has_alpha)

    def views(
        self,
        object_ids: Int[Tensor, "b"] | Int[ndarray, "b"],
        view_ids: Int[Tensor, "b v"] | Int[ndarray, "b v"],
        device: torch.device | str = "cpu",
    ) -> Views:
        """Some views of some objects over white, with alphas where they are known.

        Composited on `device`: only bytes travel to it.
        """
        objects = torch.as_tensor(object_ids, dtype=torch.long)[:, None]
        chosen = torch.as_tensor(view_ids, dtype=torch.long)
        rgba = torch.from_numpy(self.images[objects.numpy(), chosen.numpy()]).to(device)  # (b, v, h, w, 4)
        alphas = rgba[..., 3].float() / 255
        colors = rgba[..., :3].movedim(-1, 2).float() / 255  # (b, v, 3, h, w)
        images = torch.lerp(colors.new_ones(()), colors, alphas[:, :, None])
        cameras = self.cameras[objects, chosen].to(device)
        return Views(images, cameras, alphas if self.has_alpha else None)


def collect(viewsets: Iterable[Viewset], source: str | Path) -> Viewsets:
    """Viewsets in memory from single objects, which must share picture size and number of views.

    `source` names where they came from in the `InputError` that is raised if there is none, or if they
    differ.
    """
    every = list(viewsets)
    if not every:
        raise InputError(f"{source}: holds no objects; expected at least one")
    first = every[0]
    for other in every:
        _check_alike(first, other, source)
    cameras = Cameras(
        torch.stack([v.cameras.viewmats for v in every]).float(),
        torch.stack([v.cameras.Ks for v in every]).float(),
        first.cameras.width,
        first.cameras.height,
    )
    images = np.stack([v.images for v in every])
    return Viewsets(images, cameras, [v.name for v in every], first.has_alpha)


def save_packed(viewsets: Viewsets, path: str | Path) -> None:
    """Write viewsets to one file."""
    write_packed(viewsets.names, viewsets.singles(), path)


def write_packed(names: Sequence[str], viewsets: Iterable[Viewset], path: str | Path) -> None:
    """Write objects to one file as they come, one in memory at a time.

    `names` are those of `viewsets`, in order. Raises `InputError` if there is none, if two have one name, or
    if they differ in picture size or number of views.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: two objects would be called {twice!r}; rename one of them")
    cameras: list[Cameras] = []
    first: Viewset | None = None
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for viewset in viewsets:
            if first is None:
                first = viewset
                file.write(_header(names, first))
            _check_alike(first, viewset, path)
            file.write(np.ascontiguousarray(viewset.images).data)
            cameras.append(viewset.cameras)
        if first is None:
            raise InputError(f"{path}: there are no objects to write; expected at least one")
        if len(cameras) != len(names):
            raise ValueError(f"{len(names)} names for {len(cameras)} viewsets")
        for tensors in ([c.viewmats for c in cameras], [c.Ks for c in cameras]):
            file.write(torch.stack(tensors).float().contiguous().numpy().data)


def load_packed(path: str | Path) -> Viewsets:
    """Viewsets of a packed file; the pictures stay in the file and are mapped, read-only.

    Raises `InputError` if the file is missing, cut short, or not a packed dataset.
    """
    path = check_readable(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start, header = _read_header(file, size, path)
        metadata = header.pop("__metadata__", None)
        if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
            raise InputError(
                f"{path}: not a packed dataset; make one with `sparsegen data pack FOLDER {path}`"
            )
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        needed = start + max(header[name]["data_offsets"][1] for name in _TENSORS)
        if needed > size:
            raise InputError(f"{path}: cut short, {size} bytes where {needed} belong; copy or pack it again")
        arrays = {name: _array(buffer, start, header[name], *_TENSORS[name]) for name in _TENSORS}
        _, _, height, width, _ = arrays["images"].shape
        # Copies: the cameras are small, and tensors cannot be read-only.
        viewmats, Ks = (torch.from_numpy(arrays[name].copy()) for name in ("viewmats", "Ks"))
        cameras = Cameras(viewmats, Ks, width, height)
        names, has_alpha = json.loads(metadata["names"]), json.loads(metadata["has_alpha"])
        return Viewsets(arrays["images"], cameras, names, has_alpha)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: a damaged header ({reason}); pack it again") from None


def _header(names: Sequence[str], first: Viewset) -> bytes:
    n, (v, h, w, _) = len(names), first.images.shape
    shapes = {"images": [n, v, h, w, 4], "viewmats": [n, v, 4, 4], "Ks": [n, v, 3, 3]}
    header: dict[str, Any] = {
        "__metadata__": {
            "format": FORMAT,
            "names": json.dumps(list(names)),
            "has_alpha": json.dumps(first.has_alpha),
        }
    }
    offset = 0
    for name, (code, dtype) in _TENSORS.items():
        end = offset + math.prod(shapes[name]) * np.dtype(dtype).itemsize
        header[name] = {"dtype": code, "shape": shapes[name], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _read_header(file: Any, size: int, path: Path) -> tuple[int, dict[str, Any]]:
    """Where the tensors start, and the header of a safetensors file."""
    length = 0
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length)) if length <= size - 8 else None
    except (struct.error, ValueError):
        header = None
    if not isinstance(header, dict):
        raise InputError(
            f"{path}: not a packed dataset, or cut short; pack it again with `sparsegen data pack`"
        )
    return 8 + length, header


def _array(buffer: mmap.mmap, start: int, entry: dict[str, Any], code: str, dtype: Any) -> ndarray:
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    count = math.prod(shape)
    if begin < 0 or entry["dtype"] != code or count * np.dtype(dtype).itemsize != end - begin:
        raise ValueError(f"{entry['dtype']} {shape} in {end - begin} bytes, expected {code}")
    return np.frombuffer(buffer, dtype, count, start + begin).reshape(shape)


def _check_alike(first: Viewset, other: Viewset, source: str | Path) -> None:
    if other.images.shape != first.images.shape:
        raise InputError(
            f"{source}: {other.name} has {_describe(other.images)} but {first.name} has "
            f"{_describe(first.images)}; all objects of a dataset must agree"
        )
    if other.has_alpha != first.has_alpha:
        raise InputError(
            f"{source}: only one of {first.name} and {other.name} comes with opacity pictures; "
            "give both or neither"
        )


def _describe(images: Float[ndarray, "v h w 4"]) -> str:
    count, height, width, _ = images.shape
    return f"{count} views of {width} x {height} pixels"
