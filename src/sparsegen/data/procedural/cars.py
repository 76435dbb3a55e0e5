"""An endless family of cars: every seed is a different car, the same seed always the same one."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from sparsegen.data.procedural.body import make_body
from sparsegen.data.procedural.details import (
    make_arches,
    make_flanks,
    make_mirrors,
    make_roof,
    make_stripes,
    make_wing,
)
from sparsegen.data.procedural.ends import make_front, make_rear
from sparsegen.data.procedural.glass import door_seams, draw_panes, make_glass
from sparsegen.data.procedural.livery import draw_livery, make_race_wing, wear
from sparsegen.data.procedural.meshing import Mesh, Parts, join
from sparsegen.data.procedural.paint import Finish, draw_finish
from sparsegen.data.procedural.styles import RACING_SHARES, STYLE_SHARES, STYLES, Shape, draw_shape, lowered
from sparsegen.data.procedural.wheels import make_wheels
from sparsegen.data.surfaces import linear_to_srgb
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh

__all__ = ["STYLES", "make_car"]


def make_car(seed: int, style: str | None = None, racing: bool = False) -> "trimesh.Scene":
    """Builds the car of a seed.

    Args:
        seed: any non-negative integer; every parameter is drawn from it.
        style: one of STYLES, or None to draw it as well.
        racing: a lower and wider car, more often a sports car or a coupe, with a livery over its whole body,
            and on most cars a wing on struts.

    Returns:
        A trimesh.Scene in metres, +X forward, +Z up, wheels on z = 0: one geometry per material, named by
        what it is (`paint`, `cabin`, `glass`, `tyre`, ...), each with a PBRMaterial whose baseColorFactor is
        linear as in glTF. Vertices are shared where the surface is smooth and split along creases.

    Raises:
        InputError: the style is unknown or the seed is negative.
    """
    if style is not None and style not in STYLES:
        raise InputError(f"style: expected one of {', '.join(STYLES)}; found {style!r}; choose one of them")
    if seed < 0:
        raise InputError(f"seed: expected an integer of at least 0; found {seed}; choose another seed")
    rng = np.random.default_rng(seed)
    drawn = STYLES[rng.choice(len(STYLES), p=RACING_SHARES if racing else STYLE_SHARES)]
    parts, finish, shape = _build(style or drawn, rng, racing)
    scene = _scene(parts, finish)
    if racing:
        _dress(scene, shape, finish["paint"], rng)
    return scene


def _build(
    style: str, rng: np.random.Generator, racing: bool
) -> tuple[dict[str, Mesh], dict[str, Finish], Shape]:
    shape = draw_shape(style, rng)
    if racing:
        shape = lowered(shape, rng)
    finish, striped = draw_finish(style, rng)
    body = make_body(shape)
    panes = draw_panes(shape, rng)
    parts: Parts = defaultdict(list)
    parts["paint"].append(body.lower)
    parts["cabin"].append(body.cabin)
    parts["under"].append(body.under)
    if body.bed is not None:
        parts["under"].append(body.bed)
    make_glass(shape, body, panes, parts, rng)
    make_flanks(shape, body, parts, rng, door_seams(shape, panes))
    make_arches(shape, parts, rng)
    make_front(shape, body, parts, rng)
    make_rear(shape, body, parts, rng)
    make_mirrors(shape, parts, rng)
    make_roof(shape, body, parts, rng)
    make_wing(shape, parts, rng)
    if striped:
        make_stripes(shape, body, parts, rng)
    for name, mesh in make_wheels(shape, rng).items():
        parts[name].append(mesh)
    if racing and rng.random() < 0.6:
        make_race_wing(shape, parts, rng)
    joined = {name: join(meshes) for name, meshes in parts.items() if sum(len(m.faces) for m in meshes)}
    return joined, finish, shape


def _scene(parts: dict[str, Mesh], finish: dict[str, Finish]) -> "trimesh.Scene":
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    scene = trimesh.Scene()
    for name in sorted(parts):
        colour, metallic, roughness = finish[name]
        material = PBRMaterial(
            name=name,
            baseColorFactor=[*(float(c) for c in colour), 1.0],
            metallicFactor=metallic,
            roughnessFactor=roughness,
        )
        mesh = parts[name]
        scene.add_geometry(
            trimesh.Trimesh(
                mesh.vertices, mesh.faces, process=False, visual=TextureVisuals(material=material)
            ),
            geom_name=name,
            node_name=name,
        )
    return scene


def _dress(scene: "trimesh.Scene", shape: Shape, paint: Finish, rng: np.random.Generator) -> None:
    """Puts one livery over all that is painted."""
    import trimesh
    from PIL import Image
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    sheet = Image.fromarray(draw_livery(linear_to_srgb(paint.colour), rng))
    for name in ("paint", "cabin"):
        mesh = scene.geometry[name]
        worn, uv = wear(Mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces)), shape)
        material = PBRMaterial(
            name=name, baseColorTexture=sheet, metallicFactor=0.0, roughnessFactor=paint.roughness
        )
        scene.geometry[name] = trimesh.Trimesh(
            worn.vertices, worn.faces, process=False, visual=TextureVisuals(uv=uv, material=material)
        )
