"""Cab-over lorries of many trades: boxes, tanks, tippers, garbage trucks, fire engines."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sparsegen.data.procedural.hulls import (
    Extents,
    Hull,
    make_box,
    make_hull,
    moved,
    put_arch,
    put_lamps,
    put_wheels,
)
from sparsegen.data.procedural.meshing import (
    Mesh,
    Parts,
    both_sides,
    ellipsoid,
    flip,
    revolve,
    tidy,
    tube,
)


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


def make_lorry(style: str, parts: Parts, rng: np.random.Generator) -> Extents:
    """A lorry of one trade; its bounds."""
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
    put_wheels(c.wheel, tread, half + 0.02, axles, [x for x in axles if x not in steered], parts, rng)
    top = {"box": _freight, "tank": _tank, "tipper": _tipper, "garbage": _garbage, "fire_engine": _fire}[
        style
    ](c, parts, rng)
    return length, 2 * half, max(top, c.cab_height)


def _cab(style: str, c: Chassis, axle: float, parts: Parts, rng: np.random.Generator) -> None:
    front, low = c.length / 2, rng.uniform(0.38, 0.55)
    belt = rng.uniform(1.5, 1.85)
    rake = rng.uniform(0.03, 0.32)
    lean = ((low, 0.04), (low + 0.35, 0.0), (belt, rng.uniform(0.02, 0.08)), (c.cab_height, 0.05 + rake))
    hull = make_hull(
        c.cab, front, c.half, low, c.cab_height,
        radius=rng.uniform(0.06, 0.16), bow=rng.uniform(0.02, 0.14), lean=lean, tumble=rng.uniform(0, 0.07),
    )  # fmt: skip
    parts["cabin"].append(hull.mesh)
    put_arch(hull, axle, c.wheel, parts)
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
        shell = make_hull(
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
    put_lamps(hull, 1, 0.78 * half, z, parts, rng)


def _light_bar(z: float, x: float, half: float, parts: Parts, rng: np.random.Generator) -> None:
    wide = half * rng.uniform(0.15, 0.3)
    lamp = ellipsoid(np.array([x, 0.75 * half - wide * 0.5, z + 0.06]), np.array([0.14, wide, 0.1]), 4, 8)
    parts["beacon"].append(both_sides(lamp))
    if rng.random() < 0.6:
        parts["trim"].append(ellipsoid(np.array([x, 0, z + 0.03]), np.array([0.12, 0.75 * half, 0.05]), 5, 7))


def _frame(c: Chassis, axles: list[float], parts: Parts, rng: np.random.Generator) -> None:
    """Frame, tanks between the axles, and the crossbeam with the tail lamps."""
    parts["under"].append(make_box(c.rear + 0.1, c.cab + 0.6, 0.42, c.deck - 0.35, c.deck))
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
            skirt = make_box(gap[0], gap[1], 0.03, 0.42, high)
            parts[kind].append(both_sides(moved(skirt, c.half - 0.06)))
        else:
            stop = gap[0] + (gap[1] - gap[0]) * rng.uniform(0.4, 1.0)
            centre = np.array([(gap[0] + stop) / 2, c.half - 0.32, (0.42 + high) / 2])
            radii = np.array([(stop - gap[0]) / 2, 0.27, (high - 0.42) / 2])
            tank = ellipsoid(centre, radii, float(rng.choice([2.5, 8.0])), 10)
            parts[str(rng.choice(["chrome", "trim", "under"]))].append(both_sides(tank))
    for x in axles[1:]:
        flap = make_box(x - 1.2 * c.wheel - 0.02, x - 1.2 * c.wheel + 0.02, 0.2, 0.25, c.deck)
        parts["under"].append(both_sides(moved(flap, c.half - 0.3)))
    beam = make_hull(c.rear, c.rear + 0.12, c.half - 0.03, c.deck - 0.42, c.deck - 0.02, radius=0.03)
    parts["trim"].append(beam.mesh)
    put_lamps(beam, -1, 0.78 * c.half, c.deck - 0.2, parts, rng, big=0.8)
    parts["plate"].append(beam.end(-1, (-0.26, 0.26), c.deck - 0.3, c.deck - 0.18, 0.02))


def _freight(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """A box with doors behind, or a curtain."""
    top = rng.uniform(2.9, 4.0)
    hull = make_hull(c.rear + 0.02, c.cab - rng.uniform(0.08, 0.3), c.half + 0.02, c.deck, top, radius=0.04)
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
        cooler = make_box(hull.front - 0.02, hull.front + 0.35, 0.7 * c.half, top - 0.8, top - 0.1)
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
    parts["trim"].append(make_box(rear + 0.5, front - 0.5, 0.3, top - 0.04, top + 0.06))
    for x in np.linspace(rear, front, int(rng.integers(3, 6)))[1:-1]:
        parts["trim"].append(ellipsoid(np.array([x, 0, top + 0.06]), np.array([0.25, 0.25, 0.12]), 4, 8))
    for x in (rear + 0.6, front - 0.6):
        parts["trim"].append(make_box(x - 0.1, x + 0.1, 0.8 * wide, c.deck - 0.02, c.deck + 0.5 * high))
    if rng.random() < 0.6:
        box = make_box(rear + 0.4, front - 0.4, c.half, c.deck - 0.06, c.deck + 0.1)
        parts["paint"].append(box)
    else:
        parts["paint"].append(make_box(rear + 0.05, rear + 0.5, 0.7 * wide, c.deck - 0.1, c.deck + 0.35))
    return top + 0.18


def _tipper(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """An open bed: five boards, ribs on the outside, a canopy over the cab on some; or a flat bed."""
    top = c.deck + (rng.uniform(0.7, 1.4) if rng.random() < 0.7 else rng.uniform(0.15, 0.5))
    rear, front, half = c.rear + 0.04, c.cab - rng.uniform(0.1, 0.25), c.half + 0.01
    floor = c.deck + 0.12
    parts["paint"].append(make_box(rear, front, half, c.deck - 0.02, floor))
    for start, stop in ((rear, rear + 0.06), (front - 0.06, front)):
        parts["paint"].append(make_box(start, stop, half, floor - 0.05, top))
    board = make_box(rear, front, 0.03, floor - 0.05, top)
    parts["paint"].append(both_sides(moved(board, half - 0.03)))
    for x in np.linspace(rear, front, int(rng.integers(4, 9)))[1:-1]:
        rib = make_box(x - 0.05, x + 0.05, 0.03, floor - 0.1, top - 0.03)
        parts["paint"].append(both_sides(moved(rib, half + 0.02)))
    head = top
    if rng.random() < 0.4 and top > c.deck + 0.6:
        head = c.cab_height + 0.12
        parts["paint"].append(make_box(front - 0.08, front - 0.01, half, top - 0.1, head))
        parts["paint"].append(make_box(front - 0.06, c.cab + 0.9, half - 0.1, head - 0.06, head))
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
    hull = make_hull(tail, c.cab - 0.15, c.half, c.deck, top, radius=rng.uniform(0.06, 0.3), tumble=0.05)
    parts["paint"].append(hull.mesh)
    for x in np.linspace(tail, c.cab - 0.15, int(rng.integers(3, 8)))[1:-1]:
        parts[str(rng.choice(["paint", "seam"]))].append(
            hull.side(x - 0.05, x + 0.05, c.deck + 0.1, top - 0.15, 0.04)
        )
    low = 0.75
    slope = ((low, 0.3), (low + 0.35, 0.0), (low + 0.9, 0.05), (top + 0.05, rng.uniform(0.6, 1.0)))
    hopper = make_hull(c.rear, tail - 0.02, c.half - 0.02, low, top + 0.05, radius=0.06, back=slope)
    parts["paint"].append(hopper.mesh)
    parts["under"].append(
        hopper.end(-1, (-c.half + 0.2, c.half - 0.2), low + 0.45, top - rng.uniform(0.4, 0.9))
    )
    if rng.random() < 0.7:
        for z in (low + 0.15, low + 0.3):
            parts["stripe"].append(hopper.end(-1, (-c.half + 0.1, c.half - 0.1), z, z + 0.06))
    put_lamps(hopper, -1, 0.8 * c.half, low + 0.25, parts, rng, big=0.7)
    step = np.array([c.rear + 0.15, c.half - 0.25, 0.5])
    parts["trim"].append(both_sides(ellipsoid(step, np.array([0.2, 0.2, 0.03]), 6, 6)))
    bracket = make_box(c.rear + 0.3, c.rear + 0.38, 0.04, step[2], low + 0.05)
    parts["trim"].append(both_sides(moved(bracket, step[1])))
    if rng.random() < 0.6:
        beacon = np.array([tail + 0.2, 0.7 * c.half, top + 0.08])
        parts["beacon"].append(both_sides(ellipsoid(beacon, np.array([0.09, 0.09, 0.12]), 3, 7)))
    return top + 0.05


def _fire(c: Chassis, parts: Parts, rng: np.random.Generator) -> float:
    """Lockers with roller shutters, reflecting bands, and a ladder on the roof."""
    top = c.cab_height + rng.uniform(-0.25, 0.25)
    hull = make_hull(c.rear + 0.03, c.cab - 0.02, c.half, c.deck - 0.5, top, radius=0.05)
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
    put_lamps(hull, -1, 0.85 * c.half, c.deck + 0.1, parts, rng, big=0.7)
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
        parts["trim"].append(make_box(k - 0.06, k + 0.06, y, top - 0.05, z))
    return z + 0.24
