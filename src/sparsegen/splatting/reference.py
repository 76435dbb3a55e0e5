"""Splatting in plain PyTorch: the contract that every backend keeps, for any dtype and device.

The contract is gsplat 1.5.3's "classic" mode with its defaults:

- A Gaussian is drawn if its view-space depth lies in [0.01, 1e10].
- Its covariance is carried to pixels by the perspective's Jacobian at its mean (EWA splatting); in the
  Jacobian x/z and y/z are clamped to the picture widened by 15 % of its size on every side. 0.3 pixels^2
  are added to both variances, and opacity does not make up for it.
- Pixel (i, j) has its centre at (i + 0.5, j + 0.5). There sigma = d^T C^-1 d / 2, d the way to the mean, and
  alpha = min(0.999, opacity exp(-sigma)); an alpha under 1/255 is skipped. (gsplat also skips tiles of
  pixels outside of a box around the Gaussian; with its radius rule no alpha from 1/255 on is in them.)
- Gaussians are drawn nearest first by view-space depth, equal depths in their own order. With transmittance
  T = product of (1 - alpha) over those before, a weight is alpha T. The first Gaussian that would bring T
  to 1e-4 or below is left out with all behind it.
- rgb = sum of weight times color; alpha = sum of weights; depth = sum of weight times depth over
  alpha. A background is added by (1 - alpha) times its color.

Memory is bounded: pixels are drawn in chunks, and drawn again when gradients are taken.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians

NEAR, FAR = 0.01, 1e10
BORDER = 0.15
BLUR = 0.3
MIN_ALPHA, MAX_ALPHA = 1 / 255, 0.999
MIN_TRANSMITTANCE = 1e-4

# Pixels times Gaussians that are held at once.
_CHUNK = 2**22


def splat(gaussians: Gaussians, cameras: Cameras, depth: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Premultiplied rgb (b, v, 3, h, w), alpha (b, v, h, w) and the sum of weight times depth, or None.

    Takes Gaussians of batch shape (b,) and cameras (b, v); computes in the dtype of the Gaussians and is
    differentiable in everything, cameras included.
    """
    cameras = cameras.to(gaussians.means.device, gaussians.means.dtype)
    b, v = cameras.batch_shape
    pictures = [
        _draw_view(gaussians[i], cameras[i, j], grad=torch.is_grad_enabled())
        for i in range(b)
        for j in range(v)
    ]
    channels = gaussians.means.new_zeros(b, v, 5, cameras.height, cameras.width)
    if pictures:
        channels = torch.stack(pictures).view_as(channels)
    return channels[:, :, :3], channels[:, :, 3], channels[:, :, 4] if depth else None


def _draw_view(gaussians: Gaussians, camera: Cameras, grad: bool) -> Float[Tensor, "5 h w"]:
    """Sums of weight times (rgb, 1, depth) in one picture of one object."""
    means, conics, depths = project(gaussians, camera)
    visible = (depths >= NEAR) & (depths <= FAR)
    opacities = torch.where(visible, gaussians.opacities, 0)
    order = torch.argsort(depths.detach(), stable=True)
    features = torch.cat([gaussians.colors, torch.ones_like(depths)[:, None], depths[:, None]], dim=-1)
    columns = (means[order], conics[order], opacities[order], features[order])

    pixels = _pixel_centers(camera.width, camera.height, means)
    rows = []
    for chunk in pixels.split(max(1, _CHUNK // max(1, len(order)))):
        rows.append(
            checkpoint(_blend, chunk, *columns, use_reentrant=False) if grad else _blend(chunk, *columns)
        )
    return torch.cat(rows).T.reshape(5, camera.height, camera.width)


def project(
    gaussians: Gaussians, camera: Cameras
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 3"], Float[Tensor, "n"]]:
    """Means in pixels, conics (xx, xy, yy of the inverse 2D covariance) and depths in one camera.

    What is behind the camera has no meaning, and no gradient that is not finite.
    """
    rotation, translation = camera.viewmats[:3, :3], camera.viewmats[:3, 3]
    x, y, depths = (gaussians.means @ rotation.T + translation).unbind(-1)
    z = torch.where(depths >= NEAR, depths, torch.ones_like(depths))
    fx, fy, cx, cy = camera.Ks[0, 0], camera.Ks[1, 1], camera.Ks[0, 2], camera.Ks[1, 2]
    means = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1)

    # J: how pixels move with a point in view space
    slope_x, slope_y = _clamped(x / z, fx, cx, camera.width), _clamped(y / z, fy, cy, camera.height)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], dim=-1)
    axes = rotation_matrices(gaussians.quats) * gaussians.scales[:, None, :]
    projected = jacobian.unflatten(-1, (2, 3)) @ rotation @ axes  # (n, 2, 3)
    covariance = projected @ projected.mT
    xx, xy, yy = covariance[:, 0, 0] + BLUR, covariance[:, 0, 1], covariance[:, 1, 1] + BLUR
    determinant = xx * yy - xy * xy
    return means, torch.stack([yy, -xy, xx], dim=-1) / determinant[:, None], depths


def rotation_matrices(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices of quaternions wxyz, which need not be of unit length."""
    w, x, y, z = F.normalize(quats, dim=-1).unbind(-1)
    entries = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def _clamped(slope: Tensor, focal: Tensor, center: Tensor, size: int) -> Tensor:
    border = BORDER * size / focal
    return torch.minimum(torch.maximum(slope, -(center / focal + border)), (size - center) / focal + border)


def _pixel_centers(width: int, height: int, like: Tensor) -> Float[Tensor, "h*w 2"]:
    y, x = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device) + 0.5,
        torch.arange(width, dtype=like.dtype, device=like.device) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def _blend(
    pixels: Float[Tensor, "p 2"],
    means: Float[Tensor, "n 2"],
    conics: Float[Tensor, "n 3"],
    opacities: Float[Tensor, "n"],
    features: Float[Tensor, "n c"],
) -> Float[Tensor, "p c"]:
    """Sums of weight times features in pixels, of Gaussians that are sorted nearest first."""
    dx, dy = (means - pixels[:, None]).unbind(-1)  # (p, n)
    xx, xy, yy = conics.unbind(-1)
    sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = (opacities * torch.exp(-sigma)).clamp(max=MAX_ALPHA)
    alpha = torch.where((alpha >= MIN_ALPHA) & (sigma >= 0), alpha, torch.zeros_like(alpha))
    # T only falls: once a Gaussian brings it to the limit, so do all behind it.
    after = torch.exp(torch.cumsum(torch.log1p(-alpha), dim=-1))
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=-1)
    weights = torch.where(after > MIN_TRANSMITTANCE, alpha * before, torch.zeros_like(alpha))
    return weights @ features
