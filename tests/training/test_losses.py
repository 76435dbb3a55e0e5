"""Loss terms against closed forms and slow twins."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from skimage.metrics import structural_similarity
from torch.nn import functional as F

from sparsegen.cameras import Cameras, orbit
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import Rendering
from sparsegen.training.losses import (
    LossConfig,
    alpha_loss,
    gradient_loss,
    image_loss,
    offset_loss,
    scale_loss,
    sharpness_loss,
    ssim_loss,
    training_loss,
)
from sparsegen.views import Views


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def gaussians(batch: int, queries: int, expansion: int = 2, seed: int = 0) -> Gaussians:
    n = queries * expansion
    x = pictures(batch, n, 14, seed=seed)
    return Gaussians(
        x[..., :3] - 0.5, F.normalize(x[..., 3:7], dim=-1), x[..., 7:10], x[..., 10], x[..., 11:], expansion
    )


def test_image_and_alpha_loss_are_mean_squares():
    a = torch.full((2, 3, 3, 4, 5), 0.75)
    assert image_loss(a, a - 0.5) == pytest.approx(0.25)
    assert alpha_loss(a[:, :, 0], a[:, :, 0] * 0) == pytest.approx(0.5625)


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_ssim_agrees_with_scikit_image(shape):
    images = F.avg_pool2d(pictures(2, 3, *shape).double(), 5, 1, padding=2)  # structure within a window
    targets = (images + 0.1 * pictures(2, 3, *shape, seed=1)).clamp(0, 1)
    theirs: list[float] = [
        structural_similarity(
            a.numpy(), b.numpy(), data_range=1.0, channel_axis=0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # type: ignore[misc]
        for a, b in zip(images, targets, strict=True)
    ]  # fmt: skip
    assert 1 - ssim_loss(images, targets).item() == pytest.approx(sum(theirs) / 2, abs=1e-9)


def test_ssim_of_equal_pictures_is_perfect_and_strides_agree():
    images, targets = pictures(1, 2, 3, 64, 64), pictures(1, 2, 3, 64, 64, seed=1)
    assert ssim_loss(images, images).item() == pytest.approx(0, abs=1e-6)
    assert ssim_loss(images, targets, stride=2).item() == pytest.approx(
        ssim_loss(images, targets).item(), abs=0.01
    )


def test_ssim_gradient_by_finite_differences():
    images = pictures(1, 13, 12).double().requires_grad_()
    targets = pictures(1, 13, 12, seed=1).double()
    assert torch.autograd.gradcheck(lambda x: ssim_loss(x, targets, stride=2), images)


def test_gradient_loss_of_a_ramp():
    # A slope of 0.01 a pixel along x only: 0.01 at full size, 0.02 at half, 0.04 at a quarter.
    ramp = (0.01 * torch.arange(16.0)).expand(1, 1, 3, 16, 16)
    assert gradient_loss(ramp, torch.zeros_like(ramp)).item() == pytest.approx(0.07, abs=1e-6)


def test_gradient_loss_matches_pooling():
    images, targets = pictures(2, 2, 3, 18, 21), pictures(2, 2, 3, 18, 21, seed=1)
    error = (images - targets).flatten(0, 1)
    expected = 0.0
    for _ in range(3):
        expected += (error[..., 1:] - error[..., :-1]).abs().mean().item()
        expected += (error[..., 1:, :] - error[..., :-1, :]).abs().mean().item()
        error = F.avg_pool2d(error, 2)
    assert gradient_loss(images, targets).item() == pytest.approx(expected, rel=1e-5)


def test_sharpness_loss_of_an_edge_moved_within_a_block_and_of_a_softer_one():
    columns = torch.arange(8.0)

    def edge(position: float, width: float) -> torch.Tensor:
        return ((columns - position) / width).clamp(0, 1).expand(2, 3, 8, 8)

    sharp, moved, soft = edge(0, 1), edge(1, 1), edge(0, 2)
    assert image_loss(sharp, moved) == pytest.approx(1 / 8)
    assert sharpness_loss(sharp, moved) == pytest.approx(0)
    # In the left blocks, the upper of four rows and the lower of three: one step of 1, or two of a half.
    strengths = [(steps * rows / 16 + 1e-4) ** 0.5 for rows in (4, 3) for steps in (1, 2 / 4)]
    expected = (strengths[0] - strengths[1] + strengths[2] - strengths[3]) / 4
    assert sharpness_loss(soft, sharp) == pytest.approx(expected)


def test_offset_loss_is_free_up_to_its_limit():
    anchors = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    means = torch.tensor([[[0.1, 0.0, 0.0], [0.0, 0.3, 0.0], [0.5, 0.0, 0.0], [0.5, 0.0, -0.2]]])
    base = gaussians(1, 2)
    moved = Gaussians(means, base.quats, base.scales, base.opacities, base.colors, 2)
    # Only the second Gaussian is farther than 0.2 from its query's anchor, by 0.1.
    assert offset_loss(moved, anchors, 0.2).item() == pytest.approx(0.1**2 / 4)


def test_scale_loss_is_free_up_to_its_limit():
    base = gaussians(1, 1)
    scales = torch.tensor([[[0.1, 0.05, 0.3], [0.1, 0.1, 0.1]]])
    grown = Gaussians(base.means, base.quats, scales, base.opacities, base.colors, 2)
    assert scale_loss(grown, 0.1).item() == pytest.approx(0.2**2 / 6)


def flat_renderer(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Every pixel shows the mean color and opacity, times one plus the view's camera height."""
    b, v = cameras.batch_shape
    h, w = cameras.height, cameras.width
    height = 1 + cameras.centers[..., 2]
    rgb = gaussians.colors.mean(1)[:, None, :, None, None] * height[..., None, None, None]
    alpha = gaussians.opacities.mean(1)[:, None, None, None] * height[..., None, None]
    return Rendering(rgb.expand(b, v, 3, h, w), alpha.expand(b, v, h, w))


def test_training_loss_equals_a_loop_over_layers():
    cameras = orbit(4, size=16).expand(3, 4)
    targets = Views(pictures(3, 4, 3, 16, 16), cameras, pictures(3, 4, 16, 16, seed=1))
    layers = [gaussians(3, 5, seed=i) for i in range(3)]
    anchors = pictures(5, 3)
    config = LossConfig(ssim=0.2, offset=0.3, scale=0.4, intermediate=0.5)
    total, terms = training_loss(layers, anchors, targets, config, flat_renderer, [2, 0])

    expected = 0.0
    for i, layer in enumerate(layers):
        seen = targets if i == 2 else targets.select([2, 0])
        rendering = flat_renderer(layer, seen.cameras)
        assert seen.alphas is not None
        value = (
            image_loss(rendering.rgb, seen.images)
            + 0.5 * alpha_loss(rendering.alpha, seen.alphas)
            + 0.2 * ssim_loss(rendering.rgb, seen.images, config.ssim_stride)
            + 0.03 * gradient_loss(rendering.rgb, seen.images)
            + 0.3 * offset_loss(layer, anchors, config.offset_limit)
            + 0.4 * scale_loss(layer, config.scale_limit)
        )
        expected += (1.0 if i == 2 else 0.5) * value.item()
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert terms["image"].item() == pytest.approx(
        image_loss(flat_renderer(layers[-1], cameras).rgb, targets.images).item()
    )


def test_terms_of_weight_zero_are_left_out():
    targets = Views(pictures(1, 2, 3, 8, 8), orbit(2, size=8).expand(1, 2))
    config = LossConfig(alpha=0.5, gradient=0.0)
    _, terms = training_loss([gaussians(1, 2)], pictures(2, 3), targets, config, flat_renderer)
    assert set(terms) == {"image"}  # and no opacity term where no alpha is known


TERMS = ["image", "alpha", "perceptual", "ssim", "gradient", "sharpness", "offset", "scale"]


@pytest.mark.parametrize("name", TERMS)
def test_every_term_can_be_switched_off_on_every_layer(name):
    """The loss without a term is the loss with it less the term's share, last layer and others."""
    targets = Views(pictures(1, 2, 3, 16, 16), orbit(2, size=16).expand(1, 2), pictures(1, 2, 16, 16, seed=1))
    layers = [gaussians(1, 4, seed=i) for i in range(2)]
    weights = {
        "image": 1.0,
        "alpha": 0.5,
        "perceptual": 0.7,
        "ssim": 0.2,
        "gradient": 0.1,
        "sharpness": 0.6,
        "offset": 0.3,
        "scale": 0.4,
    }

    def loss(**changes: float) -> float:
        limits = LossConfig(intermediate=0.5, offset_limit=0.0, scale_limit=0.0)
        config = replace(limits, **(weights | changes))
        args = layers, pictures(4, 3), targets, config, flat_renderer, [0, 1]
        return training_loss(*args, perceptual=lambda a, b: (a - b).abs().mean())[0].item()

    alone = loss(**{other: 0.0 for other in weights if other != name})
    assert alone > 1e-3
    assert loss() - loss(**{name: 0.0}) == pytest.approx(alone, rel=1e-3)
