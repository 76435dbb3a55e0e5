"""Vehicles of one box with many windows: city buses, coaches, minibuses."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sparsegen.data.procedural.hulls import (
    Extents,
    Hull,
    Profile,
    make_box,
    make_hull,
    parted,
    put_arch,
    put_lamps,
    put_wheels,
)
from sparsegen.data.procedural.meshing import (
    Parts,
    both_sides,
    drape,
    ellipsoid,
    ruled,
    tube,
)


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
    hull = make_hull(
        -b.length / 2, b.length / 2, b.half, b.low, b.height,
        radius=radius, bow=bow, lean=lean, back=back, tumble=rng.uniform(0.0, 0.08),
    )  # fmt: skip
    lower, upper = parted(hull.mesh, b.belt)
    parts["paint"].append(lower)
    parts["cabin"].append(upper)
    for x in b.axles:
        put_arch(hull, x, b.wheel, parts)
        axle = np.array([x, 0, b.wheel])
        parts["under"].append(ellipsoid(axle, np.array([0.12, b.half - 0.2, 0.12]), 5, 6))
    tread = 0.65 * b.wheel
    put_wheels(b.wheel, tread, b.half + 0.02, b.axles, b.axles[1:] if b.wheel > 0.4 else [], parts, rng)
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
    put_lamps(hull, 1, 0.76 * b.half, b.low + rng.uniform(0.25, 0.45), parts, rng)
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
    put_lamps(hull, -1, 0.84 * b.half, b.low + rng.uniform(0.4, 0.8), parts, rng)
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
        parts[kind].append(make_box(centre - long, centre + long, half, b.height - 0.06, b.height + high))
    return high


def make_city_bus(parts: Parts, rng: np.random.Generator) -> Extents:
    """A city bus; its bounds."""
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


def make_coach(parts: Parts, rng: np.random.Generator) -> Extents:
    """A coach; its bounds."""
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


def make_minibus(parts: Parts, rng: np.random.Generator) -> Extents:
    """A minibus or a box van; its bounds."""
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
    put_lamps(hull, 1, 0.74 * b.half, nose - rng.uniform(0.05, 0.15), parts, rng)
    kind = str(rng.choice(["trim", "chrome", "paint"]))
    if kind != "paint":
        parts[kind].append(hull.end(1, (-0.5 * b.half, 0.5 * b.half), nose - 0.25, nose - 0.02, 0.012))
    if rng.random() < 0.7:
        for sign in (1, -1):
            parts["trim"].append(hull.end(sign, (-wide, wide), b.low + 0.04, b.low + 0.26, 0.01))
    put_lamps(hull, -1, 0.86 * b.half, rng.uniform(0.8, 1.3), parts, rng, big=0.7)
    for sign in (1, -1):
        parts["plate"].append(hull.end(sign, (-0.26, 0.26), b.low + 0.3, b.low + 0.41, 0.02))
    spot = np.array([length / 2 - hood - 0.55, b.half + 0.1, b.belt + 0.15])
    parts["trim"].append(both_sides(ellipsoid(spot, np.array([0.07, 0.13, 0.15]), 3, 7)))
    return length, 2 * b.half, b.height
