import torch

from sparsegen.cameras import orbit
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.turntable import orbit_around, render_frames


def blob(center=(0.0, 0.0, 0.0), extent=0.4, n=300):
    generator = torch.Generator().manual_seed(0)
    means = torch.tensor(center) + extent * (torch.rand(n, 3, generator=generator) - 0.5)
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1)
    colors = torch.rand(n, 3, generator=generator)
    return Gaussians(means, quats, torch.full((n, 3), 0.05 * extent), torch.full((n,), 0.9), colors)


def test_frames_are_those_of_one_render():
    gaussians, cameras = blob(), orbit(35, size=24)
    frames = list(render_frames(gaussians, cameras))
    whole = render(gaussians, cameras)
    torch.testing.assert_close(torch.stack([f.rgb for f in frames]), whole.rgb.clamp(0, 1))
    torch.testing.assert_close(torch.stack([f.alpha for f in frames]), whole.alpha)


def test_objects_of_this_project_are_shown_from_their_training_distance():
    cameras = orbit_around(blob(), 4, size=32)
    torch.testing.assert_close(cameras.centers.norm(dim=-1), torch.full((4,), 1.3))


def test_objects_of_any_size_and_place_fill_the_picture_alike():
    near = list(render_frames(blob(extent=0.5), orbit_around(blob(extent=0.5), 3, 64)))
    far_blob = blob(center=(30.0, -20.0, 5.0), extent=10.0)
    far = list(render_frames(far_blob, orbit_around(far_blob, 3, 64)))
    for frame in far:
        rows = (frame.alpha > 0.5).any(1)
        assert 20 < rows.sum() < 64
        assert not rows[0]
        assert not rows[-1]
    assert all((frame.alpha > 0.5).any() for frame in near)


def test_the_first_camera_stands_at_the_azimuth():
    first = orbit_around(blob(), 6, elevation=0.0, azimuth=torch.pi / 2).centers[0]
    torch.testing.assert_close(first, torch.tensor([0.0, 1.3, 0.0]), rtol=0, atol=1e-6)
