"""Objects look in large pictures as they did in the small ones that they were made for."""

import torch
from torch.nn.functional import avg_pool2d

from gaussian_samples import recorded
from sparsegen.cameras import orbit
from sparsegen.gaussians import Gaussians
from sparsegen.metrics import psnr
from sparsegen.smoothing import photograph, smoothed
from sparsegen.splatting import render

LARGE = 1024


def small(gaussians: Gaussians, size: int):
    return render(gaussians, orbit(5, size=size), depth=False).rgb


def large(gaussians: Gaussians, size: int):
    """Pictures of `LARGE` pixels, whose squares are averaged to `size`."""
    return avg_pool2d(small(gaussians, LARGE), LARGE // size)


def test_large_pictures_averaged_are_the_small_ones():
    for size in (64, 128):
        thin = recorded()
        thin = Gaussians(thin.means, thin.quats, 0.1 * thin.scales, thin.opacities, thin.colors)
        expected = small(thin, size)
        before = psnr(large(thin, size), expected).mean()
        assert psnr(large(smoothed(thin, size), size), expected).mean() > before + 6


def test_one_gaussian_is_as_wide_as_the_pixels_make_it():
    """In closed form: its picture's variance is its own, 0.3 square pixels and those of a square pixel."""
    width = 0.004
    point = Gaussians(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), width),
        torch.ones(1),
        torch.zeros(1, 3),
    )
    for gaussians, size in ((point, 128), (smoothed(point, 128), LARGE)):
        camera = orbit(1, size=size)
        dark = 1 - render(gaussians, camera, depth=False).rgb[0, 0].double()
        across = torch.arange(size) + 0.5 - size / 2
        variance = (dark.sum(0) * across**2).sum() / dark.sum() * (128 / size) ** 2
        focal = float(camera.Ks[0, 0, 0]) * 128 / size
        expected = (focal * width / 1.3) ** 2 + 0.3 - (1 / 12 - 0.3 * (128 / LARGE) ** 2) * (size == LARGE)
        torch.testing.assert_close(float(variance), expected, rtol=0.04, atol=0)  # faint tails are cut


def test_photographs_of_any_size_agree():
    gaussians = recorded()
    cameras = orbit(3, size=128)
    rgb, alpha = photograph(gaussians, cameras)
    fine = render(gaussians, cameras.resized(LARGE, LARGE), depth=False)
    assert psnr(rgb, avg_pool2d(fine.rgb, LARGE // 128)).min() > 40
    assert (alpha - avg_pool2d(fine.alpha[:, None], LARGE // 128)[:, 0]).abs().mean() < 2e-3
    batch = Gaussians(
        **{n: getattr(gaussians, n)[None] for n in ("means", "quats", "scales", "opacities", "colors")}
    )
    torch.testing.assert_close(photograph(batch, cameras[None])[0][0], rgb)
