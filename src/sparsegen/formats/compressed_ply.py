"""`.compressed.ply` files, as PlayCanvas and SuperSplat write them: 16 bytes a Gaussian, about a quarter.

Gaussians lie in chunks of 256, each with the bounds of its means, logarithms of scales, and colors. Within
the bounds a mean takes 11, 10 and 11 bits, scales the same, and a color 8 bits each with 8 for the
opacity; a rotation is its smallest three components in 10 bits, and 2 for the place of the largest.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians

logger = logging.getLogger(__name__)

_CHUNK = 256
_MEAN_BOUNDS = ("min_x", "min_y", "min_z", "max_x", "max_y", "max_z")
_SCALE_BOUNDS = tuple(f"{bound}_scale_{axis}" for bound in ("min", "max") for axis in "xyz")
_COLOR_BOUNDS = tuple(f"{bound}_{channel}" for bound in ("min", "max") for channel in "rgb")
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")

_VECTOR_BITS = (11, 10, 11)
_COLOR_BITS = (8, 8, 8, 8)
_ROTATION_BITS = (2, 10, 10, 10)
_SQRT_HALF = 0.5**0.5
_SCALE_MIN = 1e-8
_HEADER_BYTES = 16_384
_TYPES = {"float": "<f4", "float32": "<f4", "uint": "<u4", "uint32": "<u4", "uchar": "u1", "uint8": "u1"}


def is_compressed_ply(head: bytes) -> bool:
    """Whether a file that begins so is a compressed PLY."""
    return head.startswith(b"ply") and b" packed_position" in head.partition(b"end_header")[0]


def encode(gaussians: Gaussians) -> bytes:
    """The bytes of a `.compressed.ply` file for one object, its axes as they are.

    Gaussians are sorted along a Z-order curve, which makes chunks small and so their quantization fine.
    """
    order = _z_order(gaussians.means.numpy())
    bounds, packed = [], []
    for start in range(0, gaussians.count, _CHUNK):
        chunk_bounds, chunk = _pack_chunk(gaussians.select(torch.from_numpy(order[start : start + _CHUNK])))
        bounds.append(chunk_bounds)
        packed.append(chunk)
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element chunk {len(bounds)}",
        *(f"property float {name}" for name in (*_MEAN_BOUNDS, *_SCALE_BOUNDS, *_COLOR_BOUNDS)),
        f"element vertex {gaussians.count}",
        *(f"property uint {name}" for name in _PACKED),
        "end_header\n",
    ]
    body = np.stack(bounds).astype("<f4").tobytes() + np.concatenate(packed).astype("<u4").tobytes()
    return "\n".join(header).encode("ascii") + body


def decode(data: bytes, name: str) -> Gaussians:
    """Gaussians of the bytes of a `.compressed.ply` file called `name`, their axes as they are.

    Higher spherical harmonics are left out with a note. Raises `InputError` if the file is not of that
    layout, cut short, or has too few chunks for its Gaussians.
    """
    elements = _read_header(data, name)
    chunks = _table(data, elements, "chunk", (*_MEAN_BOUNDS, *_SCALE_BOUNDS), name)
    vertices = _table(data, elements, "vertex", _PACKED, name)
    if len(chunks) * _CHUNK < len(vertices):
        raise InputError(
            f"{name}: {len(vertices):,} Gaussians in {len(chunks):,} chunks, expected at most "
            f"{_CHUNK} in each; write it again"
        )
    if "sh" in elements:
        logger.info("%s: view-dependent color (spherical harmonics) is left out", name)
    chunk_ids = np.arange(len(vertices)) // _CHUNK

    def within(bounds: tuple[str, ...], unit: np.ndarray) -> torch.Tensor:
        low, high = (np.stack([chunks[b][chunk_ids] for b in half], -1) for half in (bounds[:3], bounds[3:]))
        with np.errstate(all="ignore"):  # bounds that are not finite give values that are not, reported above
            return torch.from_numpy((low + (high - low) * unit).astype(np.float32))

    rgba = _unpack(vertices["packed_color"], _COLOR_BITS)
    colors = torch.from_numpy(rgba[:, :3].astype(np.float32))
    if set(_COLOR_BOUNDS) <= set(chunks.dtype.names or ()):
        colors = within(_COLOR_BOUNDS, rgba[:, :3])
    return Gaussians(
        means=within(_MEAN_BOUNDS, _unpack(vertices["packed_position"], _VECTOR_BITS)),
        quats=_unpack_quats(vertices["packed_rotation"]),
        scales=within(_SCALE_BOUNDS, _unpack(vertices["packed_scale"], _VECTOR_BITS)).exp(),
        opacities=torch.from_numpy(rgba[:, 3].astype(np.float32)),
        colors=colors.clamp(0, 1),
    )


def _pack_chunk(gaussians: Gaussians) -> tuple[np.ndarray, np.ndarray]:
    """The 18 bounds of up to 256 Gaussians, and four packed words for each of them."""
    bounds, words = [], []
    for values, bits in (
        (gaussians.means, _VECTOR_BITS),
        (gaussians.scales.clamp(min=_SCALE_MIN).log(), _VECTOR_BITS),
        (gaussians.colors, _COLOR_BITS),
    ):
        low, high = values.amin(dim=0), values.amax(dim=0)
        unit = (values - low) / (high - low).clamp(min=1e-12)
        bounds += [low.numpy(), high.numpy()]
        if bits is _COLOR_BITS:
            unit = torch.cat([unit, gaussians.opacities[:, None]], dim=-1)
        words.append(_pack(unit.double().numpy(), bits))
    mean, scale, color = words
    return np.concatenate(bounds), np.stack([mean, _pack_quats(gaussians.quats), scale, color], axis=-1)


def _pack(unit: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1], (n, k), in words of 32 bits, the first in the highest."""
    word = np.zeros(len(unit), np.uint32)
    for column, width in zip(unit.T, bits, strict=True):
        top = (1 << width) - 1
        word = word << width | np.clip(np.floor(column * top + 0.5), 0, top).astype(np.uint32)
    return word


def _unpack(words: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    columns = []
    for width in reversed(bits):
        top = (1 << width) - 1
        columns.append((words & top) / top)
        words = words >> width
    return np.stack(columns[::-1], axis=-1)


def _pack_quats(quats: torch.Tensor) -> np.ndarray:
    wxyz = quats.double().numpy()
    largest = np.abs(wxyz).argmax(axis=-1)
    wxyz = wxyz * np.where(np.take_along_axis(wxyz, largest[:, None], -1) < 0, -1, 1)
    others = np.argsort(np.arange(4) == largest[:, None], axis=-1, kind="stable")[:, :3]
    unit = np.take_along_axis(wxyz, others, -1) * _SQRT_HALF + 0.5
    return _pack(np.column_stack([largest / 3, unit]), _ROTATION_BITS)


def _unpack_quats(words: np.ndarray) -> torch.Tensor:
    unit = _unpack(words, _ROTATION_BITS)
    largest = np.rint(3 * unit[:, 0]).astype(int)
    others = np.argsort(np.arange(4) == largest[:, None], axis=-1, kind="stable")[:, :3]
    three = (unit[:, 1:] - 0.5) / _SQRT_HALF
    wxyz = np.empty((len(words), 4), np.float32)
    np.put_along_axis(wxyz, others, three.astype(np.float32), -1)
    rest = np.sqrt(np.maximum(1 - np.square(three).sum(axis=-1, keepdims=True), 0))
    np.put_along_axis(wxyz, largest[:, None], rest.astype(np.float32), -1)
    return F.normalize(torch.from_numpy(wxyz), dim=-1)


def _z_order(means: np.ndarray) -> np.ndarray:
    low, high = means.min(axis=0), means.max(axis=0)
    cells = ((means - low) / np.maximum(high - low, 1e-12) * 1023).astype(np.uint32)
    code = np.zeros(len(means), np.uint32)
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")


@dataclass
class _Element:
    offset: int
    count: int
    properties: list[tuple[str, str]]


def _read_header(data: bytes, name: str) -> dict[str, _Element]:
    """The elements of the file by their names, with their places in it."""
    head, end, _ = data[:_HEADER_BYTES].partition(b"end_header\n")
    lines = [line.split() for line in head.decode("latin-1").splitlines()]
    if not end or lines[0] != ["ply"] or ["format", "binary_little_endian", "1.0"] not in lines:
        raise _not_whole(name)
    elements: dict[str, _Element] = {}
    for words in lines[1:]:
        match words:
            case ["element", element, count] if (
                element not in elements and count.isdecimal() and len(count) < 16
            ):
                elements[element] = _Element(0, int(count), [])
            case ["property", kind, name_] if elements and kind in _TYPES:
                list(elements.values())[-1].properties.append((name_, _TYPES[kind]))
            case ["format" | "comment" | "obj_info", *_]:
                pass
            case _:
                raise _not_whole(name)
    offset = len(head) + len(end)
    for element in elements.values():
        element.offset = offset
        offset += element.count * sum(np.dtype(kind).itemsize for _, kind in element.properties)
    return elements


def _table(
    data: bytes, elements: dict[str, _Element], element_name: str, needed: tuple[str, ...], name: str
) -> np.ndarray:
    element = elements.get(element_name)
    names = [n for n, _ in element.properties] if element else []
    if not element or not element.count or not set(needed) <= set(names) or len(set(names)) < len(names):
        raise _not_whole(name)
    dtype = np.dtype(element.properties)
    if any(np.dtype(kind).kind != "u" for n, kind in element.properties if n in _PACKED):
        raise _not_whole(name)
    held = max(len(data) - element.offset, 0) // dtype.itemsize
    if held < element.count:
        raise InputError(
            f"{name}: cut short: its header promises {element.count:,} of element {element_name}, the file "
            f"holds {held:,}; fetch or write it again"
        )
    return np.frombuffer(data, dtype, element.count, element.offset)


def _not_whole(name: str) -> InputError:
    return InputError(f"{name}: not a whole compressed PLY of 3D Gaussians; fetch or write it again")
