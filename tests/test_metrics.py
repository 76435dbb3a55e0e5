"""Metrics against other packages on the same pictures, and against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import pytorch_msssim
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.nn import functional as F

from sparsegen import metrics
from sparsegen.gaussians import Gaussians


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    """Two sets of smooth pictures with a flat white part, as renders over white have it."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(6, 3, 6, 5, generator=generator)
    truth = F.interpolate(coarse, (48, 40), mode="bicubic").clamp(0, 1)
    truth[..., :12] = 1
    noise = F.avg_pool2d(torch.randn(truth.shape, generator=generator), 3, 1, 1)
    return (truth + 0.2 * noise).clamp(0, 1).unflatten(0, (2, 3)), truth.unflatten(0, (2, 3))


def test_psnr_is_scikit_images(pictures: tuple[Tensor, Tensor]) -> None:
    images, truth = pictures
    ours = metrics.psnr(images, truth)
    assert ours.shape == (2, 3)
    for b in range(2):
        for v in range(3):
            theirs = peak_signal_noise_ratio(truth[b, v].numpy(), images[b, v].numpy(), data_range=1)
            assert ours[b, v].item() == pytest.approx(theirs, abs=1e-4)


def test_psnr_of_a_constant_error_is_its_closed_form() -> None:
    white = torch.ones(1, 3, 16, 16)
    assert metrics.psnr(white - 0.1, white).item() == pytest.approx(20, abs=1e-4)
    assert metrics.psnr(white, white).item() == math.inf


def test_object_psnr_does_not_see_the_background(pictures: tuple[Tensor, Tensor]) -> None:
    images, truth = pictures
    alpha = torch.zeros(2, 3, 48, 40)
    alpha[..., 20:30, 15:35] = 1
    inside = (images - truth)[..., 20:30, 15:35].square().mean(dim=(-3, -2, -1))
    torch.testing.assert_close(metrics.object_psnr(images, truth, alpha), -10 * inside.log10())
    spoiled = torch.where(alpha[:, :, None] > 0, images, torch.rand_like(images))
    torch.testing.assert_close(
        metrics.object_psnr(spoiled, truth, alpha), metrics.object_psnr(images, truth, alpha)
    )
    assert metrics.object_psnr(images, truth, torch.zeros_like(alpha)).isnan().all()


def test_ssim_is_pytorch_msssims(pictures: tuple[Tensor, Tensor]) -> None:
    images, truth = pictures
    theirs = pytorch_msssim.ssim(images.flatten(0, 1), truth.flatten(0, 1), data_range=1, size_average=False)
    torch.testing.assert_close(metrics.ssim(images, truth).flatten(), theirs, atol=1e-5, rtol=0)


def test_ssim_is_scikit_images_away_from_the_border(pictures: tuple[Tensor, Tensor]) -> None:
    images, truth = (p[0, 0].double() for p in pictures)
    result: Any = structural_similarity(
        truth.numpy(),
        images.numpy(),
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    _, picture = result
    inside = picture[:, 5:-5, 5:-5].mean()
    assert metrics.ssim(images, truth).item() == pytest.approx(inside, abs=1e-6)


def test_ssim_of_flat_pictures_is_its_closed_form() -> None:
    dark, bright = torch.full((1, 3, 12, 12), 0.2), torch.full((1, 3, 12, 12), 0.8)
    expected = (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
    assert metrics.ssim(dark, bright).item() == pytest.approx(expected, abs=1e-4)
    assert metrics.ssim(bright, bright).item() == pytest.approx(1, abs=1e-6)


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 pixels a side, got 10 x 20"):
        metrics.ssim(torch.ones(1, 3, 20, 10), torch.ones(1, 3, 20, 10))


def test_alpha_iou_counts_pixels() -> None:
    ours, theirs = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)
    ours[0, :4], theirs[0, 2:6] = 0.9, 0.6  # two common rows of six
    ours[1, :, :], theirs[1, :, :] = 0.4, 1.0  # too faint to count
    torch.testing.assert_close(metrics.alpha_iou(ours, theirs), torch.tensor([1 / 3, 0.0]))


def test_gradient_energy_ratio_of_scaled_and_blurred_pictures(pictures: tuple[Tensor, Tensor]) -> None:
    _, truth = pictures
    torch.testing.assert_close(metrics.gradient_energy_ratio(truth, truth), torch.ones(2, 3))
    torch.testing.assert_close(
        metrics.gradient_energy_ratio(1 - 0.25 * truth, truth), torch.full((2, 3), 0.25)
    )
    ramp = torch.linspace(0, 1, 33).expand(1, 3, 9, 33)  # gradients have the slope's length in any direction
    turned = (0.6 * torch.arange(33)[None, :] + 0.8 * torch.arange(9)[:, None]) / 32
    torch.testing.assert_close(
        metrics.gradient_energy_ratio(turned.expand(1, 3, 9, 33), ramp), torch.ones(1), atol=1e-5, rtol=0
    )


def test_dead_share_counts_opacities_below_two_hundredths() -> None:
    opacities = torch.tensor([[0.0, 0.0199, 0.0201, 1.0], [0.5, 0.5, 0.5, 0.01]])
    shape = (2, 4)
    gaussians = Gaussians(
        torch.zeros(*shape, 3), torch.ones(*shape, 4), torch.ones(*shape, 3), opacities, torch.ones(*shape, 3)
    )
    torch.testing.assert_close(metrics.dead_share(gaussians), torch.tensor([0.5, 0.25]))
