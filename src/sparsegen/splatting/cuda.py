"""Splatting on CUDA: gsplat, whose classic mode is the contract of `reference`."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians

_WARP = 32


def splat(gaussians: Gaussians, cameras: Cameras, depth: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Premultiplied rgb (b, v, 3, h, w), alpha (b, v, h, w) and the sum of weight times depth, or None.

    Takes Gaussians of batch shape (b,) and cameras (b, v) on one CUDA device, of any dtype, and computes
    in float32, all objects and views in one launch. Raises InputError where gsplat is missing or the
    tensors are not on CUDA.
    """
    try:
        from gsplat import rasterization  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "backend 'cuda' needs gsplat, which is not installed: pip install 'sparsegen[cuda]'"
        ) from None
    if not (gaussians.means.is_cuda and cameras.viewmats.is_cuda):
        raise InputError(
            f"backend 'cuda' needs tensors on CUDA, got Gaussians on {gaussians.means.device} and cameras "
            f"on {cameras.viewmats.device}: move them with .to('cuda') or take backend 'auto'"
        )

    # Gradients of several objects would mix: gsplat 1.5.3 adds up, within a warp of 32 threads, what goes
    # to Gaussians of one number, and only from 32 Gaussians on are they sure to be of one object.
    if gaussians.count < _WARP and gaussians.batch_shape[0] > 1:
        objects = [
            splat(gaussians[i : i + 1], cameras[i : i + 1], depth) for i in range(gaussians.batch_shape[0])
        ]
        rgb, alpha, depth_sum = zip(*objects, strict=True)
        return torch.cat(rgb), torch.cat(alpha), torch.cat(depth_sum) if depth else None
    if 0 in (*cameras.batch_shape, gaussians.count):
        return _nothing(gaussians, cameras, depth)

    gaussians, cameras = gaussians.to(dtype=torch.float32), cameras.to(gaussians.means.device, torch.float32)
    # gsplat's kernels work in float32 only, and autocast would hand them halves.
    with torch.autocast("cuda", enabled=False):
        features, alpha, _ = rasterization(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.colors,
            cameras.viewmats,
            cameras.Ks,
            cameras.width,
            cameras.height,
            packed=False,  # faster, and its gradients know objects apart
            render_mode="RGB+D" if depth else "RGB",
        )  # (b, v, h, w, 3 or 4), (b, v, h, w, 1)
    channels = features.movedim(-1, 2)
    return channels[:, :, :3], alpha[..., 0], channels[:, :, 3] if depth else None


def _nothing(gaussians: Gaussians, cameras: Cameras, depth: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Empty pictures, still a function of the Gaussians, without a launch of zero blocks."""
    zero = (gaussians.means.sum() * 0).to(torch.float32)
    picture = (*cameras.batch_shape, cameras.height, cameras.width)
    rgb = zero.expand(*cameras.batch_shape, 3, *picture[-2:])
    return rgb, zero.expand(picture), zero.expand(picture) if depth else None
