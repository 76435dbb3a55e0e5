"""Mesh files: finding and loading them, each with the colours and axes of its format."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsegen.errors import InputError
from sparsegen.formats.files import check_readable

if TYPE_CHECKING:
    import trimesh

    from sparsegen.data.render import Light

EXTENSIONS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".dae")
# By their rules or by habit, these formats have +Y up and +Z in front; COLLADA files say it; the others
# have +Z up.
_Y_UP = (".glb", ".gltf", ".obj")
# (x, y, z) with +Y up and the front at +Z becomes (z, x, y): +Z up and the front at +X.
_FROM_Y_UP = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
GLTF_FROM_WORLD = _FROM_Y_UP.T


@dataclass(frozen=True)
class MeshFile:
    """A mesh file as a subject of rendering. `up` is "y", "z", or "auto" for its format's habit."""

    name: str
    path: Path
    up: str = "auto"

    def scene(self) -> trimesh.Scene:
        return load_scene(self.path, self.up)

    def lights(self) -> tuple[Light, ...]:
        from sparsegen.data.render import LIGHTS

        return LIGHTS


def find_meshes(paths: Sequence[str | Path], up: str = "auto") -> list[MeshFile]:
    """Mesh files from files and folders (searched with their subfolders), in a stable order.

    An object is called by its path below the folder that was searched; van/van.obj is `van`. Raises
    `InputError` for a path that does not exist, a file of an unknown kind, or a folder without meshes.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
            if not inside:
                raise InputError(f"{path}: holds no meshes; expected files ending in {', '.join(EXTENSIONS)}")
            found += [(p, p.relative_to(path)) for p in inside]
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path")
        elif path.suffix.lower() not in EXTENSIONS:
            kinds = ", ".join(EXTENSIONS)
            raise InputError(f"{path}: unknown kind of mesh; expected a file ending in {kinds}")
        else:
            found.append((path, Path(path.name)))
    long = ["-".join(relative.with_suffix("").parts) for _, relative in found]
    short = [
        name.removesuffix(f"-{path.stem}") if path.parent.name == path.stem else name
        for name, (path, _) in zip(long, found, strict=True)
    ]
    # Chair.obj beside chair.glb in one folder: the kind tells them apart.
    names = [
        brief if short.count(brief) == 1 else f"{name}-{path.suffix[1:].lower()}"
        for brief, name, (path, _) in zip(short, long, found, strict=True)
    ]
    return [MeshFile(name, path, up) for name, (path, _) in zip(names, found, strict=True)]


def load_scene(path: str | Path, up: str = "auto") -> trimesh.Scene:
    """A mesh file as a scene with +Z up and its front at +X.

    Raises `InputError` if the file cannot be read as its extension says, or has no faces.
    """
    path = check_readable(path)
    try:
        import trimesh
    except ImportError:
        raise InputError(
            "reading meshes needs trimesh, which is not installed: pip install 'sparsegen[data]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the readers warn of oddities that they then handle
            # Unprocessed: joining vertices by position would mix the colours on both sides of a border.
            scene = trimesh.load_scene(path, process=False)
    except Exception as error:  # a damaged file can make the readers raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as a mesh ({reason}); export it again") from None
    meshes = [mesh for mesh in scene.geometry.values() if isinstance(mesh, trimesh.Trimesh)]
    if not any(len(mesh.faces) for mesh in meshes):
        raise InputError(f"{path}: has no faces, expected a triangle mesh; export it with its surface")
    if not all(np.isfinite(mesh.vertices).all() for mesh in meshes):
        raise InputError(f"{path}: has vertices that are not finite numbers; export it again")
    if scene.extents is None or not scene.extents.any():
        raise InputError(f"{path}: all its vertices lie in one point; export it again")
    suffix = path.suffix.lower()
    for mesh in meshes:
        _by_the_formats_rules(mesh, suffix)
    if up == "y" or (up == "auto" and _is_y_up(path)):
        scene.apply_transform(_FROM_Y_UP)
    return scene


def _is_y_up(path: Path) -> bool:
    if path.suffix.lower() == ".dae":
        # COLLADA's default is +Y up, and trimesh leaves what the file says to us.
        return re.search(rb"<up_axis>\s*Z_UP", path.read_bytes()) is None
    return path.suffix.lower() in _Y_UP


def _by_the_formats_rules(mesh: trimesh.Trimesh, suffix: str) -> None:
    """Bring colours to trimesh's meaning: vertex colours as displayed, PBR factors linear."""
    from sparsegen.data.surfaces import linear_to_srgb, srgb_to_linear

    visual: Any = mesh.visual
    if suffix in (".glb", ".gltf") and visual.kind == "vertex":
        rgba = np.asarray(visual.vertex_colors) / 255  # glTF stores them linear
        rgba[:, :3] = linear_to_srgb(rgba[:, :3])
        visual.vertex_colors = np.round(rgba * 255).astype(np.uint8)
    material = getattr(visual, "material", None)
    factor = getattr(material, "baseColorFactor", None)
    if suffix == ".dae" and material is not None and factor is not None:
        rgba = np.asarray(factor) / 255  # COLLADA's are as displayed
        rgba[:3] = srgb_to_linear(rgba[:3])
        material.baseColorFactor = rgba
        material.alphaMode = "BLEND" if rgba[3] < 1 else "OPAQUE"
