"""Splatting: differentiable pictures of 3D Gaussians, one call whatever the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians

# Each backend's module has `splat(gaussians (b,), cameras (b, v), depth) -> (rgb, alpha, depth sum)`.
BACKENDS = {"cpu": "cpu", "triton": "triton_splat", "cuda": "cuda", "reference": "reference"}

# Where nothing was drawn the expected depth is 0 / MIN_WEIGHT = 0.
MIN_WEIGHT = 1e-10


@dataclass(frozen=True)
class Rendering:
    """Pictures of Gaussians.

    `rgb` is composited over the background that was asked for, or premultiplied by `alpha` without one;
    `alpha` is the coverage in [0, 1]; `depth` is the expected view-space depth in world units, 0 where
    nothing is drawn, or None where it was not asked for.
    """

    rgb: Float[Tensor, "*batch v 3 h w"]
    alpha: Float[Tensor, "*batch v h w"]
    depth: Float[Tensor, "*batch v h w"] | None = None


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    background: float | Float[Tensor, "3"] | None = 1.0,
    backend: str = "auto",
    depth: bool = True,
) -> Rendering:
    """Draw Gaussians of batch shape (*batch) as cameras of batch shape (*batch, V) see them.

    Batch shapes broadcast: cameras (V,) show every object of a batch. Pictures keep the range of the
    colors, [0, 1], and are differentiable in all Gaussian parameters. `background` None leaves the
    colors premultiplied. `backend` is "cpu" (Numba), "triton" or "cuda" (gsplat), in float32, or
    "reference" (plain PyTorch, any dtype and device; its module states what all of them compute), or
    "auto": on CUDA Triton, or gsplat where Triton is not installed; elsewhere Numba. Only "reference" has
    gradients for cameras. Raises InputError for a backend that is unknown or cannot run, and ValueError
    where batch shapes do not fit or cameras require gradients in vain.
    """
    if backend == "auto":
        backend = _fast_backend(gaussians.means.device)
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown: choose 'auto' or one of {', '.join(BACKENDS)}")
    moving = cameras.viewmats.requires_grad or cameras.Ks.requires_grad
    if moving and backend != "reference" and torch.is_grad_enabled():
        raise ValueError(
            f"backend {backend!r} has no gradients for cameras: detach viewmats and Ks, or take 'reference'"
        )
    batch = _common_batch(gaussians, cameras)
    views = cameras.batch_shape[-1]
    splat = import_module(f"sparsegen.splatting.{BACKENDS[backend]}").splat
    rgb, alpha, depth_sum = splat(_flat(gaussians, batch), _flat_cameras(cameras, batch), depth)
    if isinstance(background, Tensor):
        rgb = torch.addcmul(rgb, background.to(rgb).reshape(-1, 1, 1), (1 - alpha)[:, :, None])
    elif background is not None:  # a number stays one: as a tensor, it would make the host wait for CUDA
        rgb = torch.add(rgb, (1 - alpha)[:, :, None], alpha=background)
    picture = (*batch, views, cameras.height, cameras.width)
    expected = None if depth_sum is None else (depth_sum / alpha.clamp(min=MIN_WEIGHT)).reshape(picture)
    return Rendering(rgb.reshape(*batch, views, 3, *picture[-2:]), alpha.reshape(picture), expected)


# What "auto" means while `automatic_backend` says so.
_chosen: ContextVar[str | None] = ContextVar("chosen", default=None)


@contextmanager
def automatic_backend(name: str) -> Iterator[None]:
    """Within it, "auto" is this backend: networks that render inside can be traced through "reference"."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def _fast_backend(device: torch.device) -> str:
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if device.type != "cuda":
        return "cpu"
    return "triton" if find_spec("triton") else "cuda"


def _common_batch(gaussians: Gaussians, cameras: Cameras) -> torch.Size:
    if not cameras.batch_shape:
        raise ValueError("cameras must have a view dimension: pass cameras[None] to render one view")
    try:
        # NumPy's: PyTorch's own imports SymPy when it is first called, 0.4 s of a cold process.
        return torch.Size(np.broadcast_shapes(gaussians.batch_shape, cameras.batch_shape[:-1]))
    except ValueError:
        raise ValueError(
            f"Gaussians of batch shape {tuple(gaussians.batch_shape)} need cameras of batch shape "
            f"{(*gaussians.batch_shape, 'V')}, got {tuple(cameras.batch_shape)}"
        ) from None


def _flat(gaussians: Gaussians, batch: torch.Size) -> Gaussians:
    n = gaussians.count

    def flat(x: Tensor) -> Tensor:
        own = x.shape[len(gaussians.batch_shape) :]
        return x.expand(*batch, *own).reshape(batch.numel(), *own)

    return Gaussians(
        flat(gaussians.means),
        flat(gaussians.quats),
        flat(gaussians.scales),
        flat(gaussians.opacities),
        flat(gaussians.colors),
        gaussians.expansion if n else 1,
    )


def _flat_cameras(cameras: Cameras, batch: torch.Size) -> Cameras:
    views = cameras.batch_shape[-1]
    return cameras.expand(*batch, views).reshape(batch.numel(), views)
