"""Where the cameras of rendered datasets stand."""

from __future__ import annotations

import math

import numpy as np
import torch

from sparsegen.cameras import RADIUS, Cameras, focal_at, on_sphere, spiral, stack

# Training views cover the upper hemisphere, and a little under the horizon.
ELEVATIONS = (math.radians(-5), math.radians(85))
# Race cars are seen through all kinds of lenses: from so far, in world units.
LENS_DISTANCES = (1.1, 2.6)
# With 25 views, 7 turns give 25 different azimuths; the spiral's usual 5 would give only 5.
TEST_TURNS = 7
# Test sets have this many views, from above (view 0) to the horizon.
SPIRAL_VIEWS = 25
# A three-quarter front view (azimuth -36, elevation 26 degrees): the picture that people take of a car.
INPUT_VIEW = 17
# The other side, seen from behind (azimuth 122, elevation 33 degrees).
SECOND_INPUT_VIEW = 15


def random_views(
    count: int, rng: np.random.Generator, size: int = 128, distances: tuple[float, float] = (RADIUS, RADIUS)
) -> Cameras:
    """`count` cameras drawn evenly over the sphere's area between the elevations of training views.

    Distances in world units are drawn too, on a logarithmic scale; cameras that stand farther away have
    longer lenses, under which an object is about as large.
    """
    azimuth = rng.uniform(0, 2 * math.pi, count)
    low, high = np.sin(ELEVATIONS)
    elevation = np.arcsin(rng.uniform(low, high, count))
    near, far = np.log(distances)
    distance = np.exp(rng.uniform(near, far, count))
    angles = torch.from_numpy(np.stack([azimuth, elevation], axis=-1)).float()
    return stack(
        [
            on_sphere(a, e, d, size, focal_at(d, size))
            for (a, e), d in zip(angles, distance.tolist(), strict=True)
        ]
    )


def spiral_views(count: int = SPIRAL_VIEWS, size: int = 128, distance: float = RADIUS) -> Cameras:
    """The spiral of test views, from above (view 0) to the horizon."""
    return spiral(count, TEST_TURNS, radius=distance, size=size, focal=focal_at(distance, size))
