"""Dress of race cars: patterns, numbers and lettering over the whole body, and wings on struts.

A network that has only seen cars of one color learns to guess paint, not to look at it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from sparsegen.data.procedural.body import top_height
from sparsegen.data.procedural.meshing import Mesh, Parts, both_sides, ellipsoid, face_normals
from sparsegen.data.procedural.styles import Shape

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

# Texels of one tile. A sheet is four tiles, from top to bottom: left side, right side, top, ends.
TILE = (256, 96)
_TILES = 4
_GLYPHS = "ABCDEFGHIJKLMNOPRSTUVXYZ0123456789"

Sheet = UInt8[np.ndarray, "h w 3"]
Color = tuple[int, int, int]


def draw_livery(paint: Float[np.ndarray, "3"], rng: np.random.Generator) -> Sheet:
    """A sheet of displayed colors: both sides, the top and the ends of a car, on its paint (displayed, 0..1).

    Three in four cars wear the same on both sides.
    """
    base = _bytes(paint)
    accents = [_accent(rng) for _ in range(3)]
    layers = [_LAYERS[i] for i in rng.choice(len(_LAYERS), size=rng.integers(1, 4), replace=False)]

    def tile(extra: list[Layer]) -> Image.Image:
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", TILE, base)
        for layer in [*layers, *extra]:
            layer(ImageDraw.Draw(picture), accents, rng)
        return picture

    signs = [_sign] * int(rng.integers(0, 4))
    left = tile(signs)
    right = left if rng.random() < 0.75 else tile(signs)
    top = tile([_sign] * int(rng.integers(0, 2)))
    sheet = np.concatenate([np.asarray(t) for t in (left, right, top, tile([]))])
    return _weathered(sheet, rng)


def two_tone(paint: Float[np.ndarray, "3"], second: Float[np.ndarray, "3"], share: float) -> Sheet:
    """A sheet whose sides and ends wear a second color (displayed, 0..1) up to a share of the height."""
    height, width = TILE[1], TILE[0]
    side = np.tile(np.array(_bytes(paint), np.uint8), (height, width, 1))
    top = side.copy()
    side[round((1 - share) * height) :] = _bytes(second)
    return np.concatenate([side, side, top, side])


def wear(mesh: Mesh, extents: tuple[float, float, float]) -> tuple[Mesh, Float[np.ndarray, "V 2"]]:
    """A part of the body with its faces apart, and where on the sheet each vertex lies (v = 1 at the top).

    Every face wears the tile that it faces most, projected along that axis. `extents`: the car's length,
    width and height.
    """
    length, width, height = extents
    corners = mesh.vertices[mesh.faces]  # (f, 3, 3)
    normals = np.abs(face_normals(mesh))
    across = np.argmax(normals, axis=1)  # 0: ends, 1: sides, 2: top
    left = corners[:, :, 1].mean(axis=1) > 0
    tile = np.select([(across == 1) & left, across == 1, across == 2], [0, 1, 2], 3)
    along = np.clip(corners[..., 0] / length + 0.5, 0, 1)
    wide = np.clip(corners[..., 1] / width + 0.5, 0, 1)
    high = np.clip(corners[..., 2] / height, 0, 1)
    u = np.where(tile[:, None] == 3, wide, along)
    v = np.where(tile[:, None] == 2, wide, high)
    v = np.clip(v, 0.02, 0.98)  # no bleeding from the tile above or below
    sheet = 1 - (tile[:, None] + 1 - v) / _TILES
    uv = np.stack([u, sheet], axis=-1).reshape(-1, 2)
    return Mesh(corners.reshape(-1, 3), np.arange(len(uv)).reshape(-1, 3)), uv


def make_race_wing(shape: Shape, parts: Parts, rng: np.random.Generator) -> None:
    """Adds a wing as wide as the car on two struts behind, with plates at its ends on some cars."""
    s = shape
    x = -s.length / 2 + rng.uniform(0.05, 0.3)
    deck = float(top_height(s, np.array(x + 0.15)))
    z = deck + rng.uniform(0.18, 0.45)
    chord, half = rng.uniform(0.12, 0.24), s.width * rng.uniform(0.36, 0.5)
    kind = str(rng.choice(["paint", "trim", "stripe"]))
    parts[kind].append(ellipsoid(np.array([x, 0, z]), np.array([chord, half, 0.025]), 5.0, 8))
    foot = np.array([x + 0.08, half * rng.uniform(0.4, 0.8), (deck + z) / 2])
    parts["trim"].append(both_sides(ellipsoid(foot, np.array([0.05, 0.02, (z - deck) / 2 + 0.04]), 4.0, 6)))
    if rng.random() < 0.6:
        plate = np.array([x, half, z])
        parts[kind].append(both_sides(ellipsoid(plate, np.array([chord * 1.2, 0.02, 0.09]), 6.0, 6)))


# --- layers ------------------------------------------------------------------------------------

Layer = Callable[["ImageDraw.ImageDraw", list[Color], np.random.Generator], None]


def _bands(draw: ImageDraw.ImageDraw, colors: list[Color], rng: np.random.Generator) -> None:
    """Parallel bands at any angle, one or many."""
    width, height = TILE
    slant = rng.uniform(-1.5, 1.5) * height
    step, wide = rng.uniform(14, 120), rng.uniform(5, 30)
    x = rng.uniform(0, width)
    for i in range(int(rng.integers(1, 9))):
        corners = [(x, 0), (x + wide, 0), (x + wide + slant, height), (x + slant, height)]
        draw.polygon(corners, fill=colors[i % rng.integers(1, 3)])
        x = (x + step + wide) % width


def _halves(draw: ImageDraw.ImageDraw, colors: list[Color], rng: np.random.Generator) -> None:
    """A second color in front, behind, above or below a line."""
    width, height = TILE
    if rng.random() < 0.5:
        top, foot = rng.uniform(0.2, 0.8, 2) * width
        end = width if rng.random() < 0.5 else 0
        draw.polygon([(top, 0), (foot, height), (end, height), (end, 0)], fill=colors[0])
    else:
        front, back = rng.uniform(0.25, 0.75, 2) * height
        end = height if rng.random() < 0.5 else 0
        draw.polygon([(0, back), (width, front), (width, end), (0, end)], fill=colors[0])


def _dots(draw: ImageDraw.ImageDraw, colors: list[Color], rng: np.random.Generator) -> None:
    """Spots in rows."""
    step, radius = rng.uniform(14, 40), rng.uniform(0.2, 0.45)
    for row, y in enumerate(np.arange(0, TILE[1] + step, step)):
        for x in np.arange((row % 2) * step / 2, TILE[0] + step, step):
            r = radius * step
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colors[1])


def _blotches(draw: ImageDraw.ImageDraw, colors: list[Color], rng: np.random.Generator) -> None:
    """Polygons anywhere: flames, camouflage."""
    for i in range(int(rng.integers(4, 20))):
        center = rng.uniform(0, 1, 2) * TILE
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        radii = rng.uniform(4, 40, 7)
        points = center + np.stack([np.cos(angles) * radii * 1.5, np.sin(angles) * radii], axis=-1)
        draw.polygon([tuple(p) for p in points.tolist()], fill=colors[i % len(colors)])


def _checks(draw: ImageDraw.ImageDraw, colors: list[Color], rng: np.random.Generator) -> None:
    """A chequered patch."""
    size = rng.uniform(6, 20)
    start = rng.uniform(0, 0.7, 2) * TILE
    columns, rows = rng.integers(2, 12, 2)
    for i in range(columns):
        for j in range(rows):
            if (i + j) % 2:
                x, y = start + size * np.array([i, j])
                draw.rectangle((x, y, x + size, y + size), fill=colors[2])


_LAYERS: tuple[Layer, ...] = (_bands, _halves, _dots, _blotches, _checks, _bands, _halves)


def _sign(draw: ImageDraw.ImageDraw, colors: list[Color], rng: np.random.Generator) -> None:
    """A number or a word, on a patch of its own on some cars."""
    from PIL import ImageFont

    text = "".join(rng.choice(list(_GLYPHS), size=rng.integers(1, 8)))
    x, y = rng.uniform((0.05, 0.15), (0.8, 0.7)) * TILE
    font = ImageFont.load_default(float(rng.uniform(12, 60)))
    if rng.random() < 0.4:
        left, top, right, bottom = draw.textbbox((x, y), text, font=font)
        draw.ellipse((left - 6, top - 4, right + 6, bottom + 4), fill=colors[0])
    draw.text((x, y), text, font=font, fill=colors[int(rng.integers(1, len(colors)))])


def _weathered(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    """The sheet with soft patches of more and less light, as dirt and reflections leave them."""
    from scipy.ndimage import gaussian_filter

    strength = rng.uniform(0, 0.35)
    noise = gaussian_filter(rng.normal(size=sheet.shape[:2]), rng.uniform(4, 24))
    light = 1 + strength * noise / max(float(np.abs(noise).max()), 1e-6)
    return np.clip(np.round(sheet * light[..., None]), 0, 255).astype(np.uint8)


def _accent(rng: np.random.Generator) -> Color:
    """Any color, strong ones more often than on the road."""
    kind = rng.random()
    if kind < 0.2:
        return _bytes(np.full(3, rng.uniform(0.85, 1.0)))
    if kind < 0.35:
        return _bytes(np.full(3, rng.uniform(0.0, 0.15)))
    return _bytes(np.clip(rng.uniform(-0.3, 1.3, 3), 0, 1))


def _bytes(color: Float[np.ndarray, "3"]) -> Color:
    red, green, blue = np.round(255 * np.asarray(color)).astype(int).tolist()
    return red, green, blue
