"""Mesh files, colored by vertex or by a texture: glTF 2.0 (`.glb`, `.gltf`) and OBJ, both with +Y up and the
front at +Z."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from sparsegen.errors import InputError
from sparsegen.formats import gltf
from sparsegen.formats.files import write_bytes
from sparsegen.formats.images import encode_png
from sparsegen.mesh import Mesh, Texture

MESH_SUFFIXES = (".glb", ".gltf", ".obj")

# (x, y, z) of the world, +Z up and the front at +X, becomes (y, z, x).
_TO_Y_UP = [1, 2, 0]
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_UNSIGNED_SHORT = 5123
_TRIANGLES = 4
_INDICES = "indices"
_COMPONENTS = {"<f4": 5126, "<u2": _UNSIGNED_SHORT, "<u4": 5125}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_UNLIT = "KHR_materials_unlit"


def check_mesh_suffix(path: str | Path) -> None:
    """Raises `InputError` if no mesh format goes by this name."""
    if Path(path).suffix.lower() not in MESH_SUFFIXES:
        raise InputError(f"{path}: no mesh format by that name; end it in {', '.join(MESH_SUFFIXES)}")


def save_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh, turned +Y up, in the format that the suffix names.

    A texture lies inside of a glTF file, and beside an OBJ file, with an `.mtl` file that names it. Raises
    `InputError` for an unknown suffix, a mesh without faces, or a file that cannot be written.
    """
    check_mesh_suffix(path)
    if not len(mesh.faces):
        raise InputError(f"{path}: not written, the mesh has no faces")
    if Path(path).suffix.lower() == ".obj":
        _save_obj(Path(path), mesh)
    else:
        write_bytes(path, encode_gltf(mesh, binary=Path(path).suffix.lower() == ".glb"))


def encode_gltf(mesh: Mesh, binary: bool = True) -> bytes:
    """The bytes of a `.glb` file, or a `.gltf` file with its data inside.

    COLOR_0 is linear light, as glTF has it, with 16 bits so that dark colors keep their steps; a texture
    takes its place. The material asks to be shown unlit, for light is in the colors already; where that is
    not understood it is dull.
    """
    arrays = _gltf_arrays(mesh)
    views, buffer = [], b""
    for name, array in arrays.items():
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": array.nbytes})
        views[-1]["target"] = _ELEMENT_ARRAY_BUFFER if name == _INDICES else _ARRAY_BUFFER
        buffer += array.tobytes()
    accessors = [_accessor(i, array) for i, array in enumerate(arrays.values())]
    low, high = (bound.tolist() for bound in (arrays["POSITION"].min(0), arrays["POSITION"].max(0)))
    accessors[0] |= {"min": low, "max": high}
    numbers = {name: i for i, name in enumerate(arrays)}
    primitive = {"mode": _TRIANGLES, "indices": numbers.pop(_INDICES), "attributes": numbers, "material": 0}
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {_UNLIT: {}},
    }
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "sparsegen"},
        "extensionsUsed": [_UNLIT],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [material],
        "accessors": accessors,
        "bufferViews": views,
    }
    if mesh.texture is not None:
        picture = _picture(mesh.texture)
        document["images"] = [{"bufferView": len(views), "mimeType": "image/png"}]
        document["textures"] = [{"source": 0}]
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": len(picture)})
        buffer += picture + bytes(-len(picture) % 4)
    document["buffers"] = [{"byteLength": len(buffer)}]
    return gltf.pack(document, buffer, binary)


def _gltf_arrays(mesh: Mesh) -> dict[str, ndarray]:
    """The attributes of the vertices, one for each place in the texture if there is one, and the indices."""
    texture = mesh.texture
    places = slice(None) if texture is None else texture.vertices
    arrays = {
        "POSITION": mesh.vertices[places][:, _TO_Y_UP].astype("<f4"),
        "NORMAL": mesh.normals[places][:, _TO_Y_UP].astype("<f4"),
    }
    if texture is None:
        rgb = np.round(_to_linear(mesh.colors) * 65535).astype("<u2")
        opaque = np.full((len(rgb), 1), 65535, "<u2")
        # The fourth number keeps every color on a multiple of four bytes.
        arrays["COLOR_0"] = np.concatenate([rgb, opaque], axis=1)
    else:
        arrays["TEXCOORD_0"] = texture.uv.astype("<f4")
    arrays[_INDICES] = (mesh.faces if texture is None else texture.faces).reshape(-1, 1).astype("<u4")
    return arrays


def _save_obj(path: Path, mesh: Mesh) -> None:
    """The `.obj` file last: it is whole only with the others. Its picture's name is not one that a photo of
    the object is likely to have."""
    if mesh.texture is None:
        write_bytes(path, encode_obj(mesh))
        return
    picture, material = path.with_name(f"{path.stem}_texture.png"), path.with_suffix(".mtl")
    write_bytes(picture, _picture(mesh.texture))
    write_bytes(material, f"newmtl object\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n".encode())
    write_bytes(path, encode_obj(mesh, material.name))


def encode_obj(mesh: Mesh, material: str = "") -> bytes:
    """The bytes of an `.obj` file: colors as displayed, behind each position, as most programs read them;
    with a texture also its places, and the name of the `.mtl` file."""
    lines = ["# sparsegen: x y z, red green blue"]
    rows = np.concatenate([mesh.vertices[:, _TO_Y_UP], mesh.colors], axis=1).tolist()
    lines += ["v {:.6g} {:.6g} {:.6g} {:.4f} {:.4f} {:.4f}".format(*row) for row in rows]
    lines += ["vn {:.4f} {:.4f} {:.4f}".format(*row) for row in mesh.normals[:, _TO_Y_UP].tolist()]
    if mesh.texture is None:
        lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in (mesh.faces + 1).tolist()]
        return ("\n".join(lines) + "\n").encode("ascii")
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in mesh.texture.uv.tolist()]  # from the bottom upward
    lines += [f"mtllib {material}", "usemtl object"]
    corners = np.stack([mesh.faces, mesh.texture.faces], axis=-1) + 1
    lines += [" ".join(["f", *(f"{v}/{t}/{v}" for v, t in face)]) for face in corners.tolist()]
    return ("\n".join(lines) + "\n").encode()


def _accessor(view: int, array: ndarray) -> dict[str, Any]:
    component, kind = _COMPONENTS[array.dtype.str], _KINDS[array.shape[1]]
    accessor = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
    return accessor | ({"normalized": True} if component == _UNSIGNED_SHORT else {})


def _picture(texture: Texture) -> bytes:
    return encode_png(torch.from_numpy(texture.image).permute(2, 0, 1))


def _to_linear(colors: ndarray) -> ndarray:
    """Displayed values in [0, 1] to linear light (IEC 61966-2-1)."""
    colors = np.clip(colors, 0, 1)
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
