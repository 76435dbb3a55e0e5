"""What decorates the flanks and the roof: seams, handles, arches, mirrors, stripes, rails, spoilers."""

import numpy as np

from sparsegen.data.procedural.body import (
    Body,
    cabin_shift,
    cabin_width,
    roof_height,
    side_width,
    top_height,
)
from sparsegen.data.procedural.meshing import (
    Mesh,
    Parts,
    both_sides,
    drape,
    ellipsoid,
    flip,
    grid_faces,
    join,
    ribbon,
    ruled,
    split_creases,
    tidy,
    tube,
)
from sparsegen.data.procedural.styles import Shape


def _on_side(shape: Shape, onto: Mesh, outline: np.ndarray, lift: float) -> Mesh:
    """Lays a grid of (x, z) onto both flanks."""
    origins = np.stack([outline[..., 0], np.full(outline.shape[:2], shape.width), outline[..., 1]], -1)
    return both_sides(drape(onto, origins, np.array([0.0, -1.0, 0.0]), lift))


def _on_top(onto: Mesh, outline: np.ndarray, height: float) -> Mesh:
    """Lays a grid of (x, y) onto what is below it."""
    origins = np.concatenate([outline, np.full((*outline.shape[:2], 1), height + 1.0)], -1)
    return drape(onto, origins, np.array([0.0, 0.0, -1.0]), 0.012)


def _band(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray, rows: int = 3) -> np.ndarray:
    low, high = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    return ruled(np.stack([x, low], -1), np.stack([x, high], -1), rows)


def make_flanks(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator, doors: list[float]) -> None:
    """Adds door seams, handles, sill cladding, a moulding or a side stripe to `parts`."""
    s = shape
    low, high = s.sill + 0.10, s.belt - 0.05
    for x in doors:
        z = np.linspace(low, high, 7)
        parts["seam"].append(_on_side(s, body.lower, ribbon(np.stack([0 * z + x, z], -1), 0.018), 0.008))
    x = np.linspace(s.length / 2 - 0.16 - s.lean, s.cowl + 0.02, 12)
    y = s.width * np.interp(x, x[[-1, 0]], [0.40, 0.33])
    edges = np.stack([ribbon(np.stack([x, y], -1), 0.018)[k] for k in (0, 1)])
    parts["seam"].append(both_sides(_on_top(body.lower, edges, s.height)))
    handle = "chrome" if rng.random() < 0.35 else "paint" if rng.random() < 0.4 else "trim"
    for x in doors[:-1]:
        centre = np.array([x + 0.16, 0.0, s.belt - 0.13])
        centre[1] = side_width(s, centre[0], centre[2]) + 0.008
        parts[handle].append(both_sides(ellipsoid(centre, np.array([0.11, 0.025, 0.02]), 3.0, 6)))
    x = np.linspace(s.rear_axle + s.arch + 0.03, s.front_axle - s.arch - 0.03, 13)
    if rng.random() < (0.75 if s.style in ("suv", "pickup", "van") else 0.35):
        top = s.sill + rng.uniform(0.07, 0.15)
        parts["trim"].append(_on_side(s, body.lower, _band(x, s.sill + 0.004, top), 0.012))
    if rng.random() < 0.15:
        z = s.sill + 0.45 * (s.belt - s.sill)
        kind = "chrome" if rng.random() < 0.4 else "trim"
        parts[kind].append(_on_side(s, body.lower, _band(x, z - 0.025, z + 0.025, 2), 0.012))


def make_arches(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds lips around the wheel arches: body colour, or wide dark cladding on rough-road cars."""
    s = shape
    clad = s.style in ("suv", "pickup") and rng.random() < 0.55
    width = rng.uniform(0.05, 0.08) if clad else rng.uniform(0.025, 0.045)
    swell = rng.uniform(0.03, 0.05) if clad else rng.uniform(0.012, 0.03)
    angle = np.linspace(-0.12, np.pi + 0.12, 25)
    rows = [(0.0, -0.05), (0.0, swell), (0.45 * width, swell), (width, -0.005)]
    for axle in (s.front_axle, s.rear_axle):
        lip = []
        for out, offset in rows:
            radius = s.arch + out
            x, z = axle + radius * np.cos(angle), s.wheel + radius * np.sin(angle)
            z = np.maximum(z, s.sill)
            lip.append(np.stack([x, side_width(s, x, z) + offset, z], -1))
        mesh = split_creases(tidy(Mesh(np.concatenate(lip), grid_faces(4, 25))))
        parts["trim" if clad else "paint"].append(both_sides(mesh))


def make_mudguards(shape: Shape, parts: Parts) -> None:
    """Adds vaults over the wheels that stand out from the body, and boards that join them."""
    s = shape
    angle = np.linspace(-0.35, np.pi + 0.35, 29)
    out = np.linspace(0, np.pi / 2, 7)
    for axle in (s.front_axle, s.rear_axle):
        inner = float(side_width(s, np.array(axle), np.array(s.wheel * 1.5))) - 0.12
        rows = []
        for turn in out:
            radius = s.arch + 0.09 * np.cos(turn)
            y = inner + (s.fender + 0.12) * np.sin(turn) ** 0.8
            rows.append(
                np.stack([axle + radius * np.cos(angle), 0 * angle + y, s.wheel + radius * np.sin(angle)], -1)
            )
        vault = split_creases(tidy(Mesh(np.concatenate(rows), grid_faces(len(rows), len(angle)))))
        parts["paint"].append(both_sides(join([vault, flip(vault)])))
    x = (s.front_axle + s.rear_axle) / 2
    half = (s.front_axle - s.rear_axle) / 2 - s.arch
    y = float(side_width(s, np.array(x), np.array(s.sill + 0.1)))
    board = ellipsoid(np.array([x, y, s.sill + 0.03]), np.array([half, 0.7 * s.fender, 0.03]), 6.0, 7)
    parts["trim"].append(both_sides(board))


def make_cockpit(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds the seats, the wind-screen's frame and roll bars of an open car."""
    s = shape
    rear, front = s.hollow or (s.back, s.cowl)
    x = rear + 0.35 * (front - rear)
    kind = str(rng.choice(["trim", "trim", "stripe", "plate"]))
    for y in (0.24 * s.width, -0.24 * s.width):
        back = np.array([x, y, s.belt - 0.12])
        parts[kind].append(ellipsoid(back, np.array([0.10, 0.22, 0.34]), 3.0, 8))
        parts[kind].append(ellipsoid(back + np.array([0, 0, 0.36]), np.array([0.06, 0.12, 0.09]), 3.0, 6))
        seat = back + np.array([0.30, 0, -0.22])
        parts[kind].append(ellipsoid(seat, np.array([0.30, 0.22, 0.10]), 3.0, 6))
    edge = np.linspace(s.cowl + 0.02, s.header, 6)
    high = roof_height(s, edge)
    half = cabin_width(s, edge, high) - 0.06
    side = np.stack([edge + cabin_shift(s, edge, half), half, high], -1)
    y = np.linspace(1, -1, 7) * half[-1]
    top = np.stack([0 * y + s.header + cabin_shift(s, np.full(7, s.header), y), y, 0 * y + high[-1]], -1)
    frame = str(rng.choice(["trim", "chrome", "paint"]))
    parts[frame] += [both_sides(tube(side, 0.03, 6)), tube(top, 0.03, 6)]
    if rng.random() < 0.5:
        turn = np.linspace(0, np.pi, 9)
        for y in (0.24 * s.width, -0.24 * s.width):
            bar = np.stack(
                [0 * turn + rear + 0.05, y + 0.18 * np.cos(turn), s.belt - 0.1 + 0.36 * np.sin(turn)], -1
            )
            parts["chrome"].append(tube(bar, 0.025, 6))


def make_cargo(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds a box behind the cabin of a lorry, or boards around a flat bed."""
    s = shape
    rear, front = -s.length / 2 + 0.04, s.tail - 0.08
    high = rng.uniform(1.0, 1.7) if rng.random() < 0.75 else rng.uniform(0.2, 0.4)
    low = s.deck - 0.06
    centre = np.array([(rear + front) / 2, 0.0, low + high / 2])
    radii = np.array([(front - rear) / 2, s.width * rng.uniform(0.48, 0.54), high / 2])
    parts[str(rng.choice(["cabin", "paint", "plate"]))].append(ellipsoid(centre, radii, 14.0, 14))


def make_blade(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds the upright blade on a stock car's tail."""
    s = shape
    x = -s.length / 2 + 0.10 + s.rear_lean + 0.3 * s.rear_bow
    high = rng.uniform(0.04, 0.13)
    z = float(top_height(s, np.array(x))) + 0.6 * high
    blade = ellipsoid(np.array([x, 0, z]), np.array([0.03, s.width * 0.40, high]), 6.0, 7)
    parts[str(rng.choice(["trim", "paint", "stripe"]))].append(blade)


def make_mirrors(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds the two outside mirrors."""
    s = shape
    big = s.style in ("van", "bus", "pickup")
    radii = np.array([0.07, 0.10, 0.12 if big else 0.075]) * rng.uniform(0.9, 1.15)
    x = s.cowl - (0.42 * (s.cowl - s.header) if not big else 0.30 * (s.cowl - s.header)) - 0.05
    z = s.belt + (0.20 if big else 0.11)
    y = float(cabin_width(s, np.array(x), np.array(z))) + radii[1] + 0.05
    kind = "trim" if rng.random() < 0.35 else "paint"
    parts[kind].append(both_sides(ellipsoid(np.array([x, y, z]), radii, 3.0, 7)))
    arm = np.array([[x, y, z - 0.03], [x, y - 0.22, z - 0.07]])
    parts["trim"].append(both_sides(tube(arm, 0.028, 6)))


def make_roof(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator) -> None:
    """Adds roof rails, a spoiler, a taxi sign, a roof window."""
    s = shape
    x = np.linspace(s.back + 0.12, s.header - 0.10, 9)
    top = roof_height(s, x)
    if s.style in ("suv", "estate") and rng.random() < 0.6:
        y = cabin_width(s, x, top) * 0.86
        lift = 0.035 * np.array([0, 0.8, 1, 1, 1, 1, 1, 0.8, 0])
        rail = tube(np.stack([x, y, top + lift - 0.02], -1), 0.024, 6)
        parts["chrome" if rng.random() < 0.5 else "trim"].append(both_sides(rail))
    elif s.style in ("suv", "hatchback", "minicar", "sedan", "estate") and rng.random() < 0.18:
        span = np.linspace(s.header - 0.28, s.header - 0.95, 7).clip(s.back + 0.15)
        parts["glass"].append(
            _on_top(body.cabin, _cross(span, np.linspace(-1, 1, 9) * 0.33 * s.width), s.height)
        )
    if s.style in ("hatchback", "suv", "estate", "minicar") and rng.random() < 0.6:
        centre = np.array([s.back, 0.0, float(roof_height(s, np.array(s.back + 0.06))) - 0.015])
        half = float(cabin_width(s, np.array(s.back), centre[2:3])[0]) * 0.86
        parts["cabin"].append(ellipsoid(centre, np.array([rng.uniform(0.10, 0.17), half, 0.026]), 5.0, 7))
    if s.style in ("sedan", "estate") and rng.random() < 0.07:
        spot = np.array([(s.header + s.back) / 2 + 0.2, 0.0, s.height + 0.06])
        parts["plate"].append(ellipsoid(spot, np.array([0.09, 0.28, 0.085]), 5.0, 7))


def make_wing(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds a wing or a lip on the boot lid of fast cars."""
    s = shape
    chance = {"sports": 0.45, "coupe": 0.25, "sedan": 0.1}.get(s.style, 0.0)
    if rng.random() >= chance:
        return
    x = -s.length / 2 + 0.16 + s.rear_lean + s.rear_bow * 0.4
    deck = float(top_height(s, np.array(x)))
    rise = rng.uniform(0.12, 0.24) if rng.random() < 0.6 else 0.02
    kind = "trim" if rng.random() < 0.4 else "paint"
    half = s.width * 0.42
    parts[kind].append(ellipsoid(np.array([x, 0, deck + rise]), np.array([0.14, half, 0.022]), 5.0, 7))
    if rise > 0.05:
        foot = ellipsoid(
            np.array([x, half * 0.7, deck + rise / 2]), np.array([0.06, 0.02, rise / 2 + 0.03]), 4.0, 6
        )
        parts[kind].append(both_sides(foot))


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(x, y, indexing="ij"), -1)


def make_stripes(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator) -> None:
    """Adds racing stripes over hood, roof and deck, or a stripe along the flanks."""
    s, half = shape, shape.length / 2
    if rng.random() < 0.55:
        width, gap = s.width * rng.uniform(0.05, 0.12), s.width * rng.uniform(0.02, 0.05)
        single = rng.random() < 0.3
        y = np.linspace(-width, width, 5) if single else np.linspace(gap, gap + width, 4)
        hood = np.linspace(half - 0.06 - s.lean, s.cowl + 0.05, 22)
        roof = np.linspace(s.header - 0.02, s.back + 0.02, 12)
        deck = np.linspace(s.tail - 0.05, -half + 0.10 + s.rear_lean, 7)
        places = [(body.lower, hood), (body.cabin, roof)]
        if s.style in ("sedan", "coupe", "sports"):
            places.append((body.lower, deck))
        for onto, x in places:
            patch = _on_top(onto, _cross(x, y), s.height)
            parts["stripe"].append(patch if single else both_sides(patch))
    else:
        x = np.linspace(s.rear_axle - s.arch, s.front_axle + s.arch, 30)
        middle = (
            s.sill + (s.belt - s.sill) * rng.uniform(0.60, 0.76) + (x / s.length) * rng.uniform(-0.1, 0.05)
        )
        wide = rng.uniform(0.03, 0.08)
        parts["stripe"].append(_on_side(s, body.lower, _band(x, middle - wide, middle + wide, 4), 0.012))
