"""What a renderer needs of a mesh: triangles, shading normals, and linear base colours."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sparsegen.data.cutouts import alpha_map, split_cutouts

if TYPE_CHECKING:
    import trimesh
    from PIL import Image

CREASE_ANGLE = np.deg2rad(35.0)  # faces that meet at less are shaded as one smooth surface
DEFAULT_ROUGHNESS = 0.6
UNPAINTED = 0.4  # linear grey of a mesh without any colour


@dataclass(frozen=True)
class Surface:
    """Triangles that share one texture, or have none.

    The texture is linear, its rows from top (v = 1) to bottom; `colors` are linear and count where there
    is none; `opacity` is one number a face.
    """

    vertices: Float[ndarray, "n 3"]
    faces: Int[ndarray, "f 3"]
    normals: Float[ndarray, "n 3"]
    colors: Float[ndarray, "n 3"]
    roughness: Float[ndarray, "n"]
    opacity: Float[ndarray, "f"]
    uv: Float[ndarray, "n 2"] | None = None
    texture: Float[ndarray, "h w 3"] | None = None


def surfaces(scene: trimesh.Scene, texture_size: int = 512) -> list[Surface]:
    """All triangles of a scene in world space, merged into as few surfaces as there are textures.

    Textures are shrunk to `texture_size` texels on the longer side: a renderer without mipmaps
    aliases where texels are much finer than pixels.
    """
    import trimesh

    groups: dict[tuple[float, ...], list[Surface]] = defaultdict(list)
    textures: dict[tuple[float, ...], Float[ndarray, "h w 3"]] = {}
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        image = _base_image(mesh)
        key: tuple[float, ...] = ()
        if image is not None:
            tint = _material_color(getattr(mesh.visual, "material", None))[:3]
            key = (id(image), *tint.tolist())
            if key not in textures:
                textures[key] = _linear_texture(image, texture_size) * tint.astype(np.float32)
        groups[key].append(_surface(mesh, np.asarray(transform), image))
    return [_merge(parts, textures.get(key)) for key, parts in groups.items()]


def srgb_to_linear(values: ndarray) -> Float[ndarray, "..."]:
    """Displayed values in [0, 1] to linear light (IEC 61966-2-1)."""
    values = np.asarray(values, np.float32)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(values: ndarray) -> Float[ndarray, "..."]:
    """Linear light in [0, 1] to displayed values (IEC 61966-2-1)."""
    values = np.asarray(values, np.float32)
    curve = 1.055 * np.maximum(values, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(values <= 0.0031308, values * 12.92, curve).astype(np.float32)


def _surface(mesh: trimesh.Trimesh, transform: Float[ndarray, "4 4"], image: Image.Image | None) -> Surface:
    colors, opacity = _corner_colors(mesh)  # (f, 3, 3), (f,)
    corner_normals = _corner_normals(mesh)  # (f, 3, 3)
    uv = getattr(mesh.visual, "uv", None) if image is not None else None
    columns = [np.asarray(mesh.vertices, np.float32)[mesh.faces], corner_normals, colors]
    if uv is not None and image is not None:
        columns.append(np.asarray(uv, np.float32)[mesh.faces])
    corners = np.concatenate(columns, axis=-1)
    alpha = None if image is None else alpha_map(image, getattr(mesh.visual, "material", None))
    if alpha is not None:
        corners, coverage, parents = split_cutouts(corners, alpha)
        opacity = opacity[parents] * coverage
    unique, index = _unique_rows(corners.reshape(-1, corners.shape[-1]))
    linear = transform[:3, :3]
    vertices = unique[:, :3] @ linear.T + transform[:3, 3]
    # np.linalg.inv would fail on a flattened object; the cofactors are the same up to scale.
    normals = unique[:, 3:6] @ _cofactors(linear).T
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-20)
    return Surface(
        vertices.astype(np.float32),
        index.reshape(-1, 3).astype(np.uint32),
        normals.astype(np.float32),
        np.ascontiguousarray(unique[:, 6:9]),
        np.full(len(unique), _roughness(mesh), np.float32),
        opacity.astype(np.float32),
        unique[:, 9:11] if uv is not None else None,
    )


def _merge(parts: list[Surface], texture: Float[ndarray, "h w 3"] | None) -> Surface:
    starts = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])])
    return Surface(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + np.uint32(s) for p, s in zip(parts, starts, strict=True)]),
        np.concatenate([p.normals for p in parts]),
        np.concatenate([p.colors for p in parts]),
        np.concatenate([p.roughness for p in parts]),
        np.concatenate([p.opacity for p in parts]),
        None if texture is None else np.concatenate([p.uv for p in parts if p.uv is not None]),
        texture,
    )


# --- colours ---------------------------------------------------------------------------------


def _corner_colors(mesh: trimesh.Trimesh) -> tuple[Float[ndarray, "f 3 3"], Float[ndarray, "f"]]:
    """Linear colours of every face corner, and opacity of every face, without the texture."""
    visual: Any = mesh.visual
    count = len(mesh.faces)
    material = getattr(visual, "material", None)
    if material is None:
        if visual.kind == "face":
            rgba = np.repeat(visual.face_colors[:, None], 3, axis=1) / 255
        elif visual.kind == "vertex":
            rgba = visual.vertex_colors[mesh.faces] / 255
        else:
            return np.full((count, 3, 3), UNPAINTED, np.float32), np.ones(count, np.float32)
        return srgb_to_linear(rgba[..., :3]), rgba[..., 3].mean(axis=1)
    factor = _material_color(material)
    colors = np.broadcast_to(factor[:3], (count, 3, 3)).astype(np.float32)
    vertex_colors = visual.vertex_attributes.get("color") if hasattr(visual, "vertex_attributes") else None
    if vertex_colors is not None and len(vertex_colors) == len(mesh.vertices):
        colors = colors * _as_float(vertex_colors)[mesh.faces][..., :3]  # linear by glTF's rule
    return colors, np.full(count, factor[3], np.float32)


def _material_color(material: Any) -> Float[ndarray, "4"]:
    """Linear RGBA of a PBR material (stored linear) or of a simple one (stored as displayed)."""
    if hasattr(material, "baseColorFactor"):
        factor = material.baseColorFactor
        rgba = np.ones(4, np.float32) if factor is None else _as_float(factor)
        return np.append(rgba[:3], 1.0) if material.alphaMode in (None, "OPAQUE") else rgba
    if material.image is not None:  # OBJ files often leave Kd black beside a texture
        return np.ones(4, np.float32)
    rgba = _as_float(material.main_color)
    return np.append(srgb_to_linear(rgba[:3]), rgba[3])


def _as_float(values: ndarray) -> Float[ndarray, "..."]:
    values = np.asarray(values)
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) / np.iinfo(values.dtype).max
    return values.astype(np.float32)


def _base_image(mesh: trimesh.Trimesh) -> Image.Image | None:
    material = getattr(mesh.visual, "material", None)
    if material is None or getattr(mesh.visual, "uv", None) is None:
        return None
    return material.baseColorTexture if hasattr(material, "baseColorTexture") else material.image


def _roughness(mesh: trimesh.Trimesh) -> float:
    value = getattr(getattr(mesh.visual, "material", None), "roughnessFactor", None)
    return DEFAULT_ROUGHNESS if value is None else float(value)


def _linear_texture(image: Image.Image, size: int) -> Float[ndarray, "h w 3"]:
    image = image.convert("RGB")
    scale = size / max(image.size)
    if scale < 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size])
    return srgb_to_linear(np.asarray(image) / np.float32(255))


# --- normals ---------------------------------------------------------------------------------


def _corner_normals(mesh: trimesh.Trimesh) -> Float[ndarray, "f 3 3"]:
    """The file's own normals, or smooth ones between creases where it has none."""
    if "vertex_normals" in mesh._cache.cache:  # trimesh's exporters ask so, too: nothing public tells
        return np.asarray(mesh.vertex_normals, np.float32)[mesh.faces]
    return _creased_normals(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces))


def _creased_normals(vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "f 3 3"]:
    """Area-weighted vertex normals over patches of faces that meet at less than `CREASE_ANGLE`."""
    import trimesh
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    # Vertices are joined by position: texture seams and triangle soups split them.
    _, joined = _unique_rows(vertices.astype(np.float32))
    welded = joined[faces]
    triangles = vertices[faces]
    areas = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])  # (f, 3)
    unit = areas / np.maximum(np.linalg.norm(areas, axis=-1, keepdims=True), 1e-30)
    pairs = np.asarray(trimesh.graph.face_adjacency(welded)).reshape(-1, 2)
    smooth = pairs[np.einsum("pc,pc->p", unit[pairs[:, 0]], unit[pairs[:, 1]]) > np.cos(CREASE_ANGLE)]
    links = coo_matrix((np.ones(len(smooth)), (smooth[:, 0], smooth[:, 1])), shape=(len(faces),) * 2)
    _, patches = connected_components(links, directed=False)
    _, shared = _unique_rows(
        np.stack([welded, np.broadcast_to(patches[:, None], welded.shape)], -1).reshape(-1, 2)
    )
    sums = np.zeros((shared.max() + 1, 3))
    np.add.at(sums, shared, np.repeat(areas, 3, axis=0))
    normals = sums[shared] / np.maximum(np.linalg.norm(sums[shared], axis=-1, keepdims=True), 1e-30)
    return normals.reshape(-1, 3, 3).astype(np.float32)


def _unique_rows(rows: ndarray) -> tuple[ndarray, Int[ndarray, "n"]]:
    """Distinct rows, and the distinct row that each row equals. Much faster than `np.unique(axis=0)`."""
    rows = np.ascontiguousarray(rows + 0.0)  # -0.0 becomes 0.0, so that bytes compare as values
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return rows[first], index.ravel()


def _cofactors(matrix: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
    a, b, c = matrix
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
