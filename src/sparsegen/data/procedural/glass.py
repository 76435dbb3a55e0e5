"""Windows: patches laid exactly onto the cabin's surface, split by pillars."""

from itertools import pairwise

import numpy as np

from sparsegen.data.procedural.body import (
    CABIN_FLOOR,
    Body,
    cabin_shift,
    cabin_width,
    roof_height,
    top_height,
)
from sparsegen.data.procedural.meshing import Mesh, Parts, both_sides, drape, flip, join, ruled
from sparsegen.data.procedural.styles import Shape

_LIFT = 0.008  # metres above the paint


def _screen(shape: Shape, body: Body, foot: float, head: float, edge: float) -> Mesh:
    """Wind-screen or rear window between the x of its foot and its head (`edge`: metres to the sides)."""
    t = np.linspace(0, 1, 9)
    x = foot + (head - foot) * t
    z = roof_height(shape, x)
    half = cabin_width(shape, x, z) - edge
    normal = np.array([-(z[-1] - z[0]), 0.0, x[-1] - x[0]])
    normal *= np.sign(normal[2]) / np.linalg.norm(normal)
    across = np.sin(np.linspace(-1, 1, 13) * 1.35) / np.sin(1.35)
    points = np.stack(
        [np.broadcast_to(x[:, None], (9, 13)), half[:, None] * across, np.broadcast_to(z[:, None], (9, 13))],
        -1,
    )
    return drape(body.cabin, points + 0.8 * normal, -normal, _LIFT)


def side_opening(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fine x, lower and upper height of the side windows' outline, where it is open."""
    s = shape
    x = np.linspace(s.tail, s.cowl, 300)
    floor = s.belt - CABIN_FLOOR
    low = np.maximum(top_height(s, x), s.belt) + 0.035
    crown = 0.86 if s.squareness > 5.5 else 0.83
    high = floor + crown * (roof_height(s, x) - floor)
    wide = high - low > 0.05
    place = x + cabin_shift(s, x, cabin_width(s, x, (low + high) / 2))
    return place[wide], low[wide], high[wide]


def _side(
    shape: Shape, body: Body, panes: list[tuple[float, float]], margin: float = 0.0, lift: float = _LIFT
) -> Mesh:
    """Panes on both sides, `margin` metres larger than the opening."""
    x, low, high = side_opening(shape)
    made = []
    for start, stop in panes:
        count = max(4, int((stop - start) / 0.11))
        base = np.linspace(start - margin, stop + margin, count)
        bottom = np.stack([base, np.interp(base, x, low) - margin], -1)
        upper = (base + np.linspace(0.02, 0, count)).clip(x[0], x[-1])
        top = np.stack([upper, np.interp(upper, x, high) + margin], -1)
        grid = ruled(bottom, top, 6)
        origins = np.stack([grid[..., 0], np.full(grid.shape[:2], shape.width), grid[..., 1]], -1)
        made.append(drape(body.cabin, origins, np.array([0.0, -1.0, 0.0]), lift))
    return both_sides(join([m for m in made if len(m.faces)]))


def draw_panes(shape: Shape, rng: np.random.Generator) -> list[tuple[float, float]]:
    """x ranges of the side windows, rear to front."""
    x, _, _ = side_opening(shape)
    front = x[-1] - 0.03
    rear = (
        x[0]
        + rng.uniform(0.02, 0.10)
        + {"sports": 0.25, "coupe": 0.2, "stock": 0.15, "beetle": 0.35}.get(shape.style, 0.0)
    )
    span, gap = front - rear, float(rng.uniform(0.05, 0.09))
    cuts = {
        "sedan": (0.16, 0.52) if rng.random() < 0.4 else (0.46,),
        "hatchback": (0.22, 0.58) if rng.random() < 0.6 else (0.45,),
        "estate": (0.30, 0.62),
        "suv": (0.28, 0.60) if rng.random() < 0.8 else (0.5,),
        "pickup": (0.46,) if span > 1.6 else (),
        "van": (0.36, 0.68),
        "sports": (),
        "coupe": (0.30,),
        "minicar": (0.42,),
        "bus": tuple(np.linspace(0, 1, int(rng.integers(5, 8)))[1:-1]),
        "beetle": (0.42,),
        "stock": (0.34,) if shape.style == "stock" and rng.random() < 0.7 else (),
    }.get(shape.style, ())
    edges = [rear] + [rear + span * cut for cut in cuts] + [front]
    panes = [
        (a + gap / 2 * (k > 0), b - gap / 2 * (k + 2 < len(edges)))
        for k, (a, b) in enumerate(pairwise(edges))
    ]
    if shape.style == "van":
        panes = panes[int(rng.choice([0, 0, 2, 2, 1])) :]  # glazed, or a panel van
    return panes


def door_seams(shape: Shape, panes: list[tuple[float, float]]) -> list[float]:
    """x of the doors' edges, rear to front, kept clear of the wheel arches."""
    rear, front = shape.rear_axle + shape.arch + 0.10, shape.front_axle - shape.arch - 0.10
    edges = [front] + [start for start, _ in reversed(panes)]
    if len(panes) == 1:
        edges = [front, max(front - 1.15, rear)]
    edges = [x for x in edges if rear <= x <= front]
    return sorted(edges)[-4:]


def make_glass(
    shape: Shape, body: Body, panes: list[tuple[float, float]], parts: Parts, rng: np.random.Generator
) -> None:
    """Adds all windows to `parts`, and now and then black pillars between those of the side."""
    s = shape
    edge = 0.10 if s.style in ("van", "bus") else 0.13
    fine = np.linspace(s.header, s.cowl, 100)
    head = fine[np.argmax(roof_height(s, fine) < s.height - (0.14 if s.style in ("van", "bus") else 0.075))]
    screen = _screen(s, body, s.cowl - 0.02, float(head), edge)
    parts["glass"].append(screen)
    if s.style == "roadster":  # nothing stands behind it
        parts["glass"].append(flip(screen))
        return
    black = len(panes) > 1 and rng.random() < 0.4
    if black:
        parts["trim"].append(_side(s, body, [(panes[0][0], panes[-1][1])], 0.02))
    parts["glass"].append(_side(s, body, panes, lift=_LIFT + 0.008 * black))
    blind = s.style == "van" and len(panes) == 1 and rng.random() < 0.7
    if not blind:
        drop = s.tail - s.back
        parts["glass"].append(_screen(s, body, s.tail - 0.06 * drop, s.back + 0.05 * drop, edge + 0.03))
