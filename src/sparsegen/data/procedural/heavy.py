"""Big vehicles with flat faces: cab-over lorries of many trades, fire engines, buses, coaches, minibuses."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sparsegen.data.procedural.meshing import (
    Mesh,
    Parts,
    both_sides,
    drape,
    ellipsoid,
    flip,
    grid_faces,
    revolve,
    ruled,
    split_creases,
    tidy,
    tube,
)
from sparsegen.data.procedural.paint import Finish, draw_finish, draw_paint, linear
from sparsegen.data.procedural.wheels import four, make_wheel

Extents = tuple[float, float, float]  # length, width, height
Profile = tuple[tuple[float, float], ...]  # (z, metres behind the outermost point)


class Hull(NamedTuple):
    """A closed body, and how to lay patches on it."""

    mesh: Mesh
    rear: float  # x
    front: float
    half: float  # half width

    def side(self, start: float, stop: float, low: float, high: float, lift: float = 0.012) -> Mesh:
        """A patch on both sides."""
        x = np.linspace(start, stop, 4)
        grid = ruled(np.stack([x, 0 * x + low], -1), np.stack([x, 0 * x + high], -1), 4)
        origins = np.stack([grid[..., 0], np.full(grid.shape[:2], self.half + 1), grid[..., 1]], -1)
        return both_sides(drape(self.mesh, origins, np.array([0.0, -1.0, 0.0]), lift))

    def end(
        self, sign: float, spot: tuple[float, float], low: float, high: float, lift: float = 0.012
    ) -> Mesh:
        """A patch on the front (sign 1) or the rear, between two y."""
        y = np.linspace(*spot, 9)
        grid = ruled(np.stack([y, 0 * y + low], -1), np.stack([y, 0 * y + high], -1), 7)
        reach = (self.front if sign > 0 else -self.rear) + 1
        origins = np.stack([np.full(grid.shape[:2], sign * reach), grid[..., 0], grid[..., 1]], -1)
        return drape(self.mesh, origins, np.array([-sign, 0.0, 0.0]), lift)

    def disc(self, sign: float, spot: tuple[float, float], radius: float, lift: float = 0.012) -> Mesh:
        """A round patch on the front or the rear."""
        turn = np.linspace(0, 2 * np.pi, 17)
        ring = np.stack([np.cos(turn), np.sin(turn)], -1) * radius
        grid = np.array(spot) + ruled(0.05 * ring, ring, 3)
        reach = (self.front if sign > 0 else -self.rear) + 1
        origins = np.stack([np.full(grid.shape[:2], sign * reach), grid[..., 0], grid[..., 1]], -1)
        return drape(self.mesh, origins, np.array([-sign, 0.0, 0.0]), lift)


def _outline(rear: float, front: float, half: float, radius: float, bow: float) -> np.ndarray:
    """(P, 2) plan of a body, anticlockwise seen from above: rounded corners, a bowed front."""
    turn = np.linspace(0, np.pi / 2, 5)
    inner = half - radius
    corner = radius * np.stack([np.cos(turn), np.sin(turn)], -1)
    left = np.concatenate(
        [
            np.stack([np.full(3, front), np.linspace(0, inner, 3, endpoint=False)], -1),
            corner + np.array([front - radius, inner]),
            np.stack([np.linspace(front - radius, rear + radius, 8)[1:-1], np.full(6, half)], -1),
            corner[::-1] * (-1, 1) + np.array([rear + radius, inner]),
            np.stack([np.full(3, rear), np.linspace(inner, 0, 4)[1:]], -1),
        ]
    )
    left[:, 0] -= bow * (left[:, 1] / half) ** 2 * np.clip((left[:, 0] - front) / 0.5 + 1, 0, 1)
    return np.concatenate([left, left[-2:0:-1] * (1, -1)])


def _hull(
    rear: float,
    front: float,
    half: float,
    low: float,
    high: float,
    *,
    radius: float = 0.08,
    bow: float = 0.0,
    lean: Profile = (),
    back: Profile = (),
    tumble: float = 0.0,
) -> Hull:
    """A body of rounded plans one above the other.

    Args:
        rear, front, half, low, high: its bounds in metres.
        radius: of its vertical corners, and about that of the roof's edge.
        bow: how far the front's corners stand behind its middle.
        lean, back: how far front and rear stand behind their outermost points, by height.
        tumble: how much narrower each side is at the top.
    """
    knots = [z for z, _ in (*lean, *back)]
    edge = 0.8 * radius
    plain = np.concatenate([np.linspace(low + edge / 2, high - edge, 9), knots])
    turn = np.linspace(0, np.pi / 2, 5)[1:]
    levels = [(low, edge / 2)] + [(z, 0.0) for z in np.unique(plain.clip(low + edge / 2, high - edge))]
    levels += [(high - edge * (1 - np.sin(a)), edge * (1 - np.cos(a))) for a in turn]
    rings = []
    for z, inset in levels:
        ahead = float(np.interp(z, *np.array(lean).T)) if lean else 0.0
        behind = float(np.interp(z, *np.array(back).T)) if back else 0.0
        width = half - tumble * np.clip((z - low) / (high - low), 0, 1) ** 2 - inset
        plan = _outline(rear + behind + inset, front - ahead - inset, width, radius, bow)
        rings.append(np.concatenate([plan, np.full((len(plan), 1), z)], -1))
    cap = [
        np.broadcast_to([ring[:, 0].mean(), 0.0, ring[0, 2]], ring.shape) for ring in (rings[0], rings[-1])
    ]
    grid = np.stack([cap[0], *rings, cap[1]])
    faces = grid_faces(len(grid), grid.shape[1], closed=True)
    mesh = split_creases(tidy(Mesh(grid.reshape(-1, 3), faces)), 30)
    return Hull(mesh, rear, front, half)


def _box(rear: float, front: float, half: float, low: float, high: float) -> Mesh:
    plan = np.array([(front, -half), (front, half), (rear, half), (rear, -half)])
    middle = np.full((4, 2), plan.mean(0))
    levels = ((low, middle), (low, plan), (high, plan), (high, middle))
    grid = np.stack([np.concatenate([xy, np.full((4, 1), z)], -1) for z, xy in levels])
    return split_creases(tidy(Mesh(grid.reshape(-1, 3), grid_faces(4, 4, closed=True))))


def _moved(mesh: Mesh, y: float) -> Mesh:
    return Mesh(mesh.vertices + np.array([0, y, 0]), mesh.faces)


def _parted(mesh: Mesh, height: float) -> tuple[Mesh, Mesh]:
    """What lies below and above a height that is one of the body's own."""
    above = mesh.vertices[mesh.faces][..., 2].mean(1) > height
    return tidy(Mesh(mesh.vertices, mesh.faces[~above])), tidy(Mesh(mesh.vertices, mesh.faces[above]))


def make_heavy(style: str, rng: np.random.Generator) -> tuple[Parts, dict[str, Finish], Extents]:
    """The parts, the finish and the bounds of a big vehicle of one style. `paint` and `cabin` are what a
    livery covers."""
    parts: Parts = defaultdict(list)
    finish, _ = draw_finish("bus", rng)
    colours = {
        "paint": draw_paint(rng, 0.6) if rng.random() < 0.6 else linear(np.full(3, rng.uniform(0.75, 0.95))),
        "cabin": draw_paint(rng, 0.4),
    }
    if style == "fire_engine":
        red = linear((rng.uniform(0.6, 0.85), rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.15)))
        colours["paint"] = red if rng.random() < 0.85 else linear((0.82, 0.88, 0.15))
    if style == "garbage" and rng.random() < 0.5:
        colours["cabin"] = linear((rng.uniform(0.8, 0.95), rng.uniform(0.35, 0.6), 0.1))
    if style in ("fire_engine", "minibus") or rng.random() < 0.5:
        colours["cabin"] = colours["paint"]
    for name, colour in colours.items():
        finish[name] = finish[name]._replace(colour=colour)
    finish["beacon"] = Finish(
        linear((0.1, 0.2, 0.8)) if rng.random() < 0.6 else linear((0.9, 0.5, 0.08)), 0.0, 0.3
    )
    finish["glass"] = finish["glass"]._replace(colour=finish["glass"].colour * rng.uniform(0.4, 1.2))
    build = {"city_bus": _city_bus, "coach": _coach, "minibus": _minibus}.get(style)
    extents = build(parts, rng) if build else _lorry(style, parts, rng)
    return parts, finish, extents


# --- lorries -----------------------------------------------------------------------------------


class Chassis(NamedTuple):
    """The measures that a lorry's bodies share: metres, +X forward, +Z up, ground at z = 0."""

    length: float
    half: float  # half width
    cab: float  # x of the cab's rear wall
    cab_height: float
    deck: float  # height of the frame's upper edge
    wheel: float  # tyre radius

    @property
    def rear(self) -> float:
        return -self.length / 2


def _lorry(style: str, parts: Parts, rng: np.random.Generator) -> Extents:
    length, half = rng.uniform(6.0, 9.6), rng.uniform(1.1, 1.27)
    if style == "fire_engine":
        length = rng.uniform(6.8, 8.6)
    wheel = rng.uniform(0.42, 0.52)
    long = rng.uniform(2.4, 3.2) if style == "fire_engine" else rng.uniform(1.55, 2.2)
    c = Chassis(
        length, half, length / 2 - long, rng.uniform(2.5, 3.2), 2 * wheel + rng.uniform(0.06, 0.2), wheel
    )
    rears = 2 if length > 7.6 and rng.random() < 0.7 else 1
    first = c.rear + 0.22 * length * rng.uniform(0.85, 1.1) - (0.6 if rears == 2 else 0.0)
    first = max(first, c.rear + wheel + 0.25)
    axles = [length / 2 - rng.uniform(1.15, 1.4)] + [first + k * 2.3 * wheel for k in range(rears)]
    if rears == 2 and length > 8.4 and rng.random() < 0.4:
        axles.insert(1, axles[0] - 2.3 * wheel * 1.2)
    _cab(style, c, axles[0], parts, rng)
    _frame(c, axles, parts, rng)
    tread = rng.uniform(0.26, 0.32)
    steered = [x for x in axles if x > c.rear + 0.5 * length]
    _wheels(c.wheel, tread, half + 0.02, axles, [x for x in axles if x not in steered], parts, rng)
    top = {"box": _freight, "tank": _tank, "tipper": _tipper, "garbage": _garbage, "fire_engine": _fire}[
        style
    ](c, parts, rng)
    return length, 2 * half, max(top, c.cab_height)


def _wheels(
    radius: float,
    tread: float,
    outer: float,
    axles: list[float],
    dual: list[float],
    parts: Parts,
    rng: np.random.Generator,
) -> None:
    """Wheels whose outsides are at `outer`; `dual` axles have a second tyre on the inside."""
    places = [(x, outer - tread / 2) for x in axles]
    for name, mesh in make_wheel(radius, tread, rng).items():
        parts[name].append(four(mesh, places, radius))
        if name == "tyre" and dual:
            parts[name].append(four(mesh, [(x, outer - 1.6 * tread) for x in dual], radius))


def _arch(hull: Hull, x: float, wheel: float, parts: Parts) -> None:
    """A dark disc behind a wheel that stands flush with the body's side."""
    turn = np.linspace(-0.3, np.pi + 0.3, 25)
    ring = np.stack([x + 1.16 * wheel * np.cos(turn), wheel + 1.16 * wheel * np.sin(turn)], -1)
    grid = ruled(np.array([x, wheel]) + 0.02 * (ring - (x, wheel)), ring, 5)
    origins = np.stack([grid[..., 0], np.full(grid.shape[:2], hull.half + 1), grid[..., 1]], -1)
    parts["well"].append(both_sides(drape(hull.mesh, origins, np.array([0.0, -1.0, 0.0]), 0.008)))


def _lamps(
    hull: Hull, sign: float, y: float, z: float, parts: Parts, rng: np.random.Generator, *, big: float = 1.0
) -> None:
    """A pair of lamps, round or with corners, in a dark surround on some."""
    kind = "head_lamp" if sign > 0 else "tail_lamp"
    wide, high = big * rng.uniform(0.08, 0.2), big * rng.uniform(0.06, 0.16)
    if sign < 0 and rng.random() < 0.6:  # upright
        wide, high = high * 0.7, wide
    if rng.random() < 0.6:
        border = hull.end(sign, (y - wide - 0.04, y + wide + 0.04), z - high - 0.04, z + high + 0.04, 0.009)
        parts["trim"].append(both_sides(border))
    if rng.random() < 0.3:
        radius = min(wide, high, 0.1) * 1.1
        for shift in (0.0, 2.3 * radius) if rng.random() < 0.5 else (0.0,):
            parts[kind].append(both_sides(hull.disc(sign, (y - shift, z), radius, 0.02)))
    else:
        parts[kind].append(both_sides(hull.end(sign, (y - wide, y + wide), z - high, z + high, 0.018)))


def _cab(style: str, c: Chassis, axle: float, parts: Parts, rng: np.random.Generator) -> None:
    front, low = c.length / 2, rng.uniform(0.38, 0.55)
    belt = rng.uniform(1.5, 1.85)
    rake = rng.uniform(0.03, 0.32)
    lean = ((low, 0.04), (low + 0.35, 0.0), (belt, rng.uniform(0.02, 0.08)), (c.cab_height, 0.05 + rake))
    hull = _hull(
        c.cab, front, c.half, low, c.cab_height,
        radius=rng.uniform(0.06, 0.16), bow=rng.uniform(0.02, 0.14), lean=lean, tumble=rng.uniform(0, 0.07),
    )  # fmt: skip
    parts["cabin"].append(hull.mesh)
    _arch(hull, axle, c.wheel, parts)
    head = min(c.cab_height - 0.18, belt + rng.uniform(0.75, 1.0))
    wide = c.half - rng.uniform(0.1, 0.18)
    if rng.random() < 0.4:
        parts["trim"].append(hull.end(1, (-wide - 0.05, wide + 0.05), belt - 0.08, head + 0.05, 0.008))
    parts["glass"].append(hull.end(1, (-wide, wide), belt, head, 0.016))
    side = front - rng.uniform(0.3, 0.42) - 0.3 * rake
    sill = belt + rng.uniform(-0.12, 0.05)
    stop = max(c.cab + 0.2, side - rng.uniform(0.8, 1.1))
    parts["glass"].append(hull.side(stop, side, sill, head - 0.05))
    for x in (side + 0.06, stop - 0.06):
        parts["seam"].append(hull.side(x - 0.01, x + 0.01, low + 0.3, head))
    if style == "fire_engine":
        parts["glass"].append(hull.side(c.cab + 0.25, stop - 0.14, sill, head - 0.05))
        parts["seam"].append(hull.side(c.cab + 0.14, c.cab + 0.16, low + 0.3, head))
    parts["trim"].append(
        both_sides(ellipsoid(np.array([stop + 0.15, c.half, sill - 0.2]), np.array([0.1, 0.03, 0.03]), 4, 6))
    )
    _grille(hull, low, belt, parts, rng)
    parts["plate"].append(hull.end(1, (-0.26, 0.26), low + 0.08, low + 0.19, 0.03))
    arm = np.array([front - 0.12, c.half - 0.04, head - 0.05])
    reach = np.array([rng.uniform(0.0, 0.12), 0.22, -0.05])
    parts["trim"].append(both_sides(tube(np.stack([arm, arm + reach]), 0.025)))
    mirror = np.array([0.06, 0.1, rng.uniform(0.18, 0.3)])
    place = arm + reach - (0, 0, mirror[2])
    parts["trim" if rng.random() < 0.7 else "cabin"].append(both_sides(ellipsoid(place, mirror, 4.0, 7)))
    if style == "fire_engine" or rng.random() < 0.15:
        _light_bar(c.cab_height, front - 0.6 - rake, c.half, parts, rng)
    elif rng.random() < 0.35:  # a sun visor
        visor = np.array([front - rake * 0.8, 0.0, head + 0.07])
        parts["trim"].append(ellipsoid(visor, np.array([0.12, wide, 0.05]), 6, 8))
    if style == "box" and rng.random() < 0.4:  # a deflector
        air = rng.uniform(0.3, 0.6)
        z = c.cab_height - 0.05
        shell = _hull(
            c.cab + 0.05, front - 0.4, 0.8 * c.half, z, z + air, lean=((z, 0.0), (z + air, 1.1 * air))
        )
        parts["cabin"].append(shell.mesh)


def _grille(hull: Hull, low: float, belt: float, parts: Parts, rng: np.random.Generator) -> None:
    """Grille, bumper and lamps of a flat face; the lamps are in the bumper or beside the grille."""
    half = hull.half
    kind = str(rng.choice(["trim", "trim", "cabin", "chrome"]))
    wide, top = half * rng.uniform(0.4, 0.8), belt - rng.uniform(0.12, 0.3)
    foot = low + rng.uniform(0.35, 0.55)
    if kind != "cabin":
        parts[kind].append(hull.end(1, (-wide, wide), foot, top, 0.01))
    for z in np.linspace(foot, top, int(rng.integers(2, 7)))[1:-1]:
        bar = str(rng.choice(["chrome", "trim"]))
        parts[bar].append(hull.end(1, (-wide * 0.95, wide * 0.95), z - 0.025, z + 0.025, 0.022))
    if rng.random() < 0.75:  # a bumper of another colour
        other = str(rng.choice(["trim", "trim", "plate", "chrome"]))
        parts[other].append(hull.end(1, (-half + 0.05, half - 0.05), low + 0.03, low + 0.32, 0.01))
    z = low + 0.2 if rng.random() < 0.65 else foot + 0.15
    _lamps(hull, 1, 0.78 * half, z, parts, rng)


def _light_bar(z: float, x: float, half: float, parts: Parts, rng: np.random.Generator) -> None:
    wide = half * rng.uniform(0.15, 0.3)
    lamp = ellipsoid(np.array([x, 0.75 * half - wide * 0.5, z + 0.06]), np.array([0.14, wide, 0.1]), 4, 8)
    parts["beacon"].append(both_sides(lamp))
    if rng.random() < 0.6:
        parts["trim"].append(ellipsoid(np.array([x, 0, z + 0.03]), np.array([0.12, 0.75 * half, 0.05]), 5, 7))


def _frame(c: Chassis, axles: list[float], parts: Parts, rng: np.random.Generator) -> None:
    """Frame, tanks between the axles, and the crossbeam with the tail lamps."""
    parts["under"].append(_box(c.rear + 0.1, c.cab + 0.6, 0.42, c.deck - 0.35, c.deck))
    for x in axles:
        parts["under"].append(
            ellipsoid(np.array([x, 0, c.wheel]), np.array([0.12, c.half - 0.3, 0.12]), 5, 6)
        )
    gap = (max(x for x in axles if x < c.cab) + c.wheel + 0.15, min(axles[0] - c.wheel - 0.1, c.cab - 0.05))
    gap = (gap[0], min([gap[1]] + [x - c.wheel - 0.1 for x in axles[1:] if x > gap[0]]))
    if gap[1] - gap[0] > 0.5:
        high = c.deck - 0.05
        if rng.random() < 0.5:  # a skirt
            kind = str(rng.choice(["trim", "plate", "paint"]))
            skirt = _box(gap[0], gap[1], 0.03, 0.42, high)
            parts[kind].append(both_sides(_moved(skirt, c.half - 0.06)))
        else:
            stop = gap[0] + (gap[1] - gap[0]) * rng.uniform(0.4, 1.0)
            centre = np.array([(gap[0] + stop) / 2, c.half - 0.32, (0.42 + high) / 2])
            radii = np.array([(stop - gap[0]) / 2, 0.27, (high - 0.42) / 2])
            tank = ellipsoid(centre, radii, float(rng.choice([2.5, 8.0])), 10)
            parts[str(rng.choice(["chrome", "trim", "under"]))].append(both_sides(tank))
    for x in axles[1:]:
        flap = _box(x - 1.2 * c.wheel - 0.02, x - 1.2 * c.wheel + 0.02, 0.2, 0.25, c.deck)
        parts["under"].append(both_sides(_moved(flap, c.half - 0.3)))
    beam = _hull(c.rear, c.rear + 0.12, c.half - 0.03, c.deck - 0.42, c.deck - 0.02, radius=0.03)
    parts["trim"].append(beam.mesh)
    _lamps(beam, -1, 0.78 * c.half, c.deck - 0.2, parts, rng, big=0.8)
    parts["plate"].append(beam.end(-1, (-0.26, 0.26), c.deck - 0.3, c.deck - 0.18, 0.02))


def _freight(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """A box with doors behind, or a curtain."""
    top = rng.uniform(2.9, 4.0)
    hull = _hull(c.rear + 0.02, c.cab - rng.uniform(0.08, 0.3), c.half + 0.02, c.deck, top, radius=0.04)
    parts["paint"].append(hull.mesh)
    if rng.random() < 0.7:
        for y in (-0.01, c.half - 0.06):
            parts["seam"].append(both_sides(hull.end(-1, (y, y + 0.03), c.deck + 0.08, top - 0.08)))
        for y in (0.2, 0.6):
            parts["chrome"].append(both_sides(hull.end(-1, (y, y + 0.03), c.deck + 0.08, top - 0.08, 0.02)))
    frame = str(rng.choice(["chrome", "trim", "paint", "stripe"]))
    if frame != "paint":
        ends = (hull.rear + 0.05, hull.front - 0.05)
        parts[frame].append(hull.side(*ends, top - 0.12, top - 0.05))
        parts[frame].append(hull.side(*ends, c.deck + 0.04, c.deck + 0.12))
    if rng.random() < 0.3:
        for x in np.linspace(hull.rear, hull.front, int(rng.integers(4, 12)))[1:-1]:
            parts["seam"].append(hull.side(x - 0.012, x + 0.012, c.deck + 0.15, top - 0.15))
    if rng.random() < 0.25:  # a cooler above the cab
        cooler = _box(hull.front - 0.02, hull.front + 0.35, 0.7 * c.half, top - 0.8, top - 0.1)
        parts["plate"].append(cooler)
    return top


def _tank(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """A lying cylinder with dished ends, a walkway and hatches."""
    high, wide = rng.uniform(0.7, 0.95), c.half - rng.uniform(0.02, 0.12)
    rear, front = c.rear + 0.05, c.cab - rng.uniform(0.15, 0.35)
    middle = c.deck + high
    angle = np.linspace(0, np.pi / 2, 7)
    ends = [(rear + 0.3 * (1 - np.sin(a)), np.cos(a)) for a in angle[::-1]]
    ends += [(x, 1.0) for x in np.linspace(rear + 0.3, front - 0.3, 6)[1:-1]]
    ends += [(front - 0.3 * (1 - np.sin(a)), np.cos(a)) for a in angle]
    drum = revolve(np.array(ends), 32)
    points = np.stack(
        [drum.vertices[:, 1], drum.vertices[:, 0] * wide, middle + drum.vertices[:, 2] * high], -1
    )
    mesh = tidy(Mesh(points, drum.faces))
    parts[str(rng.choice(["paint", "paint", "chrome"]))].append(flip(mesh))
    top = middle + high
    parts["trim"].append(_box(rear + 0.5, front - 0.5, 0.3, top - 0.04, top + 0.06))
    for x in np.linspace(rear, front, int(rng.integers(3, 6)))[1:-1]:
        parts["trim"].append(ellipsoid(np.array([x, 0, top + 0.06]), np.array([0.25, 0.25, 0.12]), 4, 8))
    for x in (rear + 0.6, front - 0.6):
        parts["trim"].append(_box(x - 0.1, x + 0.1, 0.8 * wide, c.deck - 0.02, c.deck + 0.5 * high))
    if rng.random() < 0.6:
        box = _box(rear + 0.4, front - 0.4, c.half, c.deck - 0.06, c.deck + 0.1)
        parts["paint"].append(box)
    else:
        parts["paint"].append(_box(rear + 0.05, rear + 0.5, 0.7 * wide, c.deck - 0.1, c.deck + 0.35))
    return top + 0.18


def _tipper(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """An open bed: five boards, ribs on the outside, a canopy over the cab on some; or a flat bed."""
    top = c.deck + (rng.uniform(0.7, 1.4) if rng.random() < 0.7 else rng.uniform(0.15, 0.5))
    rear, front, half = c.rear + 0.04, c.cab - rng.uniform(0.1, 0.25), c.half + 0.01
    floor = c.deck + 0.12
    parts["paint"].append(_box(rear, front, half, c.deck - 0.02, floor))
    for start, stop in ((rear, rear + 0.06), (front - 0.06, front)):
        parts["paint"].append(_box(start, stop, half, floor - 0.05, top))
    board = _box(rear, front, 0.03, floor - 0.05, top)
    parts["paint"].append(both_sides(_moved(board, half - 0.03)))
    for x in np.linspace(rear, front, int(rng.integers(4, 9)))[1:-1]:
        rib = _box(x - 0.05, x + 0.05, 0.03, floor - 0.1, top - 0.03)
        parts["paint"].append(both_sides(_moved(rib, half + 0.02)))
    head = top
    if rng.random() < 0.4 and top > c.deck + 0.6:
        head = c.cab_height + 0.12
        parts["paint"].append(_box(front - 0.08, front - 0.01, half, top - 0.1, head))
        parts["paint"].append(_box(front - 0.06, c.cab + 0.9, half - 0.1, head - 0.06, head))
    if rng.random() < 0.5:  # a load
        heap = np.array([(rear + front) / 2, 0.0, floor])
        radii = np.array([(front - rear) / 2 - 0.1, half - 0.1, (top - floor) * rng.uniform(0.7, 1.35)])
        load = ellipsoid(heap, radii, 2.6, 10)
        parts[str(rng.choice(["under", "seam", "stripe"]))].append(
            Mesh(load.vertices.clip((-np.inf, -np.inf, floor), None), load.faces)
        )
    return head


def _garbage(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """A ribbed box with a hopper behind that leans and opens low."""
    top = rng.uniform(2.8, 3.5)
    tail = c.rear + rng.uniform(1.3, 1.9)
    hull = _hull(tail, c.cab - 0.15, c.half, c.deck, top, radius=rng.uniform(0.06, 0.3), tumble=0.05)
    parts["paint"].append(hull.mesh)
    for x in np.linspace(tail, c.cab - 0.15, int(rng.integers(3, 8)))[1:-1]:
        parts[str(rng.choice(["paint", "seam"]))].append(
            hull.side(x - 0.05, x + 0.05, c.deck + 0.1, top - 0.15, 0.04)
        )
    low = 0.75
    slope = ((low, 0.3), (low + 0.35, 0.0), (low + 0.9, 0.05), (top + 0.05, rng.uniform(0.6, 1.0)))
    hopper = _hull(c.rear, tail - 0.02, c.half - 0.02, low, top + 0.05, radius=0.06, back=slope)
    parts["paint"].append(hopper.mesh)
    parts["under"].append(
        hopper.end(-1, (-c.half + 0.2, c.half - 0.2), low + 0.45, top - rng.uniform(0.4, 0.9))
    )
    if rng.random() < 0.7:
        for z in (low + 0.15, low + 0.3):
            parts["stripe"].append(hopper.end(-1, (-c.half + 0.1, c.half - 0.1), z, z + 0.06))
    _lamps(hopper, -1, 0.8 * c.half, low + 0.25, parts, rng, big=0.7)
    step = np.array([c.rear + 0.15, c.half - 0.25, 0.5])
    parts["trim"].append(both_sides(ellipsoid(step, np.array([0.2, 0.2, 0.03]), 6, 6)))
    bracket = _box(c.rear + 0.3, c.rear + 0.38, 0.04, step[2], low + 0.05)
    parts["trim"].append(both_sides(_moved(bracket, step[1])))
    if rng.random() < 0.6:
        beacon = np.array([tail + 0.2, 0.7 * c.half, top + 0.08])
        parts["beacon"].append(both_sides(ellipsoid(beacon, np.array([0.09, 0.09, 0.12]), 3, 7)))
    return top + 0.05


def _fire(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """Lockers with roller shutters, reflecting bands, and a ladder on the roof."""
    top = c.cab_height + rng.uniform(-0.25, 0.25)
    hull = _hull(c.rear + 0.03, c.cab - 0.02, c.half, c.deck - 0.5, top, radius=0.05)
    parts["paint"].append(hull.mesh)
    edges = np.linspace(hull.rear + 0.1, hull.front - 0.06, int(rng.integers(3, 6)))
    shutter = str(rng.choice(["chrome", "rim", "trim"]))
    for start, stop in pairwise(edges):
        parts[shutter].append(hull.side(start + 0.05, stop - 0.05, c.deck + 0.2, top - 0.2))
        for z in np.linspace(c.deck + 0.2, top - 0.2, 6)[1:-1]:
            parts["seam"].append(hull.side(start + 0.05, stop - 0.05, z - 0.008, z + 0.008, 0.02))
    parts[shutter].append(hull.end(-1, (-0.6 * c.half, 0.6 * c.half), c.deck + 0.2, top - 0.3))
    if rng.random() < 0.7:
        z = c.deck + rng.uniform(-0.05, 0.08)
        parts["stripe"].append(hull.side(hull.rear + 0.06, hull.front - 0.06, z, z + rng.uniform(0.05, 0.12)))
    _lamps(hull, -1, 0.85 * c.half, c.deck + 0.1, parts, rng, big=0.7)
    spot = np.array([hull.rear + 0.3, 0.75 * c.half, top + 0.08])
    parts["beacon"].append(both_sides(ellipsoid(spot, np.array([0.1, 0.1, 0.13]), 3, 7)))
    return _ladder(c, top, parts, rng) if rng.random() < 0.75 else top


def _ladder(c: Chassis, top: float, parts: Parts, rng: np.random.Generator) -> float:
    """A ladder along the roof, over the cab too on some."""
    start = c.rear - rng.uniform(0.0, 0.2)
    stop = c.cab - 0.2 if rng.random() < 0.5 else c.length / 2 - rng.uniform(0.2, 0.9)
    z = max(top, c.cab_height if stop > c.cab else top) + 0.22
    y, x = rng.uniform(0.22, 0.4), np.linspace(start, stop, 16)
    kind = str(rng.choice(["chrome", "rim"]))
    for high in (0.0, 0.2):
        rail = np.stack([x, 0 * x + y, 0 * x + z + high], -1)
        parts[kind].append(both_sides(tube(rail[[0, -1]], 0.04)))
    for k in x:
        parts[kind].append(tube(np.array([[k, -y, z], [k, y, z]]), 0.025, 5))
        post = ellipsoid(np.array([k, y, z + 0.1]), np.array([0.02, 0.02, 0.1]), 6, 4)
        parts[kind].append(both_sides(post))
    for k in (c.rear + 0.5, c.cab - 0.4):
        parts["trim"].append(_box(k - 0.06, k + 0.06, y, top - 0.05, z))
    return z + 0.24


# --- buses -------------------------------------------------------------------------------------


class Bus(NamedTuple):
    """The measures of a body of one box."""

    length: float
    half: float
    low: float  # lower edge
    belt: float  # lower edge of the windows
    height: float
    wheel: float
    axles: list[float]


def _one_box(
    b: Bus, parts: Parts, rng: np.random.Generator, *, lean: Profile, back: Profile, radius: float, bow: float
) -> Hull:
    """Body, arches and wheels."""
    hull = _hull(
        -b.length / 2, b.length / 2, b.half, b.low, b.height,
        radius=radius, bow=bow, lean=lean, back=back, tumble=rng.uniform(0.0, 0.08),
    )  # fmt: skip
    lower, upper = _parted(hull.mesh, b.belt)
    parts["paint"].append(lower)
    parts["cabin"].append(upper)
    for x in b.axles:
        _arch(hull, x, b.wheel, parts)
        axle = np.array([x, 0, b.wheel])
        parts["under"].append(ellipsoid(axle, np.array([0.12, b.half - 0.2, 0.12]), 5, 6))
    tread = 0.65 * b.wheel
    _wheels(b.wheel, tread, b.half + 0.02, b.axles, b.axles[1:] if b.wheel > 0.4 else [], parts, rng)
    return hull


def _windows(
    hull: Hull,
    start: float,
    stop: float,
    low: float,
    high: float,
    parts: Parts,
    rng: np.random.Generator,
    count: int,
) -> None:
    """A row of panes from rear to front, with black or painted pillars between them."""
    edges = np.linspace(start, stop, count + 1)
    gap = rng.uniform(0.02, 0.09)
    if rng.random() < 0.55:
        parts["trim"].append(hull.side(start - 0.03, stop + 0.03, low - 0.03, high + 0.03, 0.008))
    for a, b in pairwise(edges):
        parts["glass"].append(hull.side(a + gap, b - gap, low, high, 0.016))
        if gap > 0.05 and count > 3 and rng.random() < 0.3:
            z = high - 0.3 * (high - low)
            parts["trim"].append(hull.side(a + gap, b - gap, z - 0.015, z + 0.015, 0.024))


def _door(hull: Hull, x: float, wide: float, low: float, high: float, parts: Parts) -> None:
    """A door of two glazed wings."""
    parts["trim"].append(hull.side(x - wide / 2 - 0.05, x + wide / 2 + 0.05, low, high + 0.05, 0.02))
    for a, b in ((x - wide / 2, x - 0.03), (x + 0.03, x + wide / 2)):
        parts["glass"].append(hull.side(a, b, low + 0.12, high, 0.028))


def _bus_face(hull: Hull, b: Bus, foot: float, head: float, parts: Parts, rng: np.random.Generator) -> None:
    """Wind-screen, lamps, bumper, sign and mirrors; rear window, engine's grille and lamps."""
    wide = b.half - rng.uniform(0.08, 0.16)
    if rng.random() < 0.5:
        parts["trim"].append(hull.end(1, (-wide - 0.04, wide + 0.04), foot - 0.06, b.height - 0.14, 0.008))
    parts["glass"].append(hull.end(1, (-wide, wide), foot, head, 0.016))
    if rng.random() < 0.4:
        parts["trim"].append(hull.end(1, (-0.02, 0.02), foot, head, 0.022))
    if b.height - head > 0.3:
        parts["trim"].append(hull.end(1, (-0.8 * wide, 0.8 * wide), head + 0.05, b.height - 0.12, 0.014))
        if rng.random() < 0.7:
            letters = (-rng.uniform(0.3, 0.7) * wide, rng.uniform(0.2, 0.7) * wide)
            parts["beacon"].append(hull.end(1, letters, head + 0.1, b.height - 0.2, 0.02))
    _lamps(hull, 1, 0.76 * b.half, b.low + rng.uniform(0.25, 0.45), parts, rng)
    if rng.random() < 0.5:
        other = str(rng.choice(["trim", "chrome", "stripe"]))
        parts[other].append(hull.end(1, (-b.half + 0.1, b.half - 0.1), b.low + 0.04, b.low + 0.2, 0.01))
    parts["plate"].append(hull.end(1, (-0.26, 0.26), b.low + 0.08, b.low + 0.19, 0.024))
    arm = np.array([hull.front - 0.15, b.half - 0.05, head - rng.uniform(0.0, 0.15)])
    reach = np.array([rng.uniform(0.1, 0.35), 0.16, -0.08])
    parts["trim"].append(both_sides(tube(np.stack([arm, arm + reach]), 0.03)))
    mirror = np.array([0.07, 0.1, rng.uniform(0.15, 0.27)])
    kind = str(rng.choice(["trim", "cabin", "stripe"]))
    parts[kind].append(both_sides(ellipsoid(arm + reach - (0, 0, mirror[2]), mirror, 4.0, 7)))
    if rng.random() < 0.8:
        parts["glass"].append(
            hull.end(-1, (-wide + 0.1, wide - 0.1), b.belt + rng.uniform(0.05, 0.3), b.height - 0.4, 0.014)
        )
    if rng.random() < 0.8:
        parts["trim"].append(hull.end(-1, (-0.6 * wide, 0.6 * wide), b.low + 0.3, b.belt - 0.25))
    _lamps(hull, -1, 0.84 * b.half, b.low + rng.uniform(0.4, 0.8), parts, rng)
    parts["plate"].append(hull.end(-1, (-0.26, 0.26), b.low + 0.12, b.low + 0.23, 0.024))


def _on_roof(b: Bus, parts: Parts, rng: np.random.Generator) -> float:
    """An air-condition box, or two, on most."""
    if rng.random() < 0.3:
        return 0.0
    high = rng.uniform(0.12, 0.3)
    kind = str(rng.choice(["cabin", "plate", "cabin"]))
    for x in [rng.uniform(-0.3, 0.1)] if rng.random() < 0.6 else [-0.28, 0.18]:
        long = rng.uniform(0.1, 0.18) * b.length
        half = b.half * rng.uniform(0.5, 0.8)
        centre = x * b.length
        parts[kind].append(_box(centre - long, centre + long, half, b.height - 0.06, b.height + high))
    return high


def _city_bus(parts: Parts, rng: np.random.Generator) -> Extents:
    length = rng.uniform(8.5, 12.0)
    b = Bus(
        length, rng.uniform(1.2, 1.28),
        rng.uniform(0.26, 0.36), rng.uniform(0.95, 1.3), rng.uniform(2.8, 3.2),
        rng.uniform(0.45, 0.5), [length / 2 - rng.uniform(2.2, 2.7), -length / 2 + rng.uniform(2.6, 3.3)],
    )  # fmt: skip
    rake = rng.uniform(0.0, 0.22)
    hull = _one_box(
        b, parts, rng,
        lean=((b.belt, 0.0), (b.height, rake)), back=((b.belt, 0.0), (b.height, rng.uniform(0, 0.15))),
        radius=rng.uniform(0.07, 0.2), bow=rng.uniform(0.02, 0.15),
    )  # fmt: skip
    head = b.height - rng.uniform(0.35, 0.55)
    _bus_face(hull, b, b.belt - rng.uniform(0.0, 0.25), head, parts, rng)
    front = length / 2 - 0.28 - rake
    _windows(hull, -length / 2 + 0.35, front, b.belt, head, parts, rng, int(rng.integers(5, 9)))
    _door(hull, length / 2 - rng.uniform(1.0, 1.25), 1.1, b.low + 0.04, head + 0.05, parts)
    if rng.random() < 0.8:
        _door(hull, rng.uniform(-0.1, 0.05) * length, 1.2, b.low + 0.04, head + 0.05, parts)
    if rng.random() < 0.3:
        parts["stripe"].append(
            hull.side(-length / 2 + 0.2, length / 2 - 0.25, b.low + 0.03, b.low + 0.25, 0.006)
        )
    return length, 2 * b.half, b.height + _on_roof(b, parts, rng)


def _coach(parts: Parts, rng: np.random.Generator) -> Extents:
    length = rng.uniform(9.0, 12.0)
    rear = -length / 2 + rng.uniform(2.6, 3.2)
    axles = [length / 2 - rng.uniform(2.2, 2.7), rear] + ([rear - 1.25] if length > 11 else [])
    b = Bus(
        length, rng.uniform(1.22, 1.28),
        rng.uniform(0.28, 0.38), rng.uniform(1.55, 1.85), rng.uniform(3.2, 3.8),
        rng.uniform(0.46, 0.52), axles,
    )  # fmt: skip
    rake = rng.uniform(0.25, 0.7)
    foot = rng.uniform(1.0, 1.3)
    lean = (
        (b.low, 0.05),
        (b.low + 0.4, 0.0),
        (foot, 0.05),
        (0.5 * (foot + b.height), 0.05 + 0.3 * rake),
        (b.height, rake),
    )
    back = ((b.belt, 0.0), (b.height, rng.uniform(0.05, 0.3)))
    hull = _one_box(
        b, parts, rng, lean=lean, back=back, radius=rng.uniform(0.12, 0.25), bow=rng.uniform(0.08, 0.2)
    )
    head = b.height - rng.uniform(0.22, 0.45)
    _bus_face(hull, b, foot + 0.05, head, parts, rng)
    _windows(
        hull, -length / 2 + 0.45, length / 2 - 0.45 - rake, b.belt, head, parts, rng, int(rng.integers(5, 8))
    )
    _door(hull, length / 2 - rng.uniform(0.95, 1.2), 0.8, b.low + 0.04, min(head, b.belt + 0.6), parts)
    for x in np.linspace(axles[1] + 0.8, axles[0] - 0.8, int(rng.integers(3, 5))):  # luggage doors
        parts["seam"].append(hull.side(x - 0.01, x + 0.01, b.low + 0.05, b.belt - 0.25))
    return length, 2 * b.half, b.height + _on_roof(b, parts, rng)


def _minibus(parts: Parts, rng: np.random.Generator) -> Extents:
    length = rng.uniform(5.2, 7.0)
    b = Bus(
        length, rng.uniform(0.95, 1.06),
        rng.uniform(0.26, 0.34), rng.uniform(1.15, 1.3), rng.uniform(2.3, 2.8),
        rng.uniform(0.33, 0.37), [length / 2 - rng.uniform(0.92, 1.0), -length / 2 + rng.uniform(0.95, 1.35)],
    )  # fmt: skip
    hood, screen = rng.uniform(0.25, 0.75), rng.uniform(0.5, 0.8)
    nose = rng.uniform(0.85, 1.0)
    lean = (
        (b.low, 0.06), (b.low + 0.3, 0.0), (nose, 0.06), (b.belt, hood), (2.0, hood + screen),
        (b.height, hood + screen + rng.uniform(0.1, 0.3)),
    )  # fmt: skip
    hull = _one_box(b, parts, rng, lean=lean, back=((b.belt, 0.0), (b.height, 0.08)), radius=0.12, bow=0.14)
    head = min(1.95, b.height - 0.3)
    wide = b.half - 0.12
    parts["glass"].append(hull.end(1, (-wide, wide), b.belt + 0.06, head, 0.014))
    slope = hood + screen * (head - b.belt) / (2.0 - b.belt)
    door = length / 2 - slope - rng.uniform(0.9, 1.05)
    bottom = np.stack([np.linspace(door, length / 2 - hood - 0.3, 6), np.full(6, b.belt + 0.04)], -1)
    above = np.stack([np.linspace(door, length / 2 - slope - 0.22, 6), np.full(6, head - 0.03)], -1)
    grid = ruled(bottom, above, 5)
    origins = np.stack([grid[..., 0], np.full(grid.shape[:2], b.half + 1), grid[..., 1]], -1)
    parts["glass"].append(both_sides(drape(hull.mesh, origins, np.array([0.0, -1.0, 0.0]), 0.014)))
    for x in (door - 0.08, door - 1.2):
        parts["seam"].append(hull.side(x - 0.01, x + 0.01, b.low + 0.1, head + 0.05))
    if rng.random() < 0.6:
        _windows(
            hull,
            -length / 2 + 0.2,
            door - 0.16,
            b.belt + 0.04,
            head - 0.03,
            parts,
            rng,
            int(rng.integers(2, 5)),
        )
    if rng.random() < 0.6:
        for y in (0.06, wide - 0.1):
            parts["seam"].append(both_sides(hull.end(-1, (y - 0.04, y - 0.02), b.low + 0.2, b.height - 0.2)))
        parts["glass"].append(both_sides(hull.end(-1, (0.1, wide - 0.12), b.belt + 0.05, head)))
    _lamps(hull, 1, 0.74 * b.half, nose - rng.uniform(0.05, 0.15), parts, rng)
    kind = str(rng.choice(["trim", "chrome", "paint"]))
    if kind != "paint":
        parts[kind].append(hull.end(1, (-0.5 * b.half, 0.5 * b.half), nose - 0.25, nose - 0.02, 0.012))
    if rng.random() < 0.7:
        for sign in (1, -1):
            parts["trim"].append(hull.end(sign, (-wide, wide), b.low + 0.04, b.low + 0.26, 0.01))
    _lamps(hull, -1, 0.86 * b.half, rng.uniform(0.8, 1.3), parts, rng, big=0.7)
    for sign in (1, -1):
        parts["plate"].append(hull.end(sign, (-0.26, 0.26), b.low + 0.3, b.low + 0.41, 0.02))
    spot = np.array([length / 2 - hood - 0.55, b.half + 0.1, b.belt + 0.15])
    parts["trim"].append(both_sides(ellipsoid(spot, np.array([0.07, 0.13, 0.15]), 3, 7)))
    return length, 2 * b.half, b.height
