"""Picture and geometry metrics, each view by itself.

Every function keeps the leading batch dimensions, so that a caller can average over views, objects or
angles as the question demands. Pictures lie in [0, 1], displayed colors over a white background.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.gaussians import DEAD_OPACITY, Gaussians

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
ALPHA_THRESHOLD = 0.5


def psnr(
    images: Float[Tensor, "*batch 3 h w"], truth: Float[Tensor, "*batch 3 h w"]
) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio of each picture in dB, peak 1; equal pictures give infinity."""
    return _decibels((images - truth).square().mean(dim=(-3, -2, -1)))


def object_psnr(
    images: Float[Tensor, "*batch 3 h w"],
    truth: Float[Tensor, "*batch 3 h w"],
    truth_alpha: Float[Tensor, "*batch h w"],
) -> Float[Tensor, "*batch"]:
    """PSNR in dB over the object alone: the pixels where the true alpha is above one half.

    The white background flatters `psnr`; this one does not see it. NaN where the object is not in view.
    """
    inside = (truth_alpha > ALPHA_THRESHOLD).to(images.dtype)
    error = (images - truth).square().mean(dim=-3)
    return _decibels((error * inside).sum(dim=(-2, -1)) / inside.sum(dim=(-2, -1)))


def ssim(
    images: Float[Tensor, "*batch 3 h w"], truth: Float[Tensor, "*batch 3 h w"], stride: int = 1
) -> Float[Tensor, "*batch"]:
    """Structural similarity (Wang et al. 2004) of each picture: 11-tap Gaussian, sigma 1.5, data range 1.

    The variant of pytorch-msssim: windows wholly inside the picture, each color channel by itself, and
    variances without Bessel's correction. With `stride` 2, every second window in both directions.
    """
    height, width = images.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs at least {SSIM_WINDOW} pixels a side, got {width} x {height}")
    rows, columns = _windows(height, stride, images), _windows(width, stride, images)
    # Sums and products of both pictures, blurred together by two products with banded matrices.
    stacked = torch.stack([images, truth, images.square() + truth.square(), images * truth])
    mean_x, mean_y, squares, product = (rows @ (stacked @ columns.mT)).unbind(0)
    means_product, means_squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * means_product + c1) / (means_squares + c1)
    structure = (2 * (product - means_product) + c2) / (squares - means_squares + c2)
    return (luminance * structure).mean(dim=(-3, -2, -1))


def alpha_iou(
    alpha: Float[Tensor, "*batch h w"],
    truth_alpha: Float[Tensor, "*batch h w"],
    threshold: float = ALPHA_THRESHOLD,
) -> Float[Tensor, "*batch"]:
    """Intersection over union of the two silhouettes; NaN where both are empty."""
    ours, theirs = alpha > threshold, truth_alpha > threshold
    return (ours & theirs).sum(dim=(-2, -1)) / (ours | theirs).sum(dim=(-2, -1))


def depth_error(
    depth: Float[Tensor, "*batch h w"],
    alpha: Float[Tensor, "*batch h w"],
    truth: Float[Tensor, "*batch h w"],
    threshold: float = ALPHA_THRESHOLD,
) -> Float[Tensor, "*batch"]:
    """Mean absolute difference of depth, in its units, over the pixels where both have a surface.

    The truth has one where it is above 0, the other where its alpha is above the threshold: `alpha_iou`
    tells how well those agree. NaN where no pixel has both.
    """
    both = ((truth > 0) & (alpha > threshold)).to(depth.dtype)
    return ((depth - truth).abs() * both).sum(dim=(-2, -1)) / both.sum(dim=(-2, -1))


def gradient_energy_ratio(
    images: Float[Tensor, "*batch 3 h w"], truth: Float[Tensor, "*batch 3 h w"]
) -> Float[Tensor, "*batch"]:
    """How sharp the edges are: mean gradient magnitude of the picture over that of the truth.

    Below 1 the picture is softer than the truth; noise lifts it, so read it beside PSNR. NaN or infinite
    where the truth is one flat color.
    """
    return _mean_gradient(images) / _mean_gradient(truth)


def dead_share(gaussians: Gaussians) -> Float[Tensor, "*batch"]:
    """Share of an object's Gaussians that hardly show: opacity below `DEAD_OPACITY`."""
    return (gaussians.opacities < DEAD_OPACITY).float().mean(dim=-1)


def view_angles(cameras: Cameras, inputs: Cameras) -> Float[Tensor, "*batch v"]:
    """Angle in degrees at the world's origin between each of V cameras and the nearest input camera."""
    directions = F.normalize(cameras.centers.double(), dim=-1)
    nearest = (directions @ F.normalize(inputs.centers.double(), dim=-1).mT).amax(dim=-1)
    return torch.rad2deg(nearest.clamp(-1, 1).acos()).float()


def _decibels(squared_error: Tensor) -> Tensor:
    return -10 * squared_error.log10()


def _mean_gradient(images: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch"]:
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    return torch.hypot(across, down).mean(dim=(-3, -2, -1))


def _windows(size: int, stride: int, like: Tensor) -> Float[Tensor, "n size"]:
    """Row i is the Gaussian window from pixel i * stride on; all that lie inside."""
    offsets = torch.arange(SSIM_WINDOW, dtype=like.dtype, device=like.device) - SSIM_WINDOW // 2
    weights = torch.exp(-offsets.square() / (2 * SSIM_SIGMA**2))
    starts = torch.arange(0, size - SSIM_WINDOW + 1, stride, device=like.device)
    columns = starts[:, None] + torch.arange(SSIM_WINDOW, device=like.device)
    matrix = like.new_zeros(len(starts), size)
    return matrix.scatter_(1, columns, (weights / weights.sum()).expand(len(starts), -1))


def mean_std_error(values: Float[Tensor, "n"]) -> tuple[float, float]:
    """Mean, and its standard error, over objects."""
    spread = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return values.mean().item(), spread
