"""What a car may look like: body styles, their proportions in metres, and colours as on a road."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

STYLES: tuple[str, ...] = (
    "sedan",
    "hatchback",
    "estate",
    "suv",
    "pickup",
    "van",
    "sports",
    "coupe",
    "minicar",
    "bus",
    "beetle",
    "roadster",
    "stock",
    "lorry",
    "formula",
    "box",
    "tank",
    "tipper",
    "garbage",
    "fire_engine",
    "city_bus",
    "coach",
    "minibus",
)
HEAVY = STYLES[-8:]

Kind = Literal["everyday", "racing", "unusual", "heavy", "varied"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_NO_HEAVY = (0,) * len(HEAVY)
# How often each style is drawn, in the order of STYLES.
SHARES: dict[Kind, tuple[float, ...]] = {
    "everyday": (0.20, 0.16, 0.10, 0.17, 0.08, 0.08, 0.09, 0.06, 0.04, 0.02, 0, 0, 0, 0, 0, *_NO_HEAVY),
    "racing": (0.16, 0.11, 0.03, 0.03, 0.02, 0.01, 0.35, 0.23, 0.06, 0, 0, 0, 0, 0, 0, *_NO_HEAVY),
    "unusual": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.22, 0.18, 0.26, 0.10, 0.24, *_NO_HEAVY),
    "heavy": (*[0] * 15, 0.17, 0.09, 0.12, 0.12, 0.12, 0.16, 0.10, 0.12),
    "varied": (0.24, 0.14, 0.09, 0.14, 0.07, 0.05, 0.07, 0.07, 0.04, 0, 0, 0.09, 0, 0, 0, *_NO_HEAVY),
}

# Ranges per style. Heights and lengths in metres; cowl (foot of the wind-screen), header (its top), back
# (rear end of the roof) and tail (foot of the rear window) as fractions of the length from the nose.
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "sedan": {
        "length": (4.4, 5.0),
        "width": (1.77, 1.90),
        "height": (1.40, 1.49),
        "wheel": (0.315, 0.345),
        "sill": (0.20, 0.25),
        "nose": (0.66, 0.74),
        "hood": (0.88, 0.95),
        "belt": (0.92, 0.98),
        "deck": (0.98, 1.08),
        "cowl": (0.26, 0.30),
        "header": (0.42, 0.46),
        "back": (0.63, 0.69),
        "tail": (0.79, 0.86),
        "lean": (0.05, 0.09),
    },
    "hatchback": {
        "length": (3.85, 4.35),
        "width": (1.70, 1.82),
        "height": (1.42, 1.54),
        "wheel": (0.30, 0.335),
        "sill": (0.20, 0.25),
        "nose": (0.68, 0.76),
        "hood": (0.90, 0.98),
        "belt": (0.93, 1.00),
        "deck": (0.94, 1.02),
        "cowl": (0.22, 0.27),
        "header": (0.39, 0.44),
        "back": (0.83, 0.90),
        "tail": (0.955, 0.98),
        "lean": (0.05, 0.09),
    },
    "estate": {
        "length": (4.5, 4.95),
        "width": (1.77, 1.88),
        "height": (1.43, 1.53),
        "wheel": (0.31, 0.345),
        "sill": (0.20, 0.26),
        "nose": (0.66, 0.75),
        "hood": (0.88, 0.96),
        "belt": (0.92, 1.00),
        "deck": (0.94, 1.02),
        "cowl": (0.25, 0.29),
        "header": (0.40, 0.44),
        "back": (0.87, 0.93),
        "tail": (0.965, 0.985),
        "lean": (0.05, 0.09),
    },
    "suv": {
        "length": (4.2, 4.9),
        "width": (1.82, 2.0),
        "height": (1.62, 1.86),
        "wheel": (0.355, 0.405),
        "sill": (0.29, 0.36),
        "nose": (0.90, 1.02),
        "hood": (1.05, 1.14),
        "belt": (1.07, 1.17),
        "deck": (1.08, 1.18),
        "cowl": (0.24, 0.29),
        "header": (0.38, 0.43),
        "back": (0.86, 0.94),
        "tail": (0.955, 0.985),
        "lean": (0.02, 0.07),
    },
    "pickup": {
        "length": (4.9, 5.7),
        "width": (1.84, 2.02),
        "height": (1.74, 1.90),
        "wheel": (0.37, 0.42),
        "sill": (0.36, 0.43),
        "nose": (0.98, 1.08),
        "hood": (1.10, 1.18),
        "belt": (1.12, 1.22),
        "deck": (1.10, 1.22),
        "cowl": (0.25, 0.29),
        "header": (0.355, 0.39),
        "back": (0.48, 0.62),
        "tail": (0.50, 0.64),
        "lean": (0.0, 0.05),
    },
    "van": {
        "length": (4.5, 5.4),
        "width": (1.84, 2.02),
        "height": (1.85, 2.30),
        "wheel": (0.32, 0.36),
        "sill": (0.24, 0.32),
        "nose": (0.86, 0.98),
        "hood": (1.06, 1.18),
        "belt": (1.10, 1.24),
        "deck": (1.08, 1.2),
        "cowl": (0.12, 0.19),
        "header": (0.26, 0.32),
        "back": (0.95, 0.965),
        "tail": (0.985, 0.99),
        "lean": (0.04, 0.12),
    },
    "sports": {
        "length": (4.15, 4.65),
        "width": (1.84, 1.98),
        "height": (1.16, 1.29),
        "wheel": (0.325, 0.355),
        "sill": (0.15, 0.19),
        "nose": (0.54, 0.62),
        "hood": (0.76, 0.84),
        "belt": (0.80, 0.87),
        "deck": (0.84, 0.94),
        "cowl": (0.25, 0.36),
        "header": (0.44, 0.50),
        "back": (0.58, 0.64),
        "tail": (0.83, 0.93),
        "lean": (0.08, 0.20),
    },
    "coupe": {
        "length": (4.4, 4.85),
        "width": (1.80, 1.93),
        "height": (1.30, 1.39),
        "wheel": (0.325, 0.355),
        "sill": (0.17, 0.22),
        "nose": (0.62, 0.70),
        "hood": (0.84, 0.91),
        "belt": (0.87, 0.93),
        "deck": (0.93, 1.02),
        "cowl": (0.30, 0.35),
        "header": (0.46, 0.51),
        "back": (0.62, 0.67),
        "tail": (0.84, 0.90),
        "lean": (0.04, 0.12),
    },
    "minicar": {
        "length": (2.9, 3.6),
        "width": (1.54, 1.68),
        "height": (1.45, 1.60),
        "wheel": (0.275, 0.31),
        "sill": (0.19, 0.24),
        "nose": (0.70, 0.78),
        "hood": (0.90, 0.99),
        "belt": (0.93, 1.02),
        "deck": (0.95, 1.04),
        "cowl": (0.17, 0.23),
        "header": (0.34, 0.40),
        "back": (0.82, 0.90),
        "tail": (0.955, 0.975),
        "lean": (0.04, 0.10),
    },
    "bus": {
        "length": (6.6, 8.4),
        "width": (2.2, 2.45),
        "height": (2.6, 2.95),
        "wheel": (0.42, 0.47),
        "sill": (0.30, 0.36),
        "nose": (1.10, 1.25),
        "hood": (1.20, 1.32),
        "belt": (1.28, 1.45),
        "deck": (1.25, 1.4),
        "cowl": (0.012, 0.03),
        "header": (0.045, 0.08),
        "back": (0.97, 0.98),
        "tail": (0.99, 0.992),
        "lean": (0.0, 0.05),
    },
    "beetle": {
        "length": (3.5, 4.2),
        "width": (1.28, 1.50),  # of the body between the mudguards
        "height": (1.42, 1.62),
        "wheel": (0.29, 0.38),
        "sill": (0.24, 0.40),
        "nose": (0.62, 0.76),
        "hood": (0.92, 1.02),
        "belt": (0.94, 1.04),
        "deck": (0.66, 0.80),
        "cowl": (0.29, 0.35),
        "header": (0.39, 0.45),
        "back": (0.58, 0.66),
        "tail": (0.89, 0.95),
        "lean": (0.10, 0.30),
    },
    "roadster": {
        "length": (3.6, 4.4),
        "width": (1.60, 1.80),
        "height": (1.14, 1.28),
        "wheel": (0.29, 0.33),
        "sill": (0.17, 0.23),
        "nose": (0.58, 0.68),
        "hood": (0.82, 0.90),
        "belt": (0.84, 0.92),
        "deck": (0.84, 0.94),
        "cowl": (0.34, 0.40),
        "header": (0.44, 0.48),
        "back": (0.62, 0.67),
        "tail": (0.70, 0.76),
        "lean": (0.06, 0.16),
    },
    "stock": {
        "length": (4.7, 5.3),
        "width": (1.80, 2.0),
        "height": (1.24, 1.40),
        "wheel": (0.32, 0.36),
        "sill": (0.14, 0.20),
        "nose": (0.58, 0.70),
        "hood": (0.80, 0.90),
        "belt": (0.84, 0.92),
        "deck": (0.90, 1.02),
        "cowl": (0.30, 0.36),
        "header": (0.43, 0.48),
        "back": (0.58, 0.66),
        "tail": (0.74, 0.84),
        "lean": (0.03, 0.12),
    },
    "lorry": {
        "length": (5.0, 6.6),
        "width": (1.84, 2.1),
        "height": (1.80, 2.1),
        "wheel": (0.35, 0.42),
        "sill": (0.34, 0.44),
        "nose": (0.95, 1.12),
        "hood": (1.10, 1.22),
        "belt": (1.14, 1.26),
        "deck": (0.80, 0.95),
        "cowl": (0.08, 0.22),
        "header": (0.17, 0.30),
        "back": (0.33, 0.38),
        "tail": (0.345, 0.395),
        "lean": (0.0, 0.06),
    },
}


@dataclass(frozen=True)
class Shape:
    """The measures of one car: metres, +X forward, +Z up, ground at z = 0, centre of length at x = 0."""

    style: str
    length: float
    width: float
    height: float
    wheel: float  # tyre radius
    tread: float  # tyre width
    sill: float  # lower edge of the body
    nose: float  # height of the hood's front edge
    hood: float  # height of the hood at the wind-screen
    belt: float  # height of the doors' upper edge
    deck: float  # height of the boot lid, or of the body at the tail
    cowl: float  # x of the foot of the wind-screen
    header: float  # x of its top
    back: float  # x of the rear end of the roof
    tail: float  # x of the foot of the rear window
    roof_drop: float  # how much lower the roof is at its rear end
    front_axle: float  # x
    rear_axle: float  # x
    arch: float  # radius of the wheel arches
    lean: float  # how far the hood's front edge stands behind the bumper
    rear_lean: float  # how far the deck's rear edge stands behind the bumper
    bow: float  # how far the corners stand behind the middle of the front
    rear_bow: float
    taper: float  # narrowing of the plan towards the nose, a fraction
    rear_taper: float
    tumble: float  # inward lean of the cabin's sides, per metre of height
    shoulder: float  # step from the body's side to the cabin's
    squareness: float  # exponent of the cabin's superelliptic sections
    body_squareness: float
    scoop: float  # depth of the hollow in the doors, a fraction of the half width
    hips: float  # swelling over the rear wheels, a fraction of the half width
    hollow: tuple[float, float] | None  # x, rear and front, of an open load bed or cockpit
    fender: float  # how far mudguards of their own stand out from the body, 0 for none


def _overhangs(style: str, length: float, arch: float, rng: np.random.Generator) -> np.ndarray:
    """Metres from the bumpers to the axles, front and rear."""
    front = {"bus": 0.24, "van": 0.175, "sports": 0.20, "minicar": 0.17}.get(style, 0.185)
    rear = {"bus": 0.27, "sports": 0.20, "minicar": 0.15, "suv": 0.195, "hatchback": 0.175}.get(style, 0.215)
    return np.maximum(np.array([front, rear]) * length * rng.uniform(0.93, 1.07, 2), arch + 0.32)


def lowered(shape: Shape, rng: np.random.Generator) -> Shape:
    """The car as a tuner leaves it: the body lower and wider over the same wheels."""
    flatter, wider = float(rng.uniform(0.87, 1.0)), float(rng.uniform(1.0, 1.12))
    heights = {name: flatter * getattr(shape, name) for name in ("height", "nose", "hood", "belt", "deck")}
    return replace(shape, width=wider * shape.width, **heights)


def draw_shape(style: str, rng: np.random.Generator) -> Shape:
    """Draws the measures of a car of one style."""
    ranges = _RANGES[style]
    value = {name: float(rng.uniform(*bounds)) for name, bounds in ranges.items()}
    length, wheel = value["length"], value["wheel"]
    for name in ("cowl", "header", "back", "tail"):
        value[name] = length * (0.5 - value[name])
    low = style in ("sports", "coupe", "stock", "roadster")
    boxy = style in ("van", "bus", "pickup", "suv", "lorry")
    arch = wheel * (1.16 if boxy else 1.13) + float(rng.uniform(0, 0.02))
    overhang = _overhangs(style, length, arch, rng)
    panelled, rounded = style in ("van", "bus"), style == "beetle"
    tumble = (0.05, 0.14) if panelled else (0.10, 0.24) if rounded else (0.22, 0.42)
    squareness = (6.0, 10.0) if panelled else (2.4, 3.4) if rounded else (4.4, 7.0)
    body_squareness = (4.5, 8.0) if boxy else (2.3, 3.0) if rounded else (3.2, 5.5)
    three_box = style in ("sedan", "coupe", "sports", "stock", "roadster", "beetle")
    rear_lean = float(rng.uniform(0.01, 0.04) if boxy else rng.uniform(0.04, 0.11))
    if not three_box and style not in ("pickup", "lorry"):  # the rear window stands on the tailgate
        value["tail"] = -length / 2 + rear_lean + (0.09 if boxy else 0.12)
    bows = rng.uniform((0.05, 0.03), (0.13, 0.07)) if boxy else rng.uniform((0.12, 0.06), (0.28, 0.16))
    # What is left between arch and bumper bounds the bow, lest the bent end fold over itself.
    room = 0.6 * (overhang - arch) - 0.03 - np.array([value["lean"], rear_lean])
    bows = np.minimum(bows, np.maximum(room, 0.03))
    return Shape(
        style=style,
        **value,
        tread=float(rng.uniform(0.19, 0.23)) * (1.2 if boxy or low else 1.0),
        roof_drop=float(rng.uniform(0.02, 0.08)) * (0.3 if style in ("van", "bus", "pickup") else 1.0),
        front_axle=length / 2 - float(overhang[0]),
        rear_axle=-length / 2 + float(overhang[1]),
        arch=arch,
        rear_lean=rear_lean,
        bow=float(bows[0]),
        rear_bow=float(bows[1]),
        taper=float(rng.uniform(0.02, 0.06) if boxy else rng.uniform(0.05, 0.12)),
        rear_taper=float(rng.uniform(0.01, 0.04) if boxy else rng.uniform(0.04, 0.09)),
        tumble=float(rng.uniform(*tumble)) + 0.08 * low,
        shoulder=float(rng.uniform(0.015, 0.03) if panelled else rng.uniform(0.04, 0.10)),
        squareness=float(rng.uniform(*squareness)),
        body_squareness=float(rng.uniform(*body_squareness)),
        scoop=float(rng.uniform(0.0, 0.035)),
        hips=float(rng.uniform(0.0, 0.04)) if three_box or low else float(rng.uniform(0, 0.015)),
        hollow=_hollow(style, value),
        fender=float(rng.uniform(0.16, 0.28)) if rounded else 0.0,
    )


def _hollow(style: str, value: dict[str, float]) -> tuple[float, float] | None:
    if style == "pickup":
        return 0.1 - value["length"] / 2, value["tail"] - 0.06
    if style == "roadster":
        return value["back"] - 0.1, value["cowl"] - 0.22
    return None
