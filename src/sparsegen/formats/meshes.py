"""Mesh files with vertex colors: glTF 2.0 (`.glb`, `.gltf`) and OBJ, both with +Y up and the front at +Z."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sparsegen.errors import InputError
from sparsegen.formats import gltf
from sparsegen.formats.files import write_bytes
from sparsegen.mesh import Mesh

MESH_SUFFIXES = (".glb", ".gltf", ".obj")

# (x, y, z) of the world, +Z up and the front at +X, becomes (y, z, x).
_TO_Y_UP = [1, 2, 0]
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_UNSIGNED_SHORT, _UNSIGNED_INT, _FLOAT = 5123, 5125, 5126
_TRIANGLES = 4
_UNLIT = "KHR_materials_unlit"


def check_mesh_suffix(path: str | Path) -> None:
    """Raises `InputError` if no mesh format goes by this name."""
    if Path(path).suffix.lower() not in MESH_SUFFIXES:
        raise InputError(f"{path}: no mesh format by that name; end it in {', '.join(MESH_SUFFIXES)}")


def save_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh, turned +Y up, in the format that the suffix names.

    Raises `InputError` for an unknown suffix, a mesh without faces, or a file that cannot be written.
    """
    check_mesh_suffix(path)
    if not len(mesh.faces):
        raise InputError(f"{path}: not written, the mesh has no faces")
    if Path(path).suffix.lower() == ".obj":
        write_bytes(path, encode_obj(mesh))
    else:
        write_bytes(path, encode_gltf(mesh, binary=Path(path).suffix.lower() == ".glb"))


def encode_gltf(mesh: Mesh, binary: bool = True) -> bytes:
    """The bytes of a `.glb` file, or a `.gltf` file with its data inside.

    COLOR_0 is linear light, as glTF has it, with 16 bits so that dark colors keep their steps. The
    material asks to be shown unlit, for light is in the colors already; where that is not understood it
    is dull.
    """
    rgb = np.round(_to_linear(mesh.colors) * 65535).astype("<u2")
    opaque = np.full((len(rgb), 1), 65535, "<u2")
    arrays = [
        mesh.vertices[:, _TO_Y_UP].astype("<f4"),
        mesh.normals[:, _TO_Y_UP].astype("<f4"),
        np.concatenate([rgb, opaque], axis=1),  # the fourth keeps every color on a multiple of four bytes
        mesh.faces.reshape(-1, 1).astype("<u4"),
    ]
    views, buffer = [], b""
    for array in arrays:
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": array.nbytes})
        views[-1]["target"] = _ELEMENT_ARRAY_BUFFER if array is arrays[-1] else _ARRAY_BUFFER
        buffer += array.tobytes()
    positions = arrays[0]
    material = {
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {_UNLIT: {}},
    }
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "sparsegen"},
        "extensionsUsed": [_UNLIT],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {"primitives": [{"mode": _TRIANGLES, "attributes": attributes, "indices": 3, "material": 0}]}
        ],
        "materials": [material],
        "accessors": [
            {
                **_accessor(0, positions, _FLOAT, "VEC3"),
                "min": positions.min(axis=0).tolist(),
                "max": positions.max(axis=0).tolist(),
            },
            _accessor(1, arrays[1], _FLOAT, "VEC3"),
            {**_accessor(2, arrays[2], _UNSIGNED_SHORT, "VEC4"), "normalized": True},
            _accessor(3, arrays[3], _UNSIGNED_INT, "SCALAR"),
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(buffer)}],
    }
    return gltf.pack(document, buffer, binary)


def encode_obj(mesh: Mesh) -> bytes:
    """The bytes of an `.obj` file: colors as displayed, behind each position, as most programs read them."""
    lines = ["# sparsegen: x y z, red green blue"]
    rows = np.concatenate([mesh.vertices[:, _TO_Y_UP], mesh.colors], axis=1).tolist()
    lines += ["v {:.6g} {:.6g} {:.6g} {:.4f} {:.4f} {:.4f}".format(*row) for row in rows]
    lines += ["vn {:.4f} {:.4f} {:.4f}".format(*row) for row in mesh.normals[:, _TO_Y_UP].tolist()]
    lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in (mesh.faces + 1).tolist()]
    return ("\n".join(lines) + "\n").encode("ascii")


def _accessor(view: int, array: ndarray, component: int, kind: str) -> dict[str, Any]:
    return {"bufferView": view, "componentType": component, "count": len(array), "type": kind}


def _to_linear(colors: ndarray) -> ndarray:
    """Displayed values in [0, 1] to linear light (IEC 61966-2-1)."""
    colors = np.clip(colors, 0, 1)
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
