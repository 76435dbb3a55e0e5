"""An endless family of cars: every seed is a different car, the same seed always the same one."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from sparsegen.data.procedural.body import make_body
from sparsegen.data.procedural.details import (
    make_arches,
    make_blade,
    make_cargo,
    make_cockpit,
    make_flanks,
    make_mirrors,
    make_mudguards,
    make_roof,
    make_stripes,
    make_wing,
)
from sparsegen.data.procedural.ends import make_front, make_rear
from sparsegen.data.procedural.faces import draw_second, make_face, vary_finish, vary_shape
from sparsegen.data.procedural.formula import draw_formula, make_formula
from sparsegen.data.procedural.glass import door_seams, draw_panes, make_glass
from sparsegen.data.procedural.heavy import make_heavy
from sparsegen.data.procedural.livery import Sheet, draw_livery, make_race_wing, two_tone, wear
from sparsegen.data.procedural.meshing import Mesh, Parts, join
from sparsegen.data.procedural.paint import Finish, draw_finish
from sparsegen.data.procedural.styles import HEAVY, KINDS, SHARES, STYLES, Kind, draw_shape, lowered
from sparsegen.data.procedural.wheels import make_wheels
from sparsegen.data.surfaces import linear_to_srgb
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh

__all__ = ["KINDS", "STYLES", "Kind", "make_car"]

Extents = tuple[float, float, float]  # length, width, height
_DRESSED: dict[Kind, float] = {"unusual": 0.5, "heavy": 0.5, "varied": 0.15}  # shares in a livery


def make_car(seed: int, style: str | None = None, kind: Kind = "everyday") -> "trimesh.Scene":
    """Builds the car of a seed.

    Args:
        seed: any non-negative integer; every parameter is drawn from it.
        style: one of STYLES, or None to draw it as well.
        kind: `racing`: a lower and wider car, more often a sports car or a coupe, with a livery over its
            whole body, and on most cars a wing on struts. `unusual`: a body that everyday cars do not have:
            round between mudguards, with an open cockpit, a stock car's, a lorry's, or a single-seater's
            with open wheels; half of them in a livery. `heavy`: a cab-over lorry, a fire engine, a bus, a
            coach or a minibus, half of them in a livery. `varied`: an everyday body or an open car whose
            lamps, grille, bumpers, rims and paints vary, on half of the sedans and coupes with a boot as
            long as the bonnet; a few in a livery, a few in two colors.

    Returns:
        A trimesh.Scene in metres, +X forward, +Z up, wheels on z = 0: one geometry per material, named by
        what it is (`paint`, `cabin`, `glass`, `tyre`, ...), each with a PBRMaterial whose baseColorFactor is
        linear as in glTF. Vertices are shared where the surface is smooth and split along creases.

    Raises:
        InputError: the style or the kind is unknown, or the seed is negative.
    """
    if style is not None and style not in STYLES:
        raise InputError(f"style: expected one of {', '.join(STYLES)}; found {style!r}; choose one of them")
    if kind not in KINDS:
        raise InputError(f"kind: expected one of {', '.join(KINDS)}; found {kind!r}; choose one of them")
    if seed < 0:
        raise InputError(f"seed: expected an integer of at least 0; found {seed}; choose another seed")
    rng = np.random.default_rng(seed)
    drawn = STYLES[rng.choice(len(STYLES), p=SHARES[kind])]
    style = style or drawn
    build = _build_formula if style == "formula" else _build_heavy if style in HEAVY else _build
    parts, finish, extents = build(style, rng, kind)
    joined = {name: join(meshes) for name, meshes in parts.items() if sum(len(m.faces) for m in meshes)}
    scene = _scene(joined, finish)
    sheet = _draw_sheet(kind, finish["paint"], rng)
    if sheet is not None:
        _dress(scene, extents, finish["paint"], sheet)
    return scene


def _build(style: str, rng: np.random.Generator, kind: Kind) -> tuple[Parts, dict[str, Finish], Extents]:
    shape = draw_shape(style, rng)
    if kind == "racing":
        shape = lowered(shape, rng)
    if kind == "varied":
        shape = vary_shape(shape, rng)
    finish, striped = draw_finish(style, rng)
    if kind == "varied":
        finish = vary_finish(finish, rng)
    body = make_body(shape)
    panes = draw_panes(shape, rng)
    parts: Parts = defaultdict(list)
    parts["paint"].append(body.lower)
    if style != "roadster":
        parts["cabin"].append(body.cabin)
    parts["under"].append(body.under)
    if body.hollow is not None:
        parts["under"].append(body.hollow)
    make_glass(shape, body, panes, parts, rng)
    make_flanks(shape, body, parts, rng, door_seams(shape, panes))
    if shape.fender:
        make_mudguards(shape, parts)
    else:
        make_arches(shape, parts, rng)
    if kind == "varied":
        make_face(shape, body, parts, rng)
    else:
        make_front(shape, body, parts, rng)
        make_rear(shape, body, parts, rng)
    make_mirrors(shape, parts, rng)
    make_roof(shape, body, parts, rng)
    make_wing(shape, parts, rng)
    if striped and style != "roadster":
        make_stripes(shape, body, parts, rng)
    for name, mesh in make_wheels(shape, rng).items():
        parts[name].append(mesh)
    if kind == "racing" and rng.random() < 0.6:
        make_race_wing(shape, parts, rng)
    if style == "stock" and rng.random() < 0.5:  # lamps are painted on, if at all
        for name in ("head_lamp", "tail_lamp", "plate", "chrome"):
            parts.pop(name, None)
    if style in _EXTRAS:
        _EXTRAS[style](shape, parts, rng)
    return parts, finish, (shape.length, shape.width + 2 * shape.fender, shape.height)


def _build_heavy(
    style: str, rng: np.random.Generator, kind: Kind
) -> tuple[Parts, dict[str, Finish], Extents]:
    return make_heavy(style, rng)


_EXTRAS = {"roadster": make_cockpit, "lorry": make_cargo, "stock": make_blade}


def _build_formula(
    style: str, rng: np.random.Generator, kind: Kind
) -> tuple[Parts, dict[str, Finish], Extents]:
    shape = draw_formula(rng)
    finish, _ = draw_finish("sports", rng)
    return make_formula(shape, rng), finish, (shape.length, shape.width, shape.height)


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


def _draw_sheet(kind: Kind, paint: Finish, rng: np.random.Generator) -> Sheet | None:
    """What a car wears on its paint: a livery, a second color, or nothing."""
    if kind == "racing" or (kind in _DRESSED and rng.random() < _DRESSED[kind]):
        return draw_livery(linear_to_srgb(paint.colour), rng)
    if kind == "varied" and rng.random() < 0.2:
        second = draw_second(paint.colour, rng)
        return two_tone(linear_to_srgb(paint.colour), linear_to_srgb(second), rng.uniform(0.28, 0.5))
    return None


def _dress(scene: "trimesh.Scene", extents: Extents, paint: Finish, sheet: Sheet) -> None:
    """Puts one sheet over all that is painted."""
    import trimesh
    from PIL import Image
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    picture = Image.fromarray(sheet)
    for name in {"paint", "cabin"} & set(scene.geometry):
        mesh = scene.geometry[name]
        worn, uv = wear(Mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces)), extents)
        material = PBRMaterial(
            name=name, baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=paint.roughness
        )
        scene.geometry[name] = trimesh.Trimesh(
            worn.vertices, worn.faces, process=False, visual=TextureVisuals(uv=uv, material=material)
        )
