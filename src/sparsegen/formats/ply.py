"""Gaussian PLY files in the layout of the original 3D Gaussian Splatting code, which every viewer opens.

One vertex a Gaussian: means, unused normals, degree-0 spherical harmonics of the color, logit of the
opacity, logarithms of the scales, rotation wxyz. Coordinates stay in this package's world: +Z up, the
object facing +X. The layout has no room for axes; viewers that take another axis as up can turn it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path, check_readable
from sparsegen.gaussians import Gaussians

logger = logging.getLogger(__name__)

# The degree-0 spherical harmonic: color = 0.5 + SH_0 * f_dc.
SH_0 = 0.28209479177387814

_MEANS = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")
_COLORS = ("f_dc_0", "f_dc_1", "f_dc_2")
_SCALES = ("scale_0", "scale_1", "scale_2")
_QUATS = ("rot_0", "rot_1", "rot_2", "rot_3")
_WRITTEN = (*_MEANS, *_NORMALS, *_COLORS, "opacity", *_SCALES, *_QUATS)
_NEEDED = (*_MEANS, *_COLORS, "opacity", *_SCALES, *_QUATS)

# Keeps logits and logarithms finite where an opacity is 0 or 1, or a scale 0.
_OPACITY_MARGIN = 1e-6
_SCALE_MIN = 1e-12

_EXPANSION_COMMENT = "sparsegen expansion"
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_HEADER_LINES = 10_000


def save_ply(path: str | Path, gaussians: Gaussians) -> None:
    """Write one object (Gaussians without batch dimensions) as little-endian float32.

    The number of Gaussians for each anchor query goes into a comment. Raises `InputError` if the file
    cannot be written, or the Gaussians are not finite.
    """
    if gaussians.batch_shape:
        raise ValueError(f"a PLY file holds one object, got batch shape {tuple(gaussians.batch_shape)}")
    rows = _to_rows(gaussians.detach().to("cpu", torch.float32))
    if not rows.isfinite().all():
        raise InputError(f"{path}: not written, the Gaussians hold NaN or infinity; are the weights sound?")
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {_EXPANSION_COMMENT} {gaussians.expansion}",
        f"element vertex {len(rows)}",
        *(f"property float {name}" for name in _WRITTEN),
        "end_header\n",
    ]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(rows.numpy().astype("<f4").tobytes())


def load_ply(path: str | Path) -> Gaussians:
    """Read a Gaussian PLY file: text or binary of either byte order, properties in any order.

    Higher spherical harmonics (`f_rest_*`) are left out with a note. Raises `InputError` if the file is
    not a PLY, holds something else than Gaussians, is cut short, or has values that are not finite.
    """
    path = check_readable(path)
    with path.open("rb") as file:
        header = _read_header(file, path)
        vertices = _read_vertices(file, header, path)
    gaussians = _from_columns(vertices, header.expansion)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        broken = ~getattr(gaussians, name).isfinite()
        if broken.any():
            first = int(broken.nonzero()[0, 0])
            raise InputError(f"{path}: the {name} of Gaussian {first} are not finite; write the file again")
    return gaussians


def _to_rows(gaussians: Gaussians) -> Tensor:
    opacities = gaussians.opacities.clamp(_OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    columns = [
        gaussians.means,
        torch.zeros_like(gaussians.means),
        (gaussians.colors - 0.5) / SH_0,
        opacities.logit()[:, None],
        gaussians.scales.clamp(min=_SCALE_MIN).log(),
        gaussians.quats,
    ]
    return torch.cat(columns, dim=-1)


def _from_columns(vertices: np.ndarray, expansion: int) -> Gaussians:
    def columns(*names: str) -> Tensor:
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite, and are reported
            return torch.from_numpy(np.stack([vertices[n].astype(np.float32) for n in names], axis=-1))

    quats = columns(*_QUATS)
    # Viewers normalize rotations; one of length zero has no meaning and is drawn unrotated.
    quats[(quats == 0).all(dim=-1), 0] = 1
    return Gaussians(
        means=columns(*_MEANS),
        quats=F.normalize(quats, dim=-1),
        scales=columns(*_SCALES).exp(),
        opacities=columns("opacity")[:, 0].sigmoid(),
        colors=(0.5 + SH_0 * columns(*_COLORS)).clamp(0, 1),
        # Another program may have removed Gaussians and kept the comment.
        expansion=expansion if len(vertices) % expansion == 0 else 1,
    )


@dataclass(frozen=True)
class _Header:
    encoding: str  # a key of _FORMATS
    count: int
    dtype: np.dtype  # one vertex, in file order
    skipped_bytes: int  # of the elements before the vertices
    skipped_lines: int
    expansion: int


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str]]
    has_list: bool = False

    @property
    def repeats_a_name(self) -> bool:
        return len({name for name, _ in self.properties}) < len(self.properties)


def _read_header(file: BinaryIO, path: Path) -> _Header:
    lines = _header_lines(file, path)
    encoding, expansion, elements = "", 1, list[_Element]()
    for words in lines:
        match words:
            case ["format", name, _] if name in _FORMATS:
                encoding = name
            case ["comment", *comment] if comment[:-1] == _EXPANSION_COMMENT.split():
                expansion = int(comment[-1]) if comment[-1].isdecimal() else 1
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count), []))
            case ["property", "list", _, _, _] if elements:
                elements[-1].has_list = True
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1].properties.append((name, _TYPES[kind]))
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise InputError(
                    f"{path}: not a whole PLY header at {' '.join(words)[:60]!r}; write it again"
                )
    if not encoding:
        raise InputError(f"{path}: the PLY header names no known format; write the file again")
    return _vertex_header(elements, encoding, max(expansion, 1), path)


def _header_lines(file: BinaryIO, path: Path) -> list[list[str]]:
    if file.readline(80).strip() != b"ply":
        raise InputError(f"{path}: not a PLY file; give a .ply file of 3D Gaussians")
    lines = []
    for _ in range(_HEADER_LINES):
        line = file.readline(1000)
        words = line.decode("latin-1").split()
        if words == ["end_header"]:
            return lines
        if not line.endswith(b"\n"):
            break
        lines.append(words)
    raise InputError(f"{path}: the PLY header does not end, the file is cut short; fetch or write it again")


def _vertex_header(elements: list[_Element], encoding: str, expansion: int, path: Path) -> _Header:
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise InputError(f"{path}: no vertices in this PLY file; give one of 3D Gaussians")
    before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
    _check_layout(vertex, "face" in names, path)
    if any(element.has_list or element.repeats_a_name for element in [*before, vertex]):
        raise InputError(f"{path}: lists or repeated names among its properties; write it again plainly")
    order = _FORMATS[encoding]
    return _Header(
        encoding=encoding,
        count=vertex.count,
        dtype=_dtype(vertex, order),
        skipped_bytes=sum(e.count * _dtype(e, order).itemsize for e in before),
        skipped_lines=sum(e.count for e in before),
        expansion=expansion,
    )


def _check_layout(vertex: _Element, has_faces: bool, path: Path) -> None:
    found = [name for name, _ in vertex.properties]
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        kind = "a mesh" if has_faces else "a point cloud"
        if "packed_position" in found:
            kind = "a compressed splat"
        raise InputError(
            f"{path}: not a PLY of 3D Gaussians but {kind}: it has no {', '.join(missing[:3])}{more}; "
            "give a file in the 3D Gaussian Splatting layout"
        )
    if vertex.count == 0:
        raise InputError(f"{path}: holds no Gaussians (0 vertices); write it again")
    if any(name.startswith("f_rest_") for name in found):
        logger.info("%s: view-dependent color (f_rest_*) is left out", path)


def _dtype(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + kind) for name, kind in element.properties])


def _read_vertices(file: BinaryIO, header: _Header, path: Path) -> np.ndarray:
    """The vertices as a structured array of `header.count` records."""
    if header.encoding == "ascii":
        return _read_text_vertices(file, header, path)
    start = file.tell() + header.skipped_bytes
    available = max(path.stat().st_size - start, 0) // header.dtype.itemsize
    if available < header.count:
        raise _cut_short(path, header.count, available)
    file.seek(start)
    return np.fromfile(file, header.dtype, header.count)


def _read_text_vertices(file: BinaryIO, header: _Header, path: Path) -> np.ndarray:
    lines = [line for line in file.read().splitlines() if line.strip()]
    lines = lines[header.skipped_lines : header.skipped_lines + header.count]
    if len(lines) < header.count:
        raise _cut_short(path, header.count, len(lines))
    names = header.dtype.names or ()
    try:
        table = np.array([line.split() for line in lines]).astype(np.float64)
    except ValueError:  # words that are no numbers, or lines of different lengths
        table = np.empty((0, 0))
    if table.shape != (header.count, len(names)):
        raise InputError(f"{path}: expected {len(names)} numbers a line in this text PLY; write it again")
    vertices = np.empty(header.count, [(name, np.float64) for name in names])
    for column, name in enumerate(names):
        vertices[name] = table[:, column]
    return vertices


def _cut_short(path: Path, promised: int, found: int) -> InputError:
    return InputError(
        f"{path}: cut short: its header promises {promised:,} Gaussians, the file holds {found:,}; "
        "fetch or write it again"
    )
