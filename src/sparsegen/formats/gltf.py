"""glTF 2.0 files, `.glb` and `.gltf`, with Gaussians as the ratified extension KHR_gaussian_splatting.

The Gaussians are the points of a mesh primitive; rotation xyzw, scale (linear), opacity and the degree-0
spherical harmonic of the color are attributes of the extension, and COLOR_0 colors the points where a
program does not know it. All are float32, so nothing is lost. glTF points +Y up and +Z forward.
"""

from __future__ import annotations

import base64
import json
import logging
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.axes import quat_of, quat_product
from sparsegen.formats.files import MAX_GAUSSIANS
from sparsegen.formats.ply import SH_0
from sparsegen.gaussians import Gaussians

logger = logging.getLogger(__name__)

EXTENSION = "KHR_gaussian_splatting"
_SRGB, _LINEAR = "srgb_rec709_display", "lin_rec709_display"

_GLB_HEADER = struct.Struct("<4sII")  # magic, version, length of the file
_CHUNK_HEADER = struct.Struct("<I4s")  # length, kind
_DATA_URI = "data:application/octet-stream;base64,"
_POINTS, _ARRAY_BUFFER = 0, 34962
_FLOAT, _UNSIGNED_BYTE = 5126, 5121
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
# What a document with anything missing, or of a wrong type, may lead to.
_MISTAKES = (
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    OSError,
)


def is_gltf(head: bytes) -> bool:
    """Whether a file that begins so is glTF, binary or text."""
    return head.startswith(b"glTF") or head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def encode(gaussians: Gaussians, binary: bool = True) -> bytes:
    """The bytes of a `.glb` file, or a `.gltf` file with its data inside, its axes as they are."""
    return pack(*_document(gaussians), binary)


def pack(document: dict[str, Any], buffer: bytes, binary: bool) -> bytes:
    """The bytes of a glTF file from its document and its only buffer (a multiple of four bytes)."""
    if not binary:
        uri = {"uri": _DATA_URI + base64.b64encode(buffer).decode("ascii")}
        return json.dumps({**document, "buffers": [{**document["buffers"][0], **uri}]}, indent=1).encode(
            "utf-8"
        )
    text = json.dumps(document, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 4)
    length = _GLB_HEADER.size + 2 * _CHUNK_HEADER.size + len(text) + len(buffer)
    chunks = (
        _CHUNK_HEADER.pack(len(text), b"JSON") + text + _CHUNK_HEADER.pack(len(buffer), b"BIN\0") + buffer
    )
    return _GLB_HEADER.pack(b"glTF", 2, length) + chunks


def decode(data: bytes, name: str, most: int = MAX_GAUSSIANS) -> Gaussians:
    """All Gaussians of the default scene of a glTF file called `name`, its nodes' transforms applied.

    Buffers of a `.gltf` file may be inside or files in the same folder. Raises `InputError` if the file
    is not glTF, holds no Gaussians or more than `most`, is cut short, or needs what is not understood here:
    compression, another color space, uneven scaling.
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite is reported by whoever asked for the file
            parts = _parts(data, name, most)
    except InputError:
        raise
    except _MISTAKES:
        raise InputError(f"{name}: cut short or damaged, not a whole glTF file; write it again") from None
    if not parts:
        raise InputError(f"{name}: holds no Gaussians ({EXTENSION}); give a glTF file of 3D Gaussians")
    names = ("means", "quats", "scales", "opacities", "colors")
    return Gaussians(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names}, expansion=1)


def _document(gaussians: Gaussians) -> tuple[dict[str, Any], bytes]:
    rgba = torch.cat([gaussians.colors, gaussians.opacities[:, None]], dim=-1)
    arrays = {
        "POSITION": gaussians.means,
        "COLOR_0": (255 * rgba).round().clamp(0, 255).to(torch.uint8),
        f"{EXTENSION}:ROTATION": gaussians.quats.roll(-1, dims=-1),
        f"{EXTENSION}:SCALE": gaussians.scales,
        f"{EXTENSION}:OPACITY": gaussians.opacities[:, None],
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": (gaussians.colors - 0.5) / SH_0,
    }
    types = {width: kind for kind, width in _WIDTHS.items()}
    accessors, views, buffer = [], [], b""
    for index, array in enumerate(arrays.values()):
        data = array.contiguous().numpy().tobytes()
        views.append(
            {"buffer": 0, "byteOffset": len(buffer), "byteLength": len(data), "target": _ARRAY_BUFFER}
        )
        is_float = array.dtype == torch.float32
        accessor = {"bufferView": index, "count": len(array), "type": types[array.shape[-1]]}
        accessor["componentType"] = _FLOAT if is_float else _UNSIGNED_BYTE
        if not is_float:
            accessor["normalized"] = True
        accessors.append(accessor)
        buffer += data
    accessors[0]["min"] = gaussians.means.amin(dim=0).tolist()
    accessors[0]["max"] = gaussians.means.amax(dim=0).tolist()
    primitive = {
        "mode": _POINTS,
        "attributes": {semantic: index for index, semantic in enumerate(arrays)},
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": _SRGB}},
    }
    document = {
        "asset": {"version": "2.0", "generator": "sparsegen"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(buffer)}],
    }
    return document, buffer


def _parts(data: bytes, name: str, most: int) -> list[Gaussians]:
    document, binary = _parse(data, name)
    described = document.get("buffers", [])
    files = {uri: _read(uri, binary, name) for uri in {buffer.get("uri") for buffer in described}}
    buffers = [_buffer(buffer, files) for buffer in described]
    meshes = [
        [primitive for primitive in mesh["primitives"] if EXTENSION in primitive.get("extensions", {})]
        for mesh in document.get("meshes", [])
    ]
    placed = _instances(document)
    # One mesh may stand in many places, and one file be many buffers: a small file must not become huge.
    counts = [sum(_count(primitive, document) for primitive in mesh) for mesh in meshes]
    count = sum(counts[mesh] for mesh, _ in placed)
    if count > sum(map(len, files.values())):
        raise InputError(f"{name}: more Gaussians than its size can hold; write it again")
    if count > most:
        raise InputError(f"{name}: has {count:,} Gaussians, expected at most {most:,}")
    return [
        _moved(_primitive(primitive, document, buffers, name), matrix, name)
        for mesh, matrix in placed
        for primitive in meshes[mesh]
    ]


def _count(primitive: dict[str, Any], document: dict[str, Any]) -> int:
    """How many Gaussians a primitive says that it has."""
    count = document["accessors"][primitive["attributes"]["POSITION"]]["count"]
    if not isinstance(count, int) or count < 1:
        raise ValueError("no count")
    return count


def _parse(data: bytes, name: str) -> tuple[dict[str, Any], bytes | None]:
    """The JSON document, and the binary chunk where there is one."""
    if not data.startswith(b"glTF"):
        return json.loads(data.decode("utf-8-sig")), None
    _, version, length = _GLB_HEADER.unpack_from(data)
    if version != 2:
        raise InputError(f"{name}: glTF version {version} here, expected 2; write it as glTF 2.0")
    if length > len(data):
        raise ValueError("cut short")
    chunks = {}
    offset = _GLB_HEADER.size
    while offset + _CHUNK_HEADER.size <= length:
        size, kind = _CHUNK_HEADER.unpack_from(data, offset)
        offset += _CHUNK_HEADER.size
        if offset + size > length:
            raise ValueError("cut short")
        chunks.setdefault(kind, data[offset : offset + size])
        offset += size
    return json.loads(chunks[b"JSON"].decode("utf-8")), chunks.get(b"BIN\0")


def _read(uri: str | None, binary: bytes | None, name: str) -> bytes:
    """What a URI of a file called `name` says, or its binary chunk."""
    if uri is None:
        return binary or b""
    if uri.startswith("data:"):
        return base64.b64decode(uri.partition(",")[2], validate=True)
    file = unquote(uri)
    if Path(file).name != file:
        raise InputError(f"{name}: its data lie at {uri[:60]!r}, expected a file in the same folder")
    try:
        return (Path(name).parent / file).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: its data, {file[:60]}, are missing; keep both in one folder") from None


def _buffer(buffer: dict[str, Any], files: dict[str | None, bytes]) -> bytes:
    data = files[buffer.get("uri")]
    if len(data) < buffer["byteLength"]:
        raise ValueError("cut short")
    return data


def _instances(document: dict[str, Any]) -> list[tuple[int, np.ndarray]]:
    """The meshes of the default scene by their numbers, each with the 4 x 4 transform of its node."""
    found, seen = [], set()
    waiting = [(i, np.eye(4)) for i in document["scenes"][document.get("scene", 0)]["nodes"]]
    while waiting:
        index, parent = waiting.pop(0)
        if index in seen:
            raise ValueError("nodes that are no tree")
        seen.add(index)
        node = document["nodes"][index]
        matrix = parent @ _node_matrix(node)
        if "mesh" in node:
            found.append((node["mesh"], matrix))
        waiting += [(child, matrix) for child in node.get("children", [])]
    return found


def _node_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T  # stored column by column
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(rotation) * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _primitive(
    primitive: dict[str, Any], document: dict[str, Any], buffers: list[bytes], name: str
) -> Gaussians:
    extension, attributes = primitive["extensions"][EXTENSION], primitive["attributes"]
    color_space = extension.get("colorSpace", _SRGB)
    if color_space not in (_SRGB, _LINEAR):
        raise InputError(f"{name}: color space {str(color_space)[:40]!r}, expected {_SRGB} or {_LINEAR}")
    if extension.get("extensions"):
        raise InputError(f"{name}: compressed by {', '.join(extension['extensions'])}; write it uncompressed")
    if any(f"{EXTENSION}:SH_DEGREE_1" in semantic for semantic in attributes):
        logger.info("%s: view-dependent color (spherical harmonics) is left out", name)

    def attribute(semantic: str, width: int) -> Tensor:
        return _accessor(document, buffers, attributes[semantic], width)

    colors = 0.5 + SH_0 * attribute(f"{EXTENSION}:SH_DEGREE_0_COEF_0", 3)
    if color_space == _LINEAR:
        colors = torch.where(
            colors <= 0.0031308, 12.92 * colors, 1.055 * colors.clamp(min=0) ** (1 / 2.4) - 0.055
        )
    return Gaussians(
        means=attribute("POSITION", 3),
        quats=attribute(f"{EXTENSION}:ROTATION", 4).roll(1, dims=-1),
        scales=attribute(f"{EXTENSION}:SCALE", 3),
        opacities=attribute(f"{EXTENSION}:OPACITY", 1)[:, 0],
        colors=colors.clamp(0, 1),
    )


def _accessor(document: dict[str, Any], buffers: list[bytes], index: int, width: int) -> Tensor:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    if "sparse" in accessor or _WIDTHS[accessor["type"]] != width:
        raise ValueError("not what the extension asks for")
    data = buffers[view["buffer"]]
    dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
    inside, within = accessor.get("byteOffset", 0), view.get("byteOffset", 0)
    stride = view.get("byteStride", width * dtype.itemsize)
    count = accessor["count"]
    end = inside + (count - 1) * stride + width * dtype.itemsize
    if min(inside, within, count - 1) < 0 or stride < width * dtype.itemsize:
        raise ValueError("negative sizes")
    if end > view["byteLength"] or within + view["byteLength"] > len(data):
        raise ValueError("cut short")
    strides = (stride, dtype.itemsize)
    values = np.ndarray((count, width), dtype, data, within + inside, strides).astype(np.float32)
    if accessor.get("normalized") and dtype.kind != "f":
        values = np.maximum(values / np.iinfo(dtype).max, -1)
    return torch.from_numpy(values)


def _moved(gaussians: Gaussians, matrix: np.ndarray, name: str) -> Gaussians:
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    size = np.cbrt(np.linalg.det(linear))
    if not size > 0 or np.abs(linear @ linear.T - size**2 * np.eye(3)).max() > 1e-3 * size**2:
        raise InputError(f"{name}: a node mirrors or scales unevenly; apply its transform and write it again")
    if np.array_equal(matrix, np.eye(4)):
        return gaussians
    quat = quat_of(torch.from_numpy(linear / size)).float()
    return Gaussians(
        means=(gaussians.means.double() @ torch.from_numpy(linear.T) + torch.from_numpy(offset)).float(),
        quats=quat_product(quat.expand_as(gaussians.quats), gaussians.quats),
        scales=gaussians.scales * float(size),
        opacities=gaussians.opacities,
        colors=gaussians.colors,
    )
