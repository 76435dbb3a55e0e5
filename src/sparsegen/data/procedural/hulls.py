"""What big vehicles with flat faces are made of: rounded bodies, boxes, wheels, arches and lamps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparsegen.data.procedural.meshing import (
    Mesh,
    Parts,
    both_sides,
    drape,
    grid_faces,
    ruled,
    split_creases,
    tidy,
)
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


def make_hull(
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


def make_box(rear: float, front: float, half: float, low: float, high: float) -> Mesh:
    """A box with its middle at y = 0."""
    plan = np.array([(front, -half), (front, half), (rear, half), (rear, -half)])
    middle = np.full((4, 2), plan.mean(0))
    levels = ((low, middle), (low, plan), (high, plan), (high, middle))
    grid = np.stack([np.concatenate([xy, np.full((4, 1), z)], -1) for z, xy in levels])
    return split_creases(tidy(Mesh(grid.reshape(-1, 3), grid_faces(4, 4, closed=True))))


def moved(mesh: Mesh, y: float) -> Mesh:
    """The mesh, shifted in y."""
    return Mesh(mesh.vertices + np.array([0, y, 0]), mesh.faces)


def parted(mesh: Mesh, height: float) -> tuple[Mesh, Mesh]:
    """What lies below and above a height that is one of the body's own."""
    above = mesh.vertices[mesh.faces][..., 2].mean(1) > height
    return tidy(Mesh(mesh.vertices, mesh.faces[~above])), tidy(Mesh(mesh.vertices, mesh.faces[above]))


def put_wheels(
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


def put_arch(hull: Hull, x: float, wheel: float, parts: Parts) -> None:
    """A dark disc behind a wheel that stands flush with the body's side."""
    turn = np.linspace(-0.3, np.pi + 0.3, 25)
    ring = np.stack([x + 1.16 * wheel * np.cos(turn), wheel + 1.16 * wheel * np.sin(turn)], -1)
    grid = ruled(np.array([x, wheel]) + 0.02 * (ring - (x, wheel)), ring, 5)
    origins = np.stack([grid[..., 0], np.full(grid.shape[:2], hull.half + 1), grid[..., 1]], -1)
    parts["well"].append(both_sides(drape(hull.mesh, origins, np.array([0.0, -1.0, 0.0]), 0.008)))


def put_lamps(
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
