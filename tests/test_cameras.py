"""Cameras: geometry in closed form, and conversions that round trip."""

import math

import pytest
import torch

from sparsegen import cameras as module
from sparsegen.cameras import Cameras, intrinsics, look_at, on_sphere, orbit, spiral


def some_cameras(count=7, width=128, height=96):
    """Cameras with rotations of all kinds, off-centre principal points and unequal focal lengths."""
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    viewmats = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    viewmats[:, :3, :3] = rotation
    viewmats[:, :3, 3] = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    focal = 100 + 50 * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    center = torch.tensor([60.0, 50.0]) + torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return Cameras(viewmats, intrinsics(focal, center), width, height)


def close(found: Cameras, expected: Cameras, atol=1e-12):
    torch.testing.assert_close(found.viewmats, expected.viewmats, rtol=0, atol=atol)
    torch.testing.assert_close(found.Ks, expected.Ks, rtol=0, atol=atol * 1e3)
    assert (found.width, found.height) == (expected.width, expected.height)


def test_centers_are_where_the_world_maps_to_zero():
    cameras = some_cameras()
    ones = torch.cat([cameras.centers, torch.ones(7, 1, dtype=torch.float64)], dim=-1)
    local = (cameras.viewmats @ ones[..., None])[..., 0]
    torch.testing.assert_close(local[:, :3], torch.zeros(7, 3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_look_at_from_the_front():
    """A camera in front of the car (+X), level: it looks along -X, sees +Y on its right... and Z up."""
    camera = look_at(torch.tensor([[1.3, 0.0, 0.0]]))
    pixels, depth = camera.project(torch.tensor([[[0.0, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]]))
    step = 131.25 * 0.1 / 1.3
    torch.testing.assert_close(depth, torch.full((1, 3), 1.3))
    torch.testing.assert_close(pixels[0], torch.tensor([[64.0, 64], [64 + step, 64], [64, 64 - step]]))


def test_look_at_straight_down_is_defined():
    camera = look_at(torch.tensor([[0.0, 0.0, 1.3]]))
    pixels, depth = camera.project(torch.tensor([[[0.1, 0.0, 0.0]]]))
    assert torch.isfinite(camera.viewmats).all()
    torch.testing.assert_close(depth, torch.tensor([[1.3]]))
    torch.testing.assert_close(pixels, torch.tensor([[[64.0, 64 - 131.25 * 0.1 / 1.3]]]))


@pytest.mark.parametrize("path", [orbit(9), spiral(33)])
def test_paths_stand_on_the_sphere_and_look_at_the_origin(path):
    torch.testing.assert_close(path.centers.norm(dim=-1), torch.full((len(path),), 1.3))
    pixels, depth = path.project(torch.zeros(len(path), 1, 3))
    torch.testing.assert_close(pixels, torch.full((len(path), 1, 2), 64.0), rtol=0, atol=1e-4)
    torch.testing.assert_close(depth, torch.full((len(path), 1), 1.3))
    up = -path.viewmats[:, 1, 2]  # how far the picture's up points along +Z
    assert (up >= 0).all()


def test_orbit_goes_once_around_at_one_height():
    path = orbit(8, elevation=math.radians(30))
    torch.testing.assert_close(path.centers[:, 2], torch.full((8,), 1.3 * 0.5))
    azimuth = torch.atan2(path.centers[:, 1], path.centers[:, 0]) % (2 * math.pi)
    torch.testing.assert_close(azimuth, torch.arange(8) * math.pi / 4, rtol=0, atol=1e-5)


def test_spiral_comes_down_monotonically():
    heights = spiral(50).centers[:, 2]
    assert (heights.diff() < 0).all()
    assert heights[-1] > 0


def test_rays_meet_the_pixels_that_they_were_cast_through():
    cameras = some_cameras()
    centers, directions = cameras.rays()
    points = centers[:, None, None] + 2.5 * directions
    pixels, _ = cameras.project(points.flatten(1, 2))
    rows, columns = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    expected = torch.stack([columns, rows], dim=-1).flatten(0, 1).double().expand(7, -1, -1)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(7, 96, 128, dtype=torch.float64))


def test_coarse_rays_run_through_the_middle_of_their_cells():
    cameras = some_cameras(width=128, height=128)
    _, coarse = cameras.rays(16, 16)
    _, fine = cameras.resized(16, 16).rays()
    torch.testing.assert_close(coarse, fine)
    points = cameras.centers[:, None] + coarse[:, 0, 0, None]
    pixels, _ = cameras.project(points)
    torch.testing.assert_close(pixels, torch.full((7, 1, 2), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("axes", ["opencv", "opengl"])
def test_camera_to_world_round_trips(axes):
    cameras = some_cameras()
    matrices = cameras.to_camera_to_world(axes)
    close(Cameras.from_camera_to_world(matrices, cameras.Ks, 128, 96, axes), cameras)


def test_opengl_cameras_look_backwards_along_z():
    matrix = on_sphere(torch.tensor([0.3]), torch.tensor([0.4])).to_camera_to_world("opengl")[0]
    center, backward, up = matrix[:3, 3], matrix[:3, 2], matrix[:3, 1]
    torch.testing.assert_close(backward, center / 1.3)
    assert up[2] > 0


def test_pytorch3d_round_trips():
    cameras = some_cameras()
    close(Cameras.from_pytorch3d(*cameras.to_pytorch3d(), 128, 96), cameras)


def test_pytorch3d_convention_in_closed_form():
    """X_view = X R + T with x to the left and y up; NDC spans [-1, 1] over the shorter side."""
    cameras = some_cameras()
    R, T, focal, principal = cameras.to_pytorch3d()
    points = torch.tensor([[0.1, -0.2, 0.3], [0.5, 0.4, -0.6]], dtype=torch.float64)
    view = points @ R + T[:, None]
    ndc = focal[:, None] * view[..., :2] / view[..., 2:] + principal[:, None]
    half = 96 / 2
    expected = torch.stack([128 / 2 - half * ndc[..., 0], 96 / 2 - half * ndc[..., 1]], dim=-1)
    pixels, depth = cameras.project(points.expand(7, -1, -1))
    torch.testing.assert_close(pixels, expected)
    torch.testing.assert_close(depth, view[..., 2])


def test_resized_scales_pixels():
    cameras = some_cameras()
    points = torch.rand(7, 5, 3, dtype=torch.float64)
    pixels, _ = cameras.project(points)
    scaled, _ = cameras.resized(64, 192).project(points)
    torch.testing.assert_close(scaled, pixels * torch.tensor([0.5, 2.0]))


def test_mirrored_cameras_see_mirror_images_left_to_right():
    cameras, points = some_cameras(), torch.rand(7, 20, 3, dtype=torch.float64) - 0.5
    there = cameras.mirrored().project(points * torch.tensor([1.0, -1.0, 1.0]))
    pixels, depth = cameras.project(points)
    torch.testing.assert_close(there[1], depth)
    torch.testing.assert_close(there[0], torch.stack([cameras.width - pixels[..., 0], pixels[..., 1]], -1))
    close(cameras.mirrored().mirrored(), cameras)
    handedness = torch.linalg.det(cameras.mirrored().viewmats[:, :3, :3])
    torch.testing.assert_close(handedness, torch.ones_like(handedness))


def test_indexing_stacking_and_broadcasting():
    cameras = some_cameras(6)
    close(module.stack([cameras[i] for i in range(6)]), cameras)
    close(module.cat([cameras[:2], cameras[2:]]), cameras)
    assert cameras.reshape(2, 3)[1, 2].batch_shape == ()
    assert cameras[None].expand(4, 6).batch_shape == (4, 6)


def test_unequal_sizes_cannot_be_joined():
    with pytest.raises(ValueError, match="one picture size"):
        module.stack([orbit(2), orbit(2, size=64)])


def test_misshapen_cameras_are_refused():
    with pytest.raises(ValueError, match="batch shape"):
        Cameras(torch.eye(4).expand(3, 4, 4), torch.eye(3).expand(2, 3, 3), 8, 8)
    with pytest.raises(ValueError, match="axes"):
        orbit(2).to_camera_to_world("blender")
