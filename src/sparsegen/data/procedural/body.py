"""The two smooth shells of a car: the lower body with its wheel arches, and the cabin on top of it."""

from typing import NamedTuple

import numpy as np

from sparsegen.data.procedural.meshing import Mesh, grid_faces, smoothed, split_creases, tidy
from sparsegen.data.procedural.styles import Shape

_ROUND = 0.10  # metres over which both ends are rounded off
_SHRINK = np.array([1.0, 0.985, 0.955, 0.91, 0.84, 0.74, 0.6, 0.45, 0.3, 0.15, 0.0])
_SIDE, _TOP, _FLOOR = 8, 11, 3  # points of a half section: side, shoulder to centre, floor
CABIN_FLOOR = 0.22  # metres below the belt at which the cabin's shell starts, inside the lower body


class Body(NamedTuple):
    """The shells of one car, split by what they are made of."""

    lower: Mesh  # painted
    hollow: Mesh | None  # lining of the load bed or the cockpit
    under: Mesh  # floor and wheel wells, dark
    cabin: Mesh  # painted


def _smoothstep(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def top_height(shape: Shape, x: np.ndarray) -> np.ndarray:
    """Height of the lower body's upper edge: hood, belt, deck. x in metres, any shape."""
    s, half = shape, shape.length / 2
    reach = half - s.cowl
    round_nose = 0.18 if s.style == "beetle" else 0.0
    knots = [
        (-half, s.deck - (0.02 if s.style == "pickup" else 0.05)),
        (-half + 0.12, s.deck),
        (s.tail if s.style == "pickup" else min(s.tail, -half + 0.5), s.deck),
        (s.cowl + 0.28 * (s.header - s.cowl) - 0.25, s.belt),
        (s.cowl, s.hood),
        (half - 0.45 * reach, s.nose + (0.72 + round_nose) * (s.hood - s.nose)),
        (half - 0.12 * reach, s.nose + (0.18 + 2 * round_nose) * (s.hood - s.nose)),
        (half, s.nose - 0.04),
    ]
    knots.sort()
    position, value = np.array(knots).T
    position = np.maximum.accumulate(position + 1e-4 * np.arange(len(position)))
    return smoothed(x, position, value, 0.035 * s.length / 4.5)


def side_width(shape: Shape, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Half width of the lower body at (x, z)."""
    s = shape
    front = np.clip((x - 0.12 * s.length) / (0.38 * s.length), 0, 1)
    rear = np.clip((-x - 0.12 * s.length) / (0.38 * s.length), 0, 1)
    plan = 1 - s.taper * front**2.2 - s.rear_taper * rear**2.2
    plan = plan + s.hips * (np.exp(-(((x - s.rear_axle) / 0.55) ** 2)) - 0.6)
    height = (z - s.sill) / (s.belt - s.sill)
    above, below = np.clip((height - 0.5) / 0.5, 0, 1.3), np.clip((0.5 - height) / 0.5, 0, 1.3)
    bulge = 1 - 0.045 * above**2 - 0.05 * below**2
    between = _smoothstep((s.front_axle - s.arch - x) / 0.25) * _smoothstep((x - s.rear_axle - s.arch) / 0.25)
    bulge = bulge - s.scoop * np.exp(-(((height - 0.32) / 0.16) ** 2)) * between
    return s.width / 2 * plan * bulge


def _stations(shape: Shape) -> np.ndarray:
    """x of the sections: dense at both ends, exact on the wheel arches and on the ends of what is hollow."""
    s, half = shape, shape.length / 2
    angle = np.linspace(0, np.pi, 15)
    arch = s.arch * np.cos(angle)
    marks = [s.front_axle + arch, s.rear_axle + arch]
    for axle in (s.front_axle, s.rear_axle):
        marks.append(axle + np.array([-1, 1]) * (s.arch + 2e-3))
    if s.hollow:
        rear, front = s.hollow
        marks += [np.array([front, front - 0.002, rear - 0.002, rear])]
    marks = np.sort(np.concatenate(marks))
    plain = np.linspace(-half + _ROUND, half - _ROUND, 36)
    plain = plain[np.abs(plain[:, None] - marks[None]).min(1) > 0.035]
    return np.sort(np.concatenate([marks, plain]))


def _half_section(shape: Shape, x: float, hollow: bool) -> np.ndarray:
    """(P, 2) points (y, z) from the floor's centre by the sill and the shoulder to the top's centre."""
    s = shape
    top = float(top_height(s, np.array(x)))
    low = s.sill
    for axle in (s.front_axle, s.rear_axle):
        if abs(x - axle) <= s.arch + 1e-6:
            low = max(low, s.wheel + np.sqrt(max(s.arch**2 - (x - axle) ** 2, 0)))
    low = min(low, top - 0.08)
    middle = max(s.sill + 0.62 * (top - s.sill), low + 0.02)
    z = np.linspace(low, middle, _SIDE)
    side = np.stack([side_width(s, np.array(x), z), z], -1)
    angle = np.linspace(0, np.pi / 2, _TOP + 1)[1:]
    rise = np.sin(angle) ** (2 / s.body_squareness)
    across = np.cos(angle).clip(0) ** (2 / s.body_squareness)
    z = middle + rise * (top - middle)
    outer = side_width(s, np.array(x), z)
    upper = np.stack([across * outer, z - 0.035 * (1 - top / 3) * across**2 * rise], -1)
    if hollow:
        bed = max(s.sill + 0.36, s.wheel + s.arch + 0.03)
        wall, floor = float(outer[-1]) - 0.10, bed if s.style == "pickup" else s.sill + 0.24
        inner = [(wall, top - 0.012), (wall - 0.01, floor + 0.02), (wall - 0.02, floor), (0.0, floor)]
        keep = upper[: _TOP - len(inner)].copy()
        keep[:, 0] = np.maximum(keep[:, 0], wall + 0.02)
        upper = np.concatenate([keep, inner])
    width = side[0, 0]
    floor = np.stack([np.linspace(0, width, _FLOOR, endpoint=False), np.full(_FLOOR, low)], -1)
    return np.concatenate([floor, side, upper])


def _rounded_ends(sections: np.ndarray, shape: Shape) -> np.ndarray:
    """Adds shrinking copies of the outermost (P, 3) sections, so that nose and tail are closed and round."""
    power = 3.0
    ends = []
    for section, sign in ((sections[0], -1.0), (sections[-1], 1.0)):
        centre = 0.5 * (shape.sill + section[:, 2].max())
        rings = []
        for k in _SHRINK[1:]:
            ring = section.copy()
            ring[:, 0] += sign * _ROUND * (1 - k**power) ** (1 / power)
            ring[:, 1] *= k
            ring[:, 2] = centre + (ring[:, 2] - centre) * k
            rings.append(ring)
        ends.append(np.stack(rings))
    return np.concatenate([ends[0][::-1], sections, ends[1]])


def _bend_ends(points: np.ndarray, shape: Shape) -> np.ndarray:
    """Leans the front and rear faces back above the bumpers and bows them in plan."""
    s, half = shape, shape.length / 2
    x, y, z = np.moveaxis(points, -1, 0)
    bumper = s.sill + 0.58 * (s.nose - s.sill)
    offset = np.zeros_like(x)
    for sign, lean, bow, axle, top in (
        (1.0, s.lean, s.bow, s.front_axle, s.nose),
        (-1.0, s.rear_lean, s.rear_bow, s.rear_axle, s.deck),
    ):
        start = abs(axle) + s.arch
        weight = _smoothstep((sign * x - start) / (half - start))
        heights = np.array([s.sill - 0.1, s.sill + 0.10, bumper, bumper + 0.08, top, top + 0.3])
        behind = np.array([0.12, 0.0, 0.0, 0.03 + 0.2 * lean, 0.03 + lean, 0.03 + 1.6 * lean])
        back = smoothed(z, heights, behind, 0.02)
        offset += -sign * weight * (back + bow * np.abs(y / (s.width / 2)) ** 2.4)
    return np.stack([x + offset, y, z], -1)


def _lower_shell(shape: Shape) -> tuple[Mesh, Mesh | None, Mesh]:
    """The painted body, the lining of what is hollow, and the dark floor, out of one closed loft."""
    s = shape
    rear, front = s.hollow or (0.0, 0.0)
    stations = _stations(s)
    sections = []
    for x in stations:
        section = _half_section(s, float(x), rear - 0.001 < x < front - 0.001)
        sections.append(np.concatenate([np.full((len(section), 1), x), section], -1))
    rings = _bend_ends(_rounded_ends(np.stack(sections), s), s)  # (S, P, 3)
    other = rings[:, ::-1][:, 1:-1] * [1.0, -1.0, 1.0]
    grid = np.concatenate([rings, other], 1)
    rows, columns, _ = grid.shape
    faces = grid_faces(rows, columns, closed=True)
    column = np.tile(np.repeat(np.arange(columns), 2), rows - 1)
    column = np.where(column >= rings.shape[1] - 1, columns - 1 - column, column)
    row = np.repeat(np.arange(rows - 1), 2 * columns)
    faced = np.minimum(row, rows - 2 - row) >= len(_SHRINK) - 5  # the flat of nose and tail is no floor
    floor = (column < _FLOOR) & faced
    inside = np.zeros(len(faces), bool)
    if s.hollow:
        added = len(_SHRINK) - 1
        first, last = np.searchsorted(stations, [rear - 0.0015, front - 0.0015])
        inside = (row >= first - 1 + added) & (row < last + added) & (column >= _FLOOR + _SIDE + _TOP - 5)
    vertices = grid.reshape(-1, 3)

    def part(mask: np.ndarray) -> Mesh:
        return split_creases(tidy(Mesh(vertices, faces[mask])))

    return part(~floor & ~inside), part(inside) if s.hollow else None, part(floor)


def roof_height(shape: Shape, x: np.ndarray) -> np.ndarray:
    """Height of the cabin's centre line at x: wind-screen, roof, rear window."""
    s = shape
    span = s.header - s.back
    knots = [
        (s.tail - 0.10, top_height(s, np.array(s.tail)) - 0.10 * _slope(s)),
        (s.tail, float(top_height(s, np.array(s.tail)))),
        (s.back, s.height - s.roof_drop),
        (s.header - 0.55 * span, s.height),
        (s.header - 0.15 * span, s.height - 0.012),
        (s.header, s.height - 0.05),
        (s.cowl, float(top_height(s, np.array(s.cowl))) + 0.01),
        (s.cowl + 0.10, s.hood - 0.05),
    ]
    if s.style == "beetle":  # one curve from the roof to the tail
        deck = float(top_height(s, np.array(s.tail)))
        knots.insert(2, (0.45 * s.back + 0.55 * s.tail, deck + 0.66 * (s.height - s.roof_drop - deck)))
    position, value = np.array(knots, float).T
    sharp = {"van": 0.012, "bus": 0.012, "pickup": 0.012, "lorry": 0.012, "beetle": 0.075}.get(s.style, 0.03)
    return smoothed(x, position, value, sharp * s.length / 4.5)


def _slope(shape: Shape) -> float:
    """Rise over run of the rear window."""
    return (shape.height - shape.deck) / max(shape.back - shape.tail, 0.05)


def cabin_width(shape: Shape, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Half width of the cabin's side at (x, z), before the section rounds over to the roof."""
    s = shape
    base = side_width(s, x, np.array(s.belt)) - s.shoulder
    rear = np.clip((s.back + 0.3 - x) / (s.back + 0.3 - s.tail), 0, 1)
    narrow = {"sedan": 0.06, "coupe": 0.12, "sports": 0.16, "stock": 0.1, "beetle": 0.12}.get(s.style, 0.02)
    return base * (1 - narrow * rear**2) - s.tumble * np.clip(z - s.belt, -0.1, None)


def cabin_shift(shape: Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far the section at x is moved along x at the distance y from the middle: the cabin's bowed ends."""
    s = shape
    middle = (s.header + s.back) / 2
    ahead = _smoothstep((x - middle) / (s.cowl - middle))
    behind = _smoothstep((middle - x) / (middle - s.tail))
    return (s.rear_bow * behind - s.bow * ahead) * np.abs(y / (s.width / 2)) ** 2.4


def _cabin_shell(shape: Shape) -> Mesh:
    """One loft over wind-screen, roof and rear window; open below, where the lower body hides it."""
    s = shape
    fine = np.linspace(s.tail - 0.06, s.cowl + 0.07, 400)
    height = roof_height(s, fine)
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(fine), np.diff(height)))])
    x = np.interp(np.linspace(0, arc[-1], 42), arc, fine)
    peak = roof_height(s, x)[:, None]
    floor = s.belt - CABIN_FLOOR
    angle = np.linspace(0, np.pi / 2, 14)[None]
    rise, across = np.sin(angle) ** (2 / s.squareness), np.cos(angle).clip(0) ** (2 / s.squareness)
    crown = 0.03 * across**2 * rise
    z = floor + rise * np.maximum(peak - floor, 0.02) - crown
    y = across * cabin_width(s, x[:, None], z)
    shift = cabin_shift(s, x[:, None], y)
    half = np.stack([x[:, None] + shift, y, z], -1)
    ring = np.concatenate([half, half[:, ::-1][:, 1:] * [1.0, -1.0, 1.0]], 1)
    return split_creases(tidy(Mesh(ring.reshape(-1, 3), grid_faces(*ring.shape[:2]))), 45)


def make_body(shape: Shape) -> Body:
    """Lofts the body of a car."""
    lower, hollow, under = _lower_shell(shape)
    return Body(lower, hollow, under, _cabin_shell(shape))
