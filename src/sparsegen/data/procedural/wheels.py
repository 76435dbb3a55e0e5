"""Wheels: a tyre of revolution, a dished rim with spokes, a hub."""

import numpy as np

from sparsegen.data.procedural.body import side_width
from sparsegen.data.procedural.meshing import (
    Mesh,
    both_sides,
    flip,
    grid_faces,
    join,
    revolve,
    split_creases,
    tidy,
)
from sparsegen.data.procedural.styles import Shape


def _tyre(radius: float, rim: float, tread: float) -> Mesh:
    half = tread / 2
    profile = np.array(
        [
            (-half * 0.9, 0.0),
            (-half * 0.9, rim * 0.9),
            (-half, radius * 0.88),
            (-half * 0.86, radius * 0.97),
            (-half * 0.55, radius),
            (half * 0.55, radius),
            (half * 0.86, radius * 0.97),
            (half, radius * 0.90),
            (half * 1.02, (radius + rim) / 2),
            (half * 0.92, rim),
        ]
    )
    return revolve(profile, 26)


def _spoke(rim: float, face: float, width: float, taper: float, dish: float) -> Mesh:
    """One spoke along +z: a wedge-shaped ridge from the hub to the rim."""
    radial = np.array([0.12, 0.45, 0.97]) * rim
    half = np.array([width, width * (1 + taper) / 2, width * taper]) * rim
    front = face - dish * np.array([0.6, 0.35, 0.0])
    rows = [
        np.stack([sign * half * edge, front - depth, radial], -1)
        for sign, edge, depth in ((-1, 1.0, 0.05), (-1, 0.75, 0.0), (1, 0.75, 0.0), (1, 1.0, 0.05))
    ]
    return Mesh(np.concatenate(rows), grid_faces(4, 3))


def _turned(mesh: Mesh, angle: float) -> Mesh:
    c, s = np.cos(angle), np.sin(angle)
    return Mesh(mesh.vertices @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T, mesh.faces)


def make_wheels(shape: Shape, rng: np.random.Generator) -> dict[str, Mesh]:
    """The four wheels of a car, flush with its body: parts `tyre`, `rim` and `well` (dark, behind spokes)."""
    height = np.array(shape.wheel * 1.5)
    places = []
    for axle in (shape.front_axle, shape.rear_axle):
        flush = float(side_width(shape, np.array(axle), height)) + shape.fender - shape.tread / 2 - 0.01
        places.append((axle, flush))
    wheel = make_wheel(shape.wheel, shape.tread, rng)
    return {name: four(mesh, places, shape.wheel) for name, mesh in wheel.items()}


def make_wheel(radius: float, tread: float, rng: np.random.Generator) -> dict[str, Mesh]:
    """One wheel about the origin, its outside towards +y."""
    rim = radius * rng.uniform(0.66, 0.76)
    face, dish = tread * 0.46, rng.uniform(0.0, 0.05)
    count = int(rng.integers(5, 11))
    width = rng.uniform(0.85, 1.5) / count
    taper = rng.uniform(0.75, 1.5)
    tyre = _tyre(radius, rim, tread)
    lip = revolve(
        np.array([(face - 0.03, rim * 0.87), (face + 0.012, rim * 0.9), (face + 0.012, rim * 1.01)]), 32
    )
    spokes = [_turned(_spoke(rim, face, width, taper, dish), 2 * np.pi * k / count) for k in range(count)]
    hub = revolve(np.array([(face, 0.0), (face, rim * 0.15), (face - 0.06, rim * 0.19)]), 12)
    well = revolve(np.array([(face - 0.05 - dish, 0.0), (face - 0.05 - dish, rim * 0.98)]), 24)
    parts = {"tyre": tyre, "rim": join([flip(lip), flip(hub), *spokes]), "well": flip(well)}
    return {name: split_creases(tidy(mesh)) for name, mesh in parts.items()}


def four(wheel: Mesh, places: list[tuple[float, float]], radius: float) -> Mesh:
    """A wheel at each (x, y) on the ground, and at their mirror images."""
    return both_sides(join([Mesh(wheel.vertices + np.array([x, y, radius]), wheel.faces) for x, y in places]))
