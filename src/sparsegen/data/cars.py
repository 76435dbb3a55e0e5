"""Datasets of procedural cars: which seed is which car, and from where it is seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsegen.cameras import RADIUS, Cameras
from sparsegen.data.procedural.styles import Kind
from sparsegen.data.viewpoints import LENS_DISTANCES, random_views, spiral_views
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh

    from sparsegen.data.render import Light

SPLITS = ("train", "val", "test")
MAX_COUNT = 1_000_000  # cars in one split of one seed
_PREFIXES: dict[Kind, str] = {  # of their names
    "everyday": "car",
    "racing": "racer",
    "unusual": "unusual",
    "heavy": "heavy",
    "varied": "varied",
}


@dataclass(frozen=True)
class Car:
    """One car as a subject of rendering. All but everyday cars stand in light of their own, before lenses of
    their own."""

    name: str
    seed: int
    kind: Kind = "everyday"

    def scene(self) -> trimesh.Scene:
        from sparsegen.data.procedural.cars import make_car

        return make_car(self.seed, kind=self.kind)

    def lights(self) -> tuple[Light, ...]:
        from sparsegen.data.render import LIGHTS, draw_lights

        return LIGHTS if self.kind == "everyday" else draw_lights(np.random.default_rng([self.seed, 2]))


def cars(count: int, seed: int, split: str, kind: Kind = "everyday") -> list[Car]:
    """The first `count` cars of a split. No car is in two splits, whatever their seeds and counts."""
    if split not in SPLITS:
        raise InputError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    if not 1 <= count <= MAX_COUNT:
        raise InputError(f"-n: expected 1 to {MAX_COUNT} cars, found {count}")
    if seed < 0:
        raise InputError(f"--seed: expected an integer of at least 0, found {seed}")
    return [_car(split, seed, i, kind) for i in range(count)]


def cars_named(names: Sequence[str]) -> list[Car]:
    """The cars among `names`, which say what seed each has."""
    found = [re.fullmatch(r"(\w+)-(\w+)-(\d+)-(\d{6})", name) for name in names]
    kinds: dict[str | None, Kind] = {prefix: kind for kind, prefix in _PREFIXES.items()}
    return [
        _car(m[2], int(m[3]), int(m[4]), kinds[m[1]]) for m in found if m and m[1] in kinds and m[2] in SPLITS
    ]


def _car(split: str, seed: int, i: int, kind: Kind) -> Car:
    start = (seed * len(SPLITS) + SPLITS.index(split)) * MAX_COUNT
    return Car(f"{_PREFIXES[kind]}-{split}-{seed}-{i:06d}", start + i, kind)


def car_cameras(
    subjects: list[Car], views: int, size: int, spiral: bool, distances: tuple[float, float] | None = None
) -> list[Cameras]:
    """The same spiral for every car, or random views of its own, drawn from its seed.

    Cameras stand `distances` away, in world units, the spiral's at the nearer; by default at the usual
    distance, and before all but everyday cars, where views are random, at any of a range.
    """
    if spiral:
        return [spiral_views(views, size, distances[0] if distances else RADIUS)] * len(subjects)
    # The 1 keeps this stream apart from the one that shapes the car.
    return [
        random_views(
            views,
            np.random.default_rng([car.seed, 1]),
            size,
            distances or ((RADIUS, RADIUS) if car.kind == "everyday" else LENS_DISTANCES),
        )
        for car in subjects
    ]
