"""Variants of meshes: stretched, tapered and repainted, so that few models become many objects.

What stands in front stays in front, and what was symmetric stays so.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from sparsegen.data.meshes import MeshFile
from sparsegen.data.surfaces import linear_to_srgb, srgb_to_linear

if TYPE_CHECKING:
    import trimesh

    from sparsegen.data.render import Light

_STRETCH = ((0.85, 1.2), (0.9, 1.12), (0.85, 1.2))  # along x, y, z
_TAPER = 0.18  # how much narrower or wider the top gets, and lower or higher the back
_SHIFT = 0.025  # of the length: how far the middles of the front and the rear half move
_AS_LIT = 3  # one in so many stands in the studio's own light
_GREY, _BRIGHT = 56, 107  # below such a saturation and above such a value, of 255, is what a tint colors


@dataclass(frozen=True)
class Variant:
    """One of a mesh's variants as a subject of rendering. Number 0 has the mesh's own shape and paint."""

    mesh: MeshFile
    number: int
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.mesh.name}-{self.number}"

    def scene(self) -> trimesh.Scene:
        scene = self.mesh.scene()
        return varied(scene, self._rng("shape")) if self.number else scene

    def lights(self) -> tuple[Light, ...]:
        from sparsegen.data.render import draw_lights

        return draw_lights(self._rng("lights")) if self.number % _AS_LIT else self.mesh.lights()

    def _rng(self, purpose: str) -> np.random.Generator:
        words = f"{self.mesh.name} {purpose}".encode()
        return np.random.default_rng([self.seed, self.number, zlib.crc32(words)])


def variants(meshes: Sequence[MeshFile], count: int, seed: int = 0) -> list[Variant]:
    """`count` variants of every mesh; a mesh keeps its own when others are added."""
    return [Variant(mesh, number, seed) for mesh in meshes for number in range(count)]


def varied(scene: trimesh.Scene, rng: np.random.Generator) -> trimesh.Scene:
    """A copy of a scene, +Z up with its front at +X, of another shape and in other colors."""
    import trimesh

    placed = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            placed.append((mesh, trimesh.transform_points(mesh.vertices, transform)))
    shape = _Shape.drawn(np.concatenate([points for _, points in placed]), rng)
    paint = _Paint.drawn(rng)
    materials: dict[int, Any] = {}  # one new material for each, so that textures stay shared
    result = trimesh.Scene()
    for mesh, points in placed:
        visual = _repainted_visual(mesh.visual, paint, materials)
        result.add_geometry(trimesh.Trimesh(shape.bent(points), mesh.faces, visual=visual, process=False))
    return result


@dataclass(frozen=True)
class _Shape:
    """A smooth change of places, and symmetric in y about the middle of the bounds."""

    low: Float[ndarray, "3"]
    size: Float[ndarray, "3"]
    stretch: Float[ndarray, "3"]
    taper_top: float
    taper_back: float
    shift: float

    @staticmethod
    def drawn(points: Float[ndarray, "n 3"], rng: np.random.Generator) -> _Shape:
        low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
        top, back = rng.uniform(-_TAPER, _TAPER, 2)
        stretch = np.array([rng.uniform(*span) for span in _STRETCH])
        return _Shape(low, size, stretch, top, back, rng.uniform(-_SHIFT, _SHIFT))

    def bent(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        x, y, z = np.moveaxis((points - self.low) / self.size, -1, 0)  # in [0, 1]
        along = x + self.shift * np.sin(2 * np.pi * x)
        across = (y - 0.5) * (1 + self.taper_top * (z - 0.5))
        height = z * (1 + self.taper_back * (x - 0.5))
        return np.stack([along, across, height], axis=-1) * self.size * self.stretch


@dataclass(frozen=True)
class _Paint:
    """A change of displayed colors: hue turned, saturation and brightness scaled, bright greys tinted."""

    hue: int  # of 256
    saturation: float
    gain: float
    tint: Float[ndarray, "3"]

    @staticmethod
    def drawn(rng: np.random.Generator) -> _Paint:
        hue = int(rng.integers(256)) if rng.random() < 0.75 else 0
        gain = float(np.exp(rng.uniform(np.log(0.8), np.log(1.5))))
        tint = np.ones(3)
        if rng.random() < 0.5:
            tint = rng.uniform(0.35, 1) * np.array(
                colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.9), 1)
            )
        return _Paint(hue, rng.uniform(0.5, 1.3), gain, tint)

    def over(self, rgb: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
        hsv = np.array(Image.fromarray(rgb).convert("HSV")).astype(np.int32)
        grey = (hsv[..., 1] < _GREY) & (hsv[..., 2] > _BRIGHT)
        hsv[..., 0] = (hsv[..., 0] + self.hue) % 256
        hsv[..., 1] = np.minimum(hsv[..., 1] * self.saturation, 255)
        turned = np.array(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")) * self.gain
        turned[grey] *= self.tint
        return np.clip(turned.round(), 0, 255).astype(np.uint8)


def _repainted_visual(visual: Any, paint: _Paint, materials: dict[int, Any]) -> Any:
    from trimesh.visual import TextureVisuals

    material = getattr(visual, "material", None)
    if material is not None:
        if id(material) not in materials:
            materials[id(material)] = _repainted(material, paint)
        painted = TextureVisuals(uv=visual.uv, material=materials[id(material)])
        for name, values in visual.vertex_attributes.items():
            painted.vertex_attributes[name] = values
        return painted
    painted = visual.copy()
    if visual.kind in ("vertex", "face"):
        rgba = np.array(getattr(visual, f"{visual.kind}_colors"))
        rgba[:, :3] = paint.over(rgba[None, :, :3])[0]
        setattr(painted, f"{visual.kind}_colors", rgba)
    return painted


def _repainted(material: Any, paint: _Paint) -> Any:
    """A copy of a PBR or simple material: its texture repainted, or its color where it has none."""
    material = material.copy()
    physical = hasattr(material, "baseColorFactor")
    texture, color = ("baseColorTexture", "baseColorFactor") if physical else ("image", "diffuse")
    image = getattr(material, texture)
    if image is not None:
        rgba = np.array(image.convert("RGBA"))
        rgba[..., :3] = paint.over(rgba[..., :3])
        setattr(material, texture, Image.fromarray(rgba if image.mode != "RGB" else rgba[..., :3].copy()))
    elif (factor := getattr(material, color)) is not None:
        rgba = np.array(factor, np.float64) / (
            255 if np.issubdtype(np.asarray(factor).dtype, np.integer) else 1
        )
        shown = linear_to_srgb(rgba[:3]) if physical else rgba[:3]
        painted = paint.over(np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8)[None, None])[0, 0] / 255
        rgba[:3] = srgb_to_linear(painted) if physical else painted
        setattr(material, color, np.round(rgba * 255).astype(np.uint8))
    return material
