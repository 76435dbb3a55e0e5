"""Single-seaters with open wheels: a cigar between four wheels, with and without wings and side pods."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from sparsegen.data.procedural.meshing import (
    Mesh,
    Parts,
    both_sides,
    ellipsoid,
    grid_faces,
    smoothed,
    split_creases,
    tidy,
    tube,
)
from sparsegen.data.procedural.wheels import four, make_wheel


class FormulaShape(NamedTuple):
    """The measures of one single-seater: metres, +X forward, +Z up, ground at z = 0."""

    length: float
    width: float  # over the wheels
    height: float  # of the air box or the roll hoop
    front_axle: float  # x
    rear_axle: float  # x
    front_wheel: float  # radius
    rear_wheel: float
    front_tread: float
    rear_tread: float
    waist: float  # half width of the tub at the cockpit
    cockpit: float  # x of its middle
    clearance: float  # below the floor
    nose: float  # height of the nose's tip
    rim: float  # height of the cockpit's edge


def draw_formula(rng: np.random.Generator) -> FormulaShape:
    """Draws the measures of a single-seater."""
    length, height = rng.uniform(3.9, 4.8), rng.uniform(0.90, 1.12)
    rear = rng.uniform(0.31, 0.36)
    return FormulaShape(
        length=length,
        width=rng.uniform(1.7, 2.05),
        height=height,
        front_axle=length * rng.uniform(0.28, 0.33),
        rear_axle=-length * rng.uniform(0.33, 0.38),
        front_wheel=rear * rng.uniform(0.88, 1.0),
        rear_wheel=rear,
        front_tread=rng.uniform(0.22, 0.34),
        rear_tread=rng.uniform(0.28, 0.42),
        waist=rng.uniform(0.30, 0.42),
        cockpit=length * rng.uniform(-0.04, 0.08),
        clearance=rng.uniform(0.05, 0.12),
        nose=rng.uniform(0.22, 0.42),
        rim=rng.uniform(0.60, 0.70),
    )


def make_formula(shape: FormulaShape, rng: np.random.Generator) -> Parts:
    """The parts of a single-seater: `paint` and `cabin` (wings, air box) are what a livery covers."""
    parts: Parts = defaultdict(list)
    _tub(shape, parts, rng)
    _driver(shape, parts)
    if rng.random() < 0.75:
        _pods(shape, parts, rng)
    if rng.random() < 0.8:
        _front_wing(shape, parts, rng)
    if rng.random() < 0.85:
        _rear_wing(shape, parts, rng)
    _running_gear(shape, parts, rng)
    return parts


def _loft(x: np.ndarray, half: np.ndarray, low: np.ndarray, high: np.ndarray, power: float) -> Mesh:
    """A closed body through superelliptic sections, from the rear to the front."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)

    def bent(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** (2 / power)

    y = half[:, None] * bent(np.cos(angle))
    z = ((low + high) / 2)[:, None] + ((high - low) / 2)[:, None] * bent(np.sin(angle))
    rings = np.stack([np.broadcast_to(x[:, None], y.shape), y, z], -1)
    ends = [np.broadcast_to(ring.mean(0), ring.shape)[None] for ring in (rings[0], rings[-1])]
    grid = np.concatenate([ends[0], rings, ends[1]])
    faces = grid_faces(len(grid), len(angle), closed=True)
    return split_creases(tidy(Mesh(grid.reshape(-1, 3), faces)))


def _tub(shape: FormulaShape, parts: Parts, rng: np.random.Generator) -> None:
    """Nose cone, tub and engine cover, and the flat floor below."""
    s, half = shape, shape.length / 2
    tip, tail = half - rng.uniform(0.05, 0.25), -half + rng.uniform(0.15, 0.45)
    x = np.linspace(tail, tip, 40)
    knots = np.array([tail, s.rear_axle, s.cockpit - 0.5, s.cockpit, s.front_axle, tip])
    sigma = 0.08
    width = smoothed(
        x, knots, np.array([0.12, 0.18, s.waist, s.waist, 0.5 * s.waist, rng.uniform(0.06, 0.14)]), sigma
    )
    peak = s.rim + rng.uniform(0.0, 0.18)
    high = smoothed(
        x, knots, np.array([0.38, 0.48, peak, s.rim, s.rim - rng.uniform(0.05, 0.2), s.nose]), sigma
    )
    under = s.nose - rng.uniform(0.10, 0.16)
    low = smoothed(
        x, knots, np.array([0.16, s.clearance, s.clearance, s.clearance, 0.6 * under, under]), sigma
    )
    parts["paint"].append(_loft(x, width, np.minimum(low, high - 0.08), high, rng.uniform(2.3, 3.6)))
    middle = (s.rear_axle + s.front_axle) / 2
    plate = np.array([middle - 0.1, 0.0, s.clearance + 0.015])
    radii = np.array([0.36 * s.length, s.width * rng.uniform(0.2, 0.36), 0.02])
    parts["under"].append(ellipsoid(plate, radii, 6.0, 8))


def _driver(shape: FormulaShape, parts: Parts) -> None:
    """The cockpit's opening, a helmet, and the air box or roll hoop behind it."""
    s = shape
    opening = np.array([s.cockpit + 0.02, 0.0, s.rim - 0.02])
    parts["well"].append(ellipsoid(opening, np.array([0.42, 0.8 * s.waist, 0.07]), 3.0, 8))
    helmet = np.array([s.cockpit - 0.08, 0.0, s.rim + 0.10])
    parts["stripe"].append(ellipsoid(helmet, np.array([0.15, 0.12, 0.14]), 2.0, 8))
    visor = helmet + np.array([0.04, 0, 0])
    parts["glass"].append(ellipsoid(visor, np.array([0.125, 0.115, 0.05]), 2.4, 8))
    rear = s.rear_axle + 0.25
    x = np.linspace(rear, s.cockpit - 0.26, 14)
    t = (x - rear) / (x[-1] - rear)
    high = 0.46 + (s.height - 0.46) * t**0.7
    cover = _loft(x, 0.05 + 0.09 * t, np.full(14, 0.34), high, 2.6)
    parts["cabin"].append(cover)
    mouth = np.array([x[-1] + 0.005, 0.0, s.height - 0.13])
    parts["well"].append(ellipsoid(mouth, np.array([0.02, 0.09, 0.09]), 2.4, 6))


def _pods(shape: FormulaShape, parts: Parts, rng: np.random.Generator) -> None:
    """Side pods between the wheels, open in front."""
    s = shape
    front = s.cockpit + rng.uniform(0.0, 0.5)
    rear = s.rear_axle + s.rear_wheel + rng.uniform(0.0, 0.3)
    outer = s.width * rng.uniform(0.32, 0.42)
    top = rng.uniform(0.42, 0.60)
    x = np.linspace(rear, front, 12)
    t = (x - rear) / (front - rear)
    inner = 0.5 * s.waist
    half = (outer - inner) / 2 * (0.45 + 0.55 * t**0.6)
    high = s.clearance + (top - s.clearance) * (0.55 + 0.45 * t**0.6)
    pod = _loft(x, half, np.full(12, s.clearance), high, rng.uniform(4.0, 7.0))
    y = (outer + inner) / 2 - 0.1
    parts["paint"].append(both_sides(Mesh(pod.vertices + np.array([0, y, 0]), pod.faces)))
    mouth = np.array([front + 0.004, y, (s.clearance + top) / 2])
    radii = np.array([0.015, 0.8 * half[-1], 0.36 * (top - s.clearance)])
    parts["well"].append(both_sides(ellipsoid(mouth, radii, 4.0, 6)))


def _front_wing(shape: FormulaShape, parts: Parts, rng: np.random.Generator) -> None:
    s = shape
    x, z = s.length / 2 - rng.uniform(0.12, 0.3), s.nose - rng.uniform(0.08, 0.16)
    z = max(z, 0.10)
    chord, half = rng.uniform(0.14, 0.26), s.width * rng.uniform(0.36, 0.48)
    kind = str(rng.choice(["paint", "cabin", "stripe", "trim"]))
    parts[kind].append(ellipsoid(np.array([x, 0, z]), np.array([chord, half, 0.02]), 6.0, 8))
    flap = np.array([x - 0.8 * chord, 0.55 * half, z + 0.06])
    parts[kind].append(both_sides(ellipsoid(flap, np.array([0.07, 0.4 * half, 0.02]), 6.0, 6)))
    plate = np.array([x - 0.2 * chord, half, z + 0.05])
    parts[kind].append(both_sides(ellipsoid(plate, np.array([1.1 * chord, 0.015, 0.09]), 6.0, 6)))


def _rear_wing(shape: FormulaShape, parts: Parts, rng: np.random.Generator) -> None:
    s = shape
    x, z = -s.length / 2 + rng.uniform(0.14, 0.3), rng.uniform(0.72, min(0.98, s.height))
    chord, half = rng.uniform(0.12, 0.22), s.width * rng.uniform(0.24, 0.42)
    kind = str(rng.choice(["paint", "cabin", "stripe", "trim"]))
    parts[kind].append(ellipsoid(np.array([x, 0, z]), np.array([chord, half, 0.025]), 6.0, 8))
    parts[kind].append(
        ellipsoid(np.array([x - 0.03, 0, z - 0.14]), np.array([0.8 * chord, half, 0.02]), 6.0, 8)
    )
    plate = np.array([x, half, z - 0.14])
    end = str(rng.choice([kind, "trim", "plate"]))
    parts[end].append(both_sides(ellipsoid(plate, np.array([1.3 * chord, 0.015, 0.24]), 8.0, 6)))
    strut = np.array([x + 0.03, 0.0, (z + 0.30) / 2])
    parts["trim"].append(ellipsoid(strut, np.array([0.10, 0.04, (z - 0.30) / 2 + 0.05]), 4.0, 6))


def _running_gear(shape: FormulaShape, parts: Parts, rng: np.random.Generator) -> None:
    """Wheels and the arms that hold them."""
    s = shape
    axles = (
        (s.front_axle, s.front_wheel, s.front_tread, 0.4 * s.waist),
        (s.rear_axle, s.rear_wheel, s.rear_tread, 0.15),
    )
    look = rng.bit_generator.state  # both axles have one kind of wheel
    for x, radius, tread, root in axles:
        rng.bit_generator.state = look
        y = (s.width - tread) / 2
        for name, mesh in make_wheel(radius, tread, rng).items():
            parts[name].append(four(mesh, [(x, y)], radius))
        for z, reach in ((1.3 * radius, 0.22), (0.6 * radius, 0.22)):
            for end in (x + reach, x - reach):
                arm = np.array([[end, root, z * 0.95 + 0.05], [x, y, z]])
                parts["trim"].append(both_sides(tube(arm, 0.018, 5)))
