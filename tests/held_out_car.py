"""A car that no weights were trained on."""

import math

import numpy as np
import pytest
import torch

from sparsegen.cameras import on_sphere
from sparsegen.data.cars import cars
from sparsegen.views import Views

AZIMUTHS = (-40.0, 20.0, 80.0, 140.0, 200.0, 260.0)


def pictures_of_a_car(
    size: int = 128, azimuths: tuple[float, ...] = AZIMUTHS, elevation: float = 25.0
) -> Views:
    """It from all around; the first picture is what people would take."""
    pytest.importorskip("trimesh")
    from sparsegen.data.render import normalize, render_views

    angles = torch.tensor(azimuths).deg2rad()
    cameras = on_sphere(angles, torch.full_like(angles, math.radians(elevation))).resized(size, size)
    (subject,) = cars(1, 7, "test")
    rgba = torch.from_numpy(np.array(render_views(normalize(subject.scene()), cameras, samples=16)))
    rgba = rgba.permute(0, 3, 1, 2).float() / 255
    images = rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]
    return Views(images[None], cameras[None], rgba[None, :, 3])
