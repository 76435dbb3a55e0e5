"""Everyday bodies whose lamps, grilles, bumpers and paints do not tell front from rear."""

from dataclasses import replace

import numpy as np

from sparsegen.data.procedural.body import Body, roof_height, top_height
from sparsegen.data.procedural.ends import around, grown, lens, panel
from sparsegen.data.procedural.meshing import Parts, both_sides, ellipsoid, tube
from sparsegen.data.procedural.paint import Finish, draw_paint, linear
from sparsegen.data.procedural.styles import Shape


def vary_shape(shape: Shape, rng: np.random.Generator) -> Shape:
    """The same car, or half of the sedans and coupes with a boot like their bonnet."""
    s = shape
    if s.style not in ("sedan", "coupe") or rng.random() < 0.5:
        return s
    ends = s.length * rng.uniform(0.22, 0.29) * rng.uniform(0.94, 1.06, 2)
    rakes = s.length * rng.uniform(0.09, 0.16) * rng.uniform(0.85, 1.15, 2)
    cowl, tail = s.length / 2 - ends[0], ends[1] - s.length / 2
    high = s.hood + rng.uniform(-0.02, 0.04)
    bow, lean = min(s.bow, s.rear_bow), min(s.lean, s.rear_lean)
    return replace(
        s,
        cowl=cowl,
        tail=tail,
        header=cowl - rakes[0],
        back=tail + rakes[1],
        hood=high,
        nose=high - rng.uniform(0.04, 0.12),
        deck=high + rng.uniform(-0.05, 0.05),
        belt=max(s.belt, high + 0.02),
        roof_drop=rng.uniform(0.0, 0.04),
        bow=bow,
        rear_bow=bow,
        lean=lean,
        rear_lean=lean,
        rear_taper=s.taper,
    )


def vary_finish(finish: dict[str, Finish], rng: np.random.Generator) -> dict[str, Finish]:
    """Other rims, tints, roofs and lenses on the same paint."""

    def grey(low: float, high: float) -> np.ndarray:
        return linear(np.full(3, rng.uniform(low, high)))

    paint = finish["paint"].colour
    rim = (grey(0.85, 0.96), grey(0.05, 0.18), grey(0.6, 0.8), paint)[rng.choice(4, p=(0.2, 0.3, 0.35, 0.15))]
    roof = (finish["cabin"].colour, grey(0.04, 0.12), grey(0.85, 0.95))[rng.choice(3, p=(0.6, 0.25, 0.15))]
    white, amber = linear((0.93, 0.94, rng.uniform(0.84, 0.97))), linear((0.9, rng.uniform(0.5, 0.75), 0.2))
    head = (white, amber, grey(0.08, 0.3), grey(0.4, 0.65), paint)[
        rng.choice(5, p=(0.42, 0.1, 0.22, 0.16, 0.1))
    ]
    red = linear((rng.uniform(0.3, 0.8), 0.06, 0.07))
    tail = (red, grey(0.75, 0.93), grey(0.06, 0.2), paint, amber)[
        rng.choice(5, p=(0.48, 0.2, 0.16, 0.1, 0.06))
    ]
    colours = {
        "rim": rim,
        "cabin": roof,
        "head_lamp": head,
        "tail_lamp": tail,
        "glass": np.minimum(finish["glass"].colour * rng.uniform(0.3, 3.0), 0.5),
    }
    return finish | {name: finish[name]._replace(colour=colour) for name, colour in colours.items()}


def _lamps(shape: Shape, body: Body, sign: float, parts: Parts, rng: np.random.Generator) -> None:
    """Lamps of one end: wedges, round ones, slits, a bar, behind dark glass, upright, or none to see."""
    s, kind = shape, "head_lamp" if sign > 0 else "tail_lamp"
    top = s.nose if sign > 0 else s.deck
    span = top - s.sill
    middle = s.sill + span * rng.uniform(0.62, 0.78)

    def add(name: str, start: float, stop: float, height: float, power: float, lift: float) -> None:
        ends = (middle - height / 2, middle - height / 2), (middle + height / 2, middle + height / 2)
        patch = around(s, body.lower, sign, lens(start, stop, *ends, power), lift)
        parts[name].append(both_sides(patch) if start > 0 else patch)

    look = rng.choice(["wedge", "round", "slit", "bar", "dark", "upright", "none"],
                      p=(0.16, 0.22, 0.16, 0.14, 0.16, 0.08, 0.08))  # fmt: skip
    if look == "round":
        wide = rng.uniform(5.0, 7.5)
        height = wide / 7 * rng.uniform(0.15, 0.19)
        start = rng.uniform(29, 38)
        for k in range(int(rng.integers(1, 3))):
            add(
                "chrome" if rng.random() < 0.5 else "trim",
                start - 1 - 16 * k,
                start + 2 * wide + 1 - 16 * k,
                height + 0.03,
                2.0,
                0.008,
            )
            add(kind, start - 16 * k, start + 2 * wide - 16 * k, height, 2.0, 0.016)
    elif look == "slit":
        add(kind, rng.uniform(12, 30), rng.uniform(46, 58), rng.uniform(0.03, 0.07), 5.0, 0.014)
    elif look == "bar":
        height, edge = rng.uniform(0.03, 0.14), rng.uniform(42, 56)
        if rng.random() < 0.4:
            add("trim", -edge, edge, 1.8 * height, 9.0, 0.008)
        add(kind, -edge, edge, height, 9.0, 0.016)
    elif look == "dark":
        height, edge = span * rng.uniform(0.2, 0.34), rng.uniform(46, 56)
        start = -edge if rng.random() < 0.4 else rng.uniform(16, 28)
        add("glass", start, edge, height, 7.0, 0.010)
        add(kind, rng.uniform(30, 36), edge - 4, height * rng.uniform(0.3, 0.7), 4.0, 0.018)
    elif look == "upright":
        add(kind, rng.uniform(37, 41), rng.uniform(47, 54), span * rng.uniform(0.35, 0.5), 5.0, 0.014)
    elif look == "wedge":
        grid = lens(rng.uniform(20, 31), rng.uniform(44, 58), (middle - 0.04, middle - 0.09),
                    (middle + 0.04, middle + rng.uniform(0.06, 0.12)), rng.uniform(3, 6))  # fmt: skip
        if rng.random() < 0.5:
            parts["trim"].append(both_sides(around(s, body.lower, sign, grown(grid, 1.2, 0.018), 0.008)))
        parts[kind].append(both_sides(around(s, body.lower, sign, grid, 0.016)))


def _bumper(shape: Shape, body: Body, sign: float, look: str, parts: Parts, rng: np.random.Generator) -> None:
    """A bumper: chrome, black plastic, or in the body's colour with an intake or a valance."""
    s = shape
    span = (s.nose if sign > 0 else s.deck) - s.sill
    if look == "body":
        half = s.width * rng.uniform(0.2, 0.4)
        foot = s.sill + 0.04
        parts["trim"].append(
            panel(s, body.lower, sign, half, foot, foot + span * rng.uniform(0.1, 0.28), 0.009)
        )
        return
    low = s.sill + (0.01 if look == "trim" else 0.3 * span)
    high = low + span * (rng.uniform(0.25, 0.42) if look == "trim" else rng.uniform(0.1, 0.17))
    grid = lens(-56, 56, (low, low), (high, high), 14.0)
    parts[look].append(around(s, body.lower, sign, grid, 0.022))


def make_face(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator) -> None:
    """Adds front and rear, each drawn by itself but for the bumpers."""
    s = shape
    look = str(rng.choice(["body", "trim", "chrome"], p=(0.5, 0.28, 0.22)))
    for sign in (1.0, -1.0):
        _bumper(s, body, sign, look, parts, rng)
        _lamps(s, body, sign, parts, rng)
        span = (s.nose if sign > 0 else s.deck) - s.sill
        plate = s.sill + span * rng.uniform(0.3, 0.5)
        if rng.random() < 0.75:
            parts["plate"].append(panel(s, body.lower, sign, 0.25, plate - 0.055, plate + 0.055, 0.03))
    _grille(s, body, parts, rng)
    span = s.deck - s.sill
    if rng.random() < 0.3:  # a panel or a bar between the tail lamps
        z, high = s.sill + 0.68 * span, rng.uniform(0.02, 0.16)
        kind = str(rng.choice(["trim", "chrome", "glass"]))
        parts[kind].append(panel(s, body.lower, -1, 0.32 * s.width, z - high / 2, z + high / 2, 0.010))
    if s.style == "suv" and rng.random() < 0.4:
        _spare(s, parts)
    if rng.random() < 0.2 and s.style not in ("van", "minicar"):
        _scoop(s, parts, rng)
    if s.style in ("suv", "estate", "hatchback", "van", "minicar", "sedan") and rng.random() < 0.25:
        _rack(s, parts, rng)


def _grille(shape: Shape, body: Body, parts: Parts, rng: np.random.Generator) -> None:
    """No grille, a usual one, a tall one, or one from lamp to lamp."""
    s, span = shape, shape.nose - shape.sill
    look = rng.choice(["none", "usual", "tall", "wide"], p=(0.36, 0.2, 0.2, 0.24))
    if look == "none":
        return
    half = s.width * {"usual": rng.uniform(0.13, 0.24), "tall": rng.uniform(0.08, 0.2)}.get(
        str(look), rng.uniform(0.3, 0.38)
    )
    high = s.sill + span * rng.uniform(0.76, 0.86)
    low = high - span * (rng.uniform(0.45, 0.65) if look == "tall" else rng.uniform(0.12, 0.3))
    flare = rng.uniform(0.85, 1.25)
    if rng.random() < 0.5:
        parts["chrome"].append(panel(s, body.lower, 1, half + 0.03, low - 0.025, high + 0.025, 0.008, flare))
    kind = "chrome" if rng.random() < 0.25 else "trim"
    parts[kind].append(panel(s, body.lower, 1, half, low, high, 0.015, flare))
    bars = str(rng.choice(["chrome", "trim", "paint"]))
    for z in np.linspace(low, high, int(rng.integers(2, 8)))[1:-1]:
        parts[bars].append(panel(s, body.lower, 1, 0.95 * half * min(flare, 1), z - 0.011, z + 0.011, 0.022))


def _spare(shape: Shape, parts: Parts) -> None:
    """A wheel on the rear door, in a cover."""
    s = shape
    radius = 0.9 * s.wheel
    centre = np.array([-s.length / 2 - 0.06 + 0.5 * s.rear_lean, 0.0, s.sill + 0.25 + radius])
    parts["trim"].append(ellipsoid(centre, np.array([0.14, radius, radius]), 2.6, 12))
    parts["rim"].append(
        ellipsoid(centre - (0.09, 0, 0), np.array([0.08, 0.65 * radius, 0.65 * radius]), 2.4, 10)
    )


def _scoop(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """A hump on the bonnet with a dark mouth."""
    s = shape
    x = s.cowl + (s.length / 2 - s.cowl) * rng.uniform(0.3, 0.5)
    z = float(top_height(s, np.array(x)))
    radii = np.array([rng.uniform(0.18, 0.32), s.width * rng.uniform(0.1, 0.2), rng.uniform(0.05, 0.11)])
    parts["paint"].append(ellipsoid(np.array([x, 0, z]), radii, 3.0, 9))
    mouth = np.array([x + 0.86 * radii[0], 0, z + 0.3 * radii[2]])
    parts["trim"].append(ellipsoid(mouth, radii * (0.15, 0.75, 0.5), 3.0, 7))


def _rack(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Bars across the roof on feet, with a box or a board on some."""
    s = shape
    ends = s.header - 0.3, s.back + 0.25
    half, top = 0.33 * s.width, s.height + 0.06
    kind = "chrome" if rng.random() < 0.4 else "trim"
    for x in np.linspace(*ends, 2 if rng.random() < 0.6 else 4):
        parts[kind].append(tube(np.array([[x, -half, top], [x, half, top]]), 0.025, 6))
        z = float(roof_height(s, np.array(x))) - 0.06
        foot = np.array([x, 0.92 * half, (top + z) / 2])
        parts[kind].append(both_sides(ellipsoid(foot, np.array([0.04, 0.03, (top - z) / 2]), 4.0, 6)))
    middle = sum(ends) / 2
    if rng.random() < 0.35:
        load = np.array([middle, 0.0, top + 0.15])
        radii = np.array([abs(ends[0] - ends[1]) * rng.uniform(0.5, 0.7), half * rng.uniform(0.5, 0.9), 0.15])
        parts[str(rng.choice(["trim", "plate", "stripe"]))].append(ellipsoid(load, radii, 3.5, 9))


def draw_second(paint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The other colour of a car in two, linear RGB."""
    second = draw_paint(rng, 0.4)
    return second if np.abs(second - paint).max() > 0.15 else np.maximum(0.9 - second, 0)
