"""Cameras of several photos found together, against the ones that the photos were rendered from."""

import math
from dataclasses import replace

import pytest
import torch

from sparsegen import joint_pose
from sparsegen.cameras import on_sphere, stack
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.photos import frame, read_photo
from sparsegen.pose import CameraEstimate, estimate_or_keep
from sparsegen.splatting import render
from test_pose import EXAMPLES


def test_turning_the_object_is_moving_the_camera():
    generator = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    quats = torch.nn.functional.normalize(rand(2, 20, 4) - 0.5, dim=-1)
    objects = Gaussians(
        0.6 * rand(2, 20, 3) - 0.3, quats, 0.08 * rand(2, 20, 3) + 0.01, rand(2, 20), rand(2, 20, 3)
    )
    angles = torch.tensor([[0.7, 0.4], [-2.1, -0.3]])
    lenses = ((1.3, 33.0), (2.4, 70.0))
    there = stack([on_sphere(a, e, d, 32, f) for (a, e), (d, f) in zip(angles, lenses, strict=True)])
    front = joint_pose._straight_in_front(there)
    turned = render(joint_pose._turn(objects, angles), front[:, None], backend="reference")
    moved = render(objects, there[:, None], backend="reference")
    torch.testing.assert_close(turned.rgb, moved.rgb, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def photos(pipeline):
    """The shipped car, and what the network makes of it from behind: photos of one object."""
    first = read_photo(EXAMPLES / "car.png")
    gaussians = pipeline(frame(first, 128, -36, 26))[0]
    camera = on_sphere(torch.tensor([math.radians(100)]), torch.tensor([math.radians(20)]), size=128)
    rendering = render(gaussians, camera, background=None, depth=False)
    color = rendering.rgb[0] / rendering.alpha[0].clamp(min=1e-3)
    return [first, torch.cat([color.clamp(0, 1), rendering.alpha])]


def guess(azimuth, elevation):
    return CameraEstimate(azimuth, elevation, math.nan)


def apart(first, second):
    return abs((first - second + 180) % 360 - 180)


def test_the_second_photo_decides_by_the_first_and_cameras_are_turned_right(pipeline, photos):
    """The second photo's own best guess is half a turn off, and its other one by 9 degrees."""
    estimates = [[guess(-36, 26)], [guess(-80, 20), guess(109, 24)]]
    ticks = []
    views, cameras = joint_pose.find_cameras_together(
        pipeline, photos, estimates, tick=lambda: ticks.append(1)
    )
    # Of the photo that begins, one camera is tried; a round that does not help is the last.
    most = joint_pose.steps_at_most(estimates)
    assert len(ticks) in (most, most - joint_pose._STEPS)
    assert views.view_count == 2
    assert (cameras[0].azimuth, cameras[0].elevation) == (-36, 26)  # a known camera stays
    assert cameras[0].moved == 0
    assert apart(cameras[1].azimuth, 100) < 7
    assert cameras[1].moved > 2
    assert all(camera.agrees for camera in cameras)


def test_photos_whose_lenses_are_known_stand_as_far_away_as_these_say(pipeline, photos):
    """Twice the focal length shows an object as large from twice as far away."""
    estimates = [[guess(-36, 26)], [guess(100, 20)]]
    near, far = (
        joint_pose.find_cameras_together(pipeline, photos, estimates, [lens, None])[0].cameras.centers[0]
        for lens in (30.0, 60.0)
    )
    assert 1.6 < far[0].norm() / near[0].norm() < 2.1
    assert far[1].norm() == near[1].norm()


def test_a_photo_of_another_object_is_told(pipeline, photos):
    """A thing that no car looks like: a tall pole."""
    pole = torch.zeros(4, 128, 128)
    pole[:, 10:118, 58:70] = torch.tensor([0.1, 0.9, 0.1, 1.0])[:, None, None]
    estimates = [[guess(-36, 26)], [guess(100, 20)]]
    _, same = joint_pose.find_cameras_together(pipeline, photos, estimates)
    _, other = joint_pose.find_cameras_together(pipeline, [photos[0], pole], estimates)
    assert min(c.together for c in other) < min(c.together for c in same) - 3


def test_known_angles_are_kept(pipeline, photos):
    (kept,) = estimate_or_keep(pipeline, photos[0], (10.0, None))
    assert kept.azimuth == 10
    estimates = estimate_or_keep(pipeline, photos[0], (None, None))
    assert apart(estimates[0].azimuth, -36) < 20
    headless = replace(pipeline, camera_head=None)
    assert len(estimate_or_keep(headless, photos[0], (1.0, 2.0))) == 1
