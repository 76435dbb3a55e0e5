"""Datasets of procedural cars: which seed is which car, and from where it is seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsegen.cameras import RADIUS, Cameras
from sparsegen.data.viewpoints import LENS_DISTANCES, random_views, spiral_views
from sparsegen.errors import InputError

if TYPE_CHECKING:
    import trimesh

    from sparsegen.data.render import Light

SPLITS = ("train", "val", "test")
MAX_COUNT = 1_000_000  # cars in one split of one seed


@dataclass(frozen=True)
class Car:
    """One car as a subject of rendering. A race car wears a livery, and stands in light of its own, before
    lenses of its own."""

    name: str
    seed: int
    racing: bool = False

    def scene(self) -> trimesh.Scene:
        from sparsegen.data.procedural.cars import make_car

        return make_car(self.seed, racing=self.racing)

    def lights(self) -> tuple[Light, ...]:
        from sparsegen.data.render import LIGHTS, draw_lights

        return draw_lights(np.random.default_rng([self.seed, 2])) if self.racing else LIGHTS


def cars(count: int, seed: int, split: str, racing: bool = False) -> list[Car]:
    """The first `count` cars of a split. No car is in two splits, whatever their seeds and counts."""
    if split not in SPLITS:
        raise InputError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    if not 1 <= count <= MAX_COUNT:
        raise InputError(f"-n: expected 1 to {MAX_COUNT} cars, found {count}")
    if seed < 0:
        raise InputError(f"--seed: expected an integer of at least 0, found {seed}")
    return [_car(split, seed, i, racing) for i in range(count)]


def cars_named(names: Sequence[str]) -> list[Car]:
    """The cars among `names`, which say what seed each has."""
    found = [re.fullmatch(r"(car|racer)-(\w+)-(\d+)-(\d{6})", name) for name in names]
    parts = [m.groups() for m in found if m and m[2] in SPLITS]
    return [_car(split, int(seed), int(i), kind == "racer") for kind, split, seed, i in parts]


def _car(split: str, seed: int, i: int, racing: bool) -> Car:
    start = (seed * len(SPLITS) + SPLITS.index(split)) * MAX_COUNT
    return Car(f"{'racer' if racing else 'car'}-{split}-{seed}-{i:06d}", start + i, racing)


def car_cameras(
    subjects: list[Car], views: int, size: int, spiral: bool, distances: tuple[float, float] | None = None
) -> list[Cameras]:
    """The same spiral for every car, or random views of its own, drawn from its seed.

    Cameras stand `distances` away, in world units, the spiral's at the nearer; by default at the usual
    distance, and before race cars, where views are random, at any of a range.
    """
    if spiral:
        return [spiral_views(views, size, distances[0] if distances else RADIUS)] * len(subjects)
    # The 1 keeps this stream apart from the one that shapes the car.
    return [
        random_views(
            views,
            np.random.default_rng([car.seed, 1]),
            size,
            distances or (LENS_DISTANCES if car.racing else (RADIUS, RADIUS)),
        )
        for car in subjects
    ]
