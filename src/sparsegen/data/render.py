"""Pictures of meshes without sampling noise, rendered with Mitsuba 3.

Each light is a direction (a delta light), so that one shadow ray finds all of its light; every light
is a pass of its own, and passes are summed in linear light. What is left of Monte Carlo is the jitter
of the four rays in a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from sparsegen.cameras import Cameras
from sparsegen.data.surfaces import Surface, linear_to_srgb, surfaces
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True)
class Light:
    """Parallel light: the direction in which it travels in the world, and its irradiance."""

    direction: tuple[float, float, float]
    irradiance: float


# A studio, the same on both sides of a car (the plane y = 0): a high light from the front, one from each
# side, lower ones from the front and from behind.
LIGHTS = (
    Light((-0.4, 0.0, -1.0), 1.45),
    Light((-0.1, -0.9, -0.45), 0.85),
    Light((-0.1, 0.9, -0.45), 0.85),
    Light((-0.9, 0.0, -0.25), 0.6),
    Light((0.9, 0.0, -0.3), 0.7),
)
# Of light of an object's own: how much every lamp may differ, and how far it may be moved.
_LIGHT_FACTORS = (0.3, 1.7)
_LIGHT_SHIFT = 0.35
# Highlights that move with the camera cannot be fitted by Gaussians of one colour: paint is kept dull.
MIN_ROUGHNESS = 0.4
SPECULAR = 0.2
NEAR = 1e-3
BLOCK_SIZE = 32  # pixels on a side that one thread renders at a time
SAMPLES = 4  # rays in a pixel, for each light


def draw_lights(rng: np.random.Generator) -> tuple[Light, ...]:
    """The studio with every lamp moved, brighter or darker, no longer the same on both sides of an object;
    together the lamps give about as much light as before."""
    factors = rng.uniform(*_LIGHT_FACTORS, len(LIGHTS))
    given = sum(light.irradiance for light in LIGHTS)
    factors *= rng.uniform(0.8, 1.15) * given / float(np.dot(factors, [light.irradiance for light in LIGHTS]))
    lights = []
    for light, factor in zip(LIGHTS, factors.tolist(), strict=True):
        x, y, z = (np.array(light.direction) + rng.normal(0, _LIGHT_SHIFT, 3)).tolist()
        lights.append(Light((x, y, min(z, -0.1)), factor * light.irradiance))
    return tuple(lights)


def normalize(scene: trimesh.Scene) -> trimesh.Scene:
    """The scene with its bounding-box centre at the origin and a bounding-box diagonal of one."""
    bounds = scene.bounds
    if bounds is None or not np.isfinite(bounds).all():
        raise InputError("the scene has no finite extent; expected a mesh with faces")
    diagonal = float(np.linalg.norm(bounds[1] - bounds[0]))
    if diagonal <= 0:
        raise InputError("all vertices of the scene lie in one point; expected a mesh with some extent")
    transform = np.eye(4)
    transform[:3, :3] /= diagonal
    transform[:3, 3] = -bounds.mean(axis=0) / diagonal
    # Not scene.copy(): it would copy a texture for each mesh that wears it.
    normalized = type(scene)()
    normalized.geometry.update(scene.geometry)
    normalized.graph = scene.graph.copy()
    normalized.apply_transform(transform)
    return normalized


def render_views(
    scene: trimesh.Scene, cameras: Cameras, samples: int = SAMPLES, lights: tuple[Light, ...] = LIGHTS
) -> UInt8[ndarray, "v h w 4"]:
    """RGBA pictures of a scene, displayed (sRGB) colours with straight alpha, white where alpha is 0.

    `cameras` has batch shape (V,). Materials are shown by base colour with a mild gloss; metals too.
    Raises `InputError` if the scene has no faces or Mitsuba is not installed.
    """
    parts = surfaces(scene, texture_size=4 * max(cameras.width, cameras.height))
    if not parts:
        raise InputError("the scene has no faces to render")
    points = np.concatenate([part.vertices for part in parts])
    total = np.zeros((len(cameras), cameras.height, cameras.width, 4), np.float32)
    for share, visible in _opacity_levels(parts):
        shapes = [_shape(part, keep) for part, keep in zip(parts, visible, strict=True) if keep.any()]
        if shapes:
            total += share * _render_lights(shapes, points, cameras, samples, lights)
    return _displayed(total)


def render_depths(scene: trimesh.Scene, cameras: Cameras) -> Float[ndarray, "v h w"]:
    """Depth (view-space z) of the nearest surface at the centre of every pixel; 0 where there is none.

    `cameras` has batch shape (V,). Faces with an opacity under one half are looked through. Raises
    `InputError` if the scene has no faces or Mitsuba is not installed.
    """
    mi = _mitsuba()
    parts = surfaces(scene, texture_size=1)
    solid = [(part, part.opacity >= 0.5) for part in parts]
    shapes = [_shape(part, keep) for part, keep in solid if keep.any()]
    if not shapes:
        raise InputError("the scene has no solid faces to measure depth to")
    integrator = {"type": "aov", "aovs": "where:position,ray:depth"}
    world = mi.load_dict(
        {"type": "scene", "integrator": integrator, **{f"shape{i}": s for i, s in enumerate(shapes)}}
    )
    centers = {"type": "stratified", "sample_count": 1, "jitter": False}
    depths = np.zeros((len(cameras), cameras.height, cameras.width), np.float32)
    for i in range(len(cameras)):
        sensor = _sensor(cameras[i], (0, 0, cameras.width, cameras.height), centers)
        *_, x, y, z, ray = np.moveaxis(np.array(mi.render(world, sensor=sensor, spp=1)), -1, 0)
        row = cameras[i].viewmats[2].numpy()
        depths[i] = np.where(ray > 0, row[0] * x + row[1] * y + row[2] * z + row[3], 0)
    return depths


def _opacity_levels(parts: list[Surface]) -> list[tuple[float, list[ndarray]]]:
    """Shares of a picture, and the faces of each part that are there in it.

    A face of opacity a is left out of a share 1 - a of the picture: blending without noise. Opacity is
    rounded to quarters, so there are at most four shares.
    """
    rounded = [np.round(part.opacity * 4) / 4 for part in parts]
    levels = np.unique(np.concatenate([*rounded, np.ones(1)]))
    levels = levels[levels > 0]
    shares = np.diff(levels, prepend=0)
    return [(float(s), [r >= level for r in rounded]) for s, level in zip(shares, levels, strict=True)]


def _render_lights(
    shapes: list[Any],
    points: Float[ndarray, "n 3"],
    cameras: Cameras,
    samples: int,
    lights: tuple[Light, ...],
) -> Float[ndarray, "v h w 4"]:
    """Premultiplied linear light and coverage, summed over the lights."""
    mi = _mitsuba()
    scene = mi.load_dict(
        {
            "type": "scene",
            # Left to Mitsuba, blocks shrink with the number of threads, and blocks seed the rays.
            "integrator": {
                "type": "direct",
                "emitter_samples": 1,
                "bsdf_samples": 0,
                "block_size": BLOCK_SIZE,
            },
            "light": {"type": "directional", "irradiance": {"type": "rgb", "value": 1.0}},
            **{f"shape{i}": shape for i, shape in enumerate(shapes)},
        }
    )
    parameters = mi.traverse(scene)
    windows = [_window(cameras[i], points) for i in range(len(cameras))]
    sampler = {"type": "multijitter", "sample_count": samples}
    sensors = [_sensor(cameras[i], window, sampler) for i, window in enumerate(windows)]
    total = np.zeros((len(cameras), cameras.height, cameras.width, 4), np.float32)
    for number, light in enumerate(lights):
        parameters["light.to_world"] = _towards(light.direction)
        parameters.update()
        for i, (sensor, (left, top, right, bottom)) in enumerate(zip(sensors, windows, strict=True)):
            # Other rays for every light: together they give smoother edges than the same rays again.
            seed = i * len(lights) + number
            picture = np.array(mi.render(scene, sensor=sensor, seed=seed, spp=samples))
            total[i, top:bottom, left:right, :3] += light.irradiance * picture[..., :3]
            total[i, top:bottom, left:right, 3] += picture[..., 3] / len(lights)
    return total


def _window(camera: Cameras, points: Float[ndarray, "n 3"]) -> tuple[int, int, int, int]:
    """The pixels (left, top, right, bottom) that all points project into: rays elsewhere would miss.

    Always at least one pixel; the whole picture if a point is not in front of the camera.
    """
    viewmat, K = camera.viewmats.numpy(), camera.Ks.numpy()
    local = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    if local[:, 2].min() <= NEAR:
        return 0, 0, camera.width, camera.height
    pixels = local[:, :2] / local[:, 2:] * K.diagonal()[:2] + K[:2, 2]
    size = np.array([camera.width, camera.height])
    low = np.clip(np.floor(pixels.min(axis=0)), 0, size - 1).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)), low + 1, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _displayed(linear: Float[ndarray, "v h w 4"]) -> UInt8[ndarray, "v h w 4"]:
    """Premultiplied linear light to straight sRGB bytes."""
    alpha = np.clip(linear[..., 3:], 0, 1)
    color = np.clip(linear[..., :3] / np.maximum(alpha, 1e-6), 0, 1)
    color = np.where(alpha > 0, linear_to_srgb(color), 1)
    return np.round(np.concatenate([color, alpha], axis=-1) * 255).astype(np.uint8)


# --- Mitsuba ---------------------------------------------------------------------------------


@cache
def _mitsuba() -> Any:
    """Mitsuba with its scalar variant: the only one that needs neither LLVM nor CUDA."""
    try:
        import mitsuba
    except ImportError:
        raise InputError(
            "rendering needs Mitsuba, which is not installed: pip install 'sparsegen[data]'"
        ) from None
    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    return mitsuba


def _towards(direction: tuple[float, float, float]) -> Any:
    """The transform that turns Mitsuba's directional light, which travels along +z, to a direction."""
    mi = _mitsuba()
    side = [0.0, 0.0, 1.0] if abs(direction[2]) < 0.99 * math.hypot(*direction) else [1.0, 0.0, 0.0]
    return mi.ScalarTransform4f().look_at(origin=[0.0, 0.0, 0.0], target=list(direction), up=side)


def use_threads(count: int) -> None:
    """How many threads this process renders with."""
    _mitsuba()
    import drjit

    drjit.set_thread_count(count)


def _sensor(camera: Cameras, window: tuple[int, int, int, int], sampler: dict[str, Any]) -> Any:
    """A Mitsuba sensor for one camera (batch shape ()) that renders only the pixels of `window`."""
    mi = _mitsuba()
    K = camera.Ks.double().numpy()
    if not math.isclose(K[0, 0], K[1, 1], rel_tol=1e-4):
        raise InputError(
            f"cameras with fx = {K[0, 0]:g} and fy = {K[1, 1]:g} cannot be rendered: pixels must be square"
        )
    # Mitsuba's camera axes: x left, y up, z forward.
    to_world = camera.camera_to_world.double().numpy() * np.array([-1.0, -1.0, 1.0, 1.0])
    left, top, right, bottom = window
    film = {
        "type": "hdrfilm",
        "width": camera.width,
        "height": camera.height,
        "crop_offset_x": left,
        "crop_offset_y": top,
        "crop_width": right - left,
        "crop_height": bottom - top,
        "pixel_format": "rgba",
        "component_format": "float32",
        "rfilter": {"type": "box"},
    }
    return mi.load_dict(
        {
            "type": "perspective",
            "fov": math.degrees(2 * math.atan(camera.width / (2 * K[0, 0]))),
            "fov_axis": "x",
            "principal_point_offset_x": 0.5 - K[0, 2] / camera.width,
            "principal_point_offset_y": 0.5 - K[1, 2] / camera.height,
            "near_clip": NEAR,
            "far_clip": 1e3,
            "to_world": mi.ScalarTransform4f(to_world),
            "film": film,
            "sampler": sampler,
        }
    )


def _shape(part: Surface, keep: Int[ndarray, "f"]) -> Any:
    """A Mitsuba mesh of some faces of a surface, with colour and roughness as vertex attributes."""
    mi = _mitsuba()
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict({"type": "twosided", "bsdf": _material(part)})
    faces = part.faces[keep]
    mesh = mi.Mesh(
        "surface",
        len(part.vertices),
        len(faces),
        props=properties,
        has_vertex_normals=True,
        has_vertex_texcoords=part.uv is not None,
    )
    mesh.add_attribute("vertex_color", 3, np.ravel(part.colors))
    mesh.add_attribute("vertex_roughness", 1, np.maximum(part.roughness, MIN_ROUGHNESS))
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = np.ravel(part.vertices)
    parameters["vertex_normals"] = np.ravel(part.normals)
    parameters["faces"] = np.ravel(faces)
    if part.uv is not None:
        # To Mitsuba, v = 0 is the first row of a bitmap.
        parameters["vertex_texcoords"] = np.ravel(part.uv * [1, -1] + [0, 1]).astype(np.float32)
    parameters.update()
    return mesh


def _material(part: Surface) -> dict[str, Any]:
    color: dict[str, Any] = {"type": "mesh_attribute", "name": "vertex_color"}
    if part.texture is not None:
        bitmap = _mitsuba().Bitmap(part.texture)
        color = {"type": "bitmap", "bitmap": bitmap, "raw": True}
    return {
        "type": "principled",
        "base_color": color,
        "roughness": {"type": "mesh_attribute", "name": "vertex_roughness"},
        "specular": SPECULAR,
    }
