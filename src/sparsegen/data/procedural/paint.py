"""Colours as on a road, and how the parts of a car reflect light."""

from typing import NamedTuple

import numpy as np

# Displayed sRGB colours of car paint with their shares on the road.
_PAINTS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.19, (238, 238, 236)),  # white
    (0.15, (24, 25, 28)),  # black
    (0.14, (104, 108, 114)),  # grey
    (0.11, (186, 190, 194)),  # silver
    (0.11, (28, 62, 132)),  # blue
    (0.10, (172, 22, 28)),  # red
    (0.03, (58, 118, 190)),  # light blue
    (0.03, (24, 78, 52)),  # green
    (0.02, (120, 164, 84)),  # light green
    (0.025, (240, 196, 36)),  # yellow
    (0.025, (226, 104, 30)),  # orange
    (0.02, (92, 58, 40)),  # brown
    (0.025, (204, 188, 156)),  # beige
    (0.025, (32, 120, 126)),  # teal
    (0.02, (104, 24, 48)),  # burgundy
)


def linear(srgb: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    """Displayed sRGB in 0..1 to linear light (IEC 61966-2-1)."""
    value = np.asarray(srgb, float)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def draw_paint(rng: np.random.Generator, bright: float = 0.0) -> np.ndarray:
    """A linear RGB paint colour; `bright` in 0..1 shifts the shares from greys to saturated colours."""
    shares = np.array([share for share, _ in _PAINTS])
    colours = np.array([colour for _, colour in _PAINTS]) / 255
    shares = shares * (1 + 4 * bright * (np.ptp(colours, axis=1) > 0.25))
    colour = colours[rng.choice(len(shares), p=shares / shares.sum())]
    jitter = rng.normal(0, 0.012, 3) + rng.normal(0, 0.05)
    return linear(np.clip(colour * (1 + jitter * 1.2) + 0.2 * jitter, 0.02, 0.96))


class Finish(NamedTuple):
    """How a part looks: linear RGB base colour, metalness and roughness as in glTF."""

    colour: np.ndarray
    metallic: float
    roughness: float


def draw_finish(style: str, rng: np.random.Generator) -> tuple[dict[str, Finish], bool]:
    """Draws the finish of every part, and whether the car has stripes."""
    fast = style in ("sports", "coupe", "minicar")
    paint = draw_paint(rng, 0.8 if fast else 0.1)
    gloss = float(rng.uniform(0.22, 0.4))
    two_tone = rng.random() < (0.35 if style in ("minicar", "suv", "bus") else 0.14)
    roofs = ((0.93, 0.93, 0.92), (0.10, 0.10, 0.11), (0.72, 0.74, 0.76), (0.90, 0.86, 0.76))
    second = linear(roofs[rng.integers(len(roofs))]) if rng.random() < 0.8 else draw_paint(rng)
    second = second if two_tone else paint
    dark = bool(paint.mean() < 0.25)
    stripe = linear((0.93, 0.93, 0.93)) if dark else linear((0.08, 0.08, 0.09))
    if rng.random() < 0.4:
        stripe = draw_paint(rng, 1.0)
    if np.abs(stripe - paint).max() < 0.15:
        stripe = linear((0.93, 0.93, 0.93)) if dark else linear((0.08, 0.08, 0.09))
    tint = rng.uniform(0.6, 1.5)
    rim = linear(np.full(3, rng.uniform(0.62, 0.85))) if rng.random() < 0.82 else linear((0.16, 0.16, 0.17))
    trim = linear(np.full(3, rng.uniform(0.09, 0.16)))
    plate = linear((0.93, 0.8, 0.2)) if rng.random() < 0.2 else linear((0.92, 0.92, 0.92))
    finish = {
        "paint": Finish(paint, 0.0, gloss),
        "cabin": Finish(second, 0.0, gloss),
        "stripe": Finish(stripe, 0.0, gloss),
        "glass": Finish(linear((0.19, 0.24, 0.28)) * tint, 0.0, 0.12),
        "trim": Finish(trim, 0.0, 0.55),
        "seam": Finish(np.minimum(paint * 0.25, 0.06), 0.0, 0.7),
        "under": Finish(linear((0.09, 0.09, 0.09)), 0.0, 0.9),
        "well": Finish(linear((0.13, 0.13, 0.13)), 0.0, 0.8),
        "tyre": Finish(linear((0.13, 0.13, 0.14)), 0.0, 0.85),
        "rim": Finish(rim, 0.0, 0.35),
        "chrome": Finish(linear((0.80, 0.81, 0.83)), 0.0, 0.25),
        "head_lamp": Finish(linear((0.93, 0.94, rng.uniform(0.84, 0.97))), 0.0, 0.2),
        "tail_lamp": Finish(linear((rng.uniform(0.62, 0.8), 0.06, 0.07)), 0.0, 0.25),
        "plate": Finish(plate, 0.0, 0.5),
    }
    return finish, bool(rng.random() < (0.25 if fast else 0.07))
