"""What faces forward and backward: lamps, grille, intakes, plates, bumpers, exhausts."""

import numpy as np

from sparsegen.data.procedural.body import Body
from sparsegen.data.procedural.meshing import Mesh, Parts, both_sides, drape, ruled, tube
from sparsegen.data.procedural.styles import Shape


def around(shape: Shape, onto: Mesh, sign: float, outline: np.ndarray, lift: float) -> Mesh:
    """Lays a grid of (angle in degrees, z) onto an end of the car; 0 is straight ahead, 90 to the left."""
    angle, z = np.deg2rad(outline[..., 0]), outline[..., 1]
    centre = sign * (shape.length / 2 - shape.width / 2)
    out = np.stack([sign * np.cos(angle), np.sin(angle), 0 * angle], -1)
    origins = np.array([centre, 0.0, 0.0]) + out * 2.5 + np.stack([0 * z, 0 * z, z], -1)
    return drape(onto, origins, -out, lift)


def lens(
    start: float, stop: float, low: tuple[float, float], high: tuple[float, float], power: float = 4.0
) -> np.ndarray:
    """(R, C, 2) grid of a lamp from angle `start` to `stop`; `low`, `high` are z at both of its ends."""
    t = np.linspace(-1, 1, 11)
    angle = start + (stop - start) * (t + 1) / 2
    bulge = (1 - np.abs(t) ** power).clip(0.04) ** (1 / power)
    bottom, top = np.interp(t, [-1, 1], low), np.interp(t, [-1, 1], high)
    middle, half = (top + bottom) / 2, (top - bottom) / 2 * bulge
    return ruled(np.stack([angle, middle - half], -1), np.stack([angle, middle + half], -1), 5)


def panel(
    shape: Shape,
    onto: Mesh,
    sign: float,
    half: float,
    low: float,
    high: float,
    lift: float,
    flare: float = 1.0,
) -> Mesh:
    """A patch across the middle of an end, `half` metres to each side below, `flare` times that above."""
    y = np.linspace(-1, 1, 13)
    grid = ruled(
        np.stack([y * half, np.full(13, low)], -1), np.stack([y * half * flare, np.full(13, high)], -1), 5
    )
    origins = np.stack([np.full(grid.shape[:2], sign * shape.length), grid[..., 0], grid[..., 1]], -1)
    return drape(onto, origins, np.array([-sign, 0.0, 0.0]), lift)


def grown(grid: np.ndarray, angle: float, height: float) -> np.ndarray:
    """The same outline, larger by a margin around its centre."""
    low, high = grid.reshape(-1, 2).min(0), grid.reshape(-1, 2).max(0)
    middle, size = (low + high) / 2, (high - low) / 2
    return middle + (grid - middle) * (1 + np.array([angle, height]) / size)


def make_front(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator) -> None:
    """Adds head lamps, grille, intake, fog lamps and the plate to `parts`."""
    s = shape
    span = s.nose - s.sill
    tall = s.style in ("suv", "pickup", "van", "bus", "minicar")
    middle = s.sill + span * rng.uniform(0.70, 0.78)
    height = span * (rng.uniform(0.20, 0.32) if tall else rng.uniform(0.16, 0.28))
    start, stop = rng.uniform(24, 31), rng.uniform(44, 58)
    rise = height * rng.uniform(-0.1, 0.45)
    inner = height * rng.uniform(0.35, 0.9)
    if rng.random() < (0.25 if tall else 0.12):  # round lamps
        start, stop, rise, inner, power = 27.0, 41.0, 0.0, height * 1.1, 2.0
        height = inner
    else:
        power = rng.uniform(3, 6)
    lamp = lens(
        start,
        stop,
        (middle - inner / 2, middle - height / 2 + rise),
        (middle + inner / 2, middle + height / 2 + rise),
        power,
    )
    parts["trim"].append(both_sides(around(s, body.lower, 1, grown(lamp, 1.2, 0.018), 0.008)))
    parts["head_lamp"].append(both_sides(around(s, body.lower, 1, lamp, 0.016)))
    _grille(s, body, parts, rng, middle)
    low = s.sill + 0.06 * span
    half = s.width / 2 * rng.uniform(0.45, 0.72)
    intake = panel(
        s, body.lower, 1, half, low, low + span * rng.uniform(0.16, 0.28), 0.009, rng.uniform(0.8, 1)
    )
    parts["trim"].append(intake)
    if rng.random() < 0.4:
        fog = lens(33, 40, (low + 0.02, low + 0.02), (low + 0.12, low + 0.12), 2.0)
        parts["head_lamp"].append(both_sides(around(s, body.lower, 1, fog, 0.016)))
    plate = s.sill + 0.36 * span
    if rng.random() < 0.8:
        parts["plate"].append(panel(s, body.lower, 1, 0.25, plate - 0.055, plate + 0.055, 0.018))


def _grille(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator, middle: float) -> None:
    s, span = shape, shape.nose - shape.sill
    half = s.width / 2 * rng.uniform(0.25, 0.46)
    height = span * rng.uniform(0.16, 0.36)
    low, high = middle - 0.6 * height, middle + 0.4 * height
    flare = rng.uniform(0.85, 1.25)
    if s.style == "sports" and rng.random() < 0.6:
        return
    kind = rng.random()
    if kind < 0.6:  # chrome surround
        parts["chrome"].append(panel(s, body.lower, 1, half + 0.03, low - 0.025, high + 0.025, 0.008, flare))
    parts["trim"].append(panel(s, body.lower, 1, half, low, high, 0.015, flare))
    count = int(rng.integers(0, 5))
    bar = 0.022
    for k in range(count):
        z = low + (high - low) * (k + 1) / (count + 1)
        wide = half * (1 + (flare - 1) * (k + 1) / (count + 1))
        parts["chrome"].append(panel(s, body.lower, 1, wide, z - bar / 2, z + bar / 2, 0.022))


def make_rear(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator) -> None:
    """Adds tail lamps, plate, lower bumper and exhausts to `parts`."""
    s = shape
    span = s.deck - s.sill
    upright = s.style in ("van", "bus", "pickup") or (
        s.style in ("suv", "estate", "minicar") and rng.random() < 0.5
    )
    middle = s.sill + span * rng.uniform(0.66, 0.76)
    if upright:
        height, start, stop = span * rng.uniform(0.38, 0.55), rng.uniform(36, 39), rng.uniform(46, 52)
        middle = s.sill + span * 0.66
    else:
        height, start, stop = span * rng.uniform(0.15, 0.30), rng.uniform(20, 32), rng.uniform(46, 56)
    inner = height * rng.uniform(0.5, 1.0)
    power = 2.2 if rng.random() < 0.1 else rng.uniform(3.5, 7)
    lamp = lens(
        start,
        stop,
        (middle - inner / 2, middle - height / 2),
        (middle + inner / 2, middle + height / 2),
        power,
    )
    parts["tail_lamp"].append(both_sides(around(s, body.lower, -1, lamp, 0.014)))
    if not upright and rng.random() < 0.25:
        bar = panel(s, body.lower, -1, s.width * 0.3, middle - 0.02, middle + 0.03, 0.012)
        parts[str(rng.choice(["tail_lamp", "chrome", "trim"]))].append(bar)
    low = s.sill + 0.03
    bumper = panel(
        s, body.lower, -1, s.width * rng.uniform(0.28, 0.4), low, low + span * rng.uniform(0.14, 0.24), 0.009
    )
    parts["trim"].append(bumper)
    plate = s.sill + span * rng.uniform(0.36, 0.52)
    parts["plate"].append(panel(s, body.lower, -1, 0.25, plate - 0.055, plate + 0.055, 0.016))
    if rng.random() < 0.5:
        tip = -s.length / 2 + 0.09 + 0.3 * s.rear_bow
        path = np.array([[tip + 0.3, 0.0, low + 0.02], [tip, 0.0, low + 0.02]])
        path[:, 1] = s.width * rng.uniform(0.22, 0.32)
        parts["chrome"].append(both_sides(tube(path, 0.045, 8)))
