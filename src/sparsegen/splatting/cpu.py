"""Splatting on the CPU: the contract of `reference`, by Numba kernels in float32, with gradients.

All objects and views of a call are drawn at once. Results are the same bytes in every run, for any number of
threads. The first call compiles the kernels (seconds); their machine code is kept for later processes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import cpu_binning, cpu_projection, cpu_raster
from sparsegen.splatting.cpu_layout import GRADIENT_COLUMNS, SPLAT_COLUMNS, TILE_HEIGHT, TILE_WIDTH

# A backward pass is cut into at least this many tasks (see `rasterize_backward`).
_MIN_TASKS = 8

# A kernel uses all threads, so two at once gain nothing, and one of Numba's threading layers
# (workqueue) ends the process when it is entered twice.
_ONE_AT_A_TIME = threading.Lock()


def splat(gaussians: Gaussians, cameras: Cameras, depth: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Premultiplied rgb (b, v, 3, h, w), alpha (b, v, h, w) and the sum of weight times depth, or None.

    Takes Gaussians of batch shape (b,) and cameras (b, v) of any dtype and computes in float32. Raises
    InputError for tensors that are not on the CPU. There are no gradients for cameras.
    """
    if gaussians.means.device.type != "cpu" or cameras.viewmats.device.type != "cpu":
        raise InputError(
            f"backend 'cpu' needs tensors on the CPU, got Gaussians on {gaussians.means.device} and cameras "
            f"on {cameras.viewmats.device}: move them with .to('cpu') or take backend 'auto'"
        )
    inputs = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors)
    inputs = [x.to(torch.float32).contiguous() for x in (*inputs, cameras.viewmats, cameras.Ks)]
    rgb, alpha, depth_sum = _Splat.apply(*inputs, cameras.width, cameras.height, depth)
    return rgb, alpha, depth_sum


@dataclass(frozen=True)
class _Frame:
    """Sizes of a call: b objects of n Gaussians, v views each, tiles of a picture."""

    objects: int
    views: int
    count: int
    width: int
    height: int

    @property
    def images(self) -> int:
        return self.objects * self.views

    @property
    def tiles(self) -> tuple[int, int]:
        return -(-self.width // TILE_WIDTH), -(-self.height // TILE_HEIGHT)


@dataclass(frozen=True)
class _Splats:
    """What the Gaussians look like in every picture, and in which tiles."""

    table: Float[np.ndarray, "i*n columns"]
    depths: Float[np.ndarray, "i*n"]
    starts: Int[np.ndarray, "tiles+1"]
    ends: Int[np.ndarray, "tiles"]
    lists: Int[np.ndarray, "entries"]


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        *inputs, width, height, depth = args
        b, n, _ = inputs[0].shape
        frame = _Frame(b, inputs[5].shape[1], n, width, height)
        picture = (b, frame.views, height, width)
        rgb = torch.empty(b, frame.views, 3, height, width)
        alpha = torch.empty(picture)
        depth_sum = torch.empty(picture) if depth else None
        with _kernels() as workers:
            splats = _project_and_bin(inputs, frame, workers)
            cpu_raster.rasterize(
                *_raster_arguments(splats, frame, depth), workers, *_per_image(rgb, alpha, depth_sum)
            )
        ctx.save_for_backward(*inputs, rgb, alpha, depth_sum)
        ctx.splats, ctx.frame, ctx.depth = splats, frame, depth
        return rgb, alpha, depth_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        g_rgb, g_alpha, g_depth = grad_outputs
        *inputs, rgb, alpha, depth_sum = ctx.saved_tensors
        frame: _Frame = ctx.frame
        parts = -(-_MIN_TASKS // max(frame.images, 1))
        gradients = np.zeros((parts, frame.images * frame.count, GRADIENT_COLUMNS), np.float32)
        wanted = [torch.empty_like(x) for x in inputs[:5]]
        with _kernels():
            cpu_raster.rasterize_backward(
                *_raster_arguments(ctx.splats, frame, ctx.depth),
                *_per_image(rgb, alpha, depth_sum),
                *_per_image(g_rgb, g_alpha, g_depth if ctx.depth else None),
                gradients,
            )
            means, quats, scales, _, _, viewmats, Ks = _rows(inputs)
            cpu_projection.project_backward(
                means, quats, scales, viewmats, Ks, frame.count, frame.views,
                np.float32(frame.width), np.float32(frame.height), ctx.splats.table,
                gradients[0] if parts == 1 else gradients.sum(axis=0), *_rows(wanted),
            )  # fmt: skip
        return (*wanted, None, None, None, None, None)


@contextmanager
def _kernels() -> Iterator[int]:
    """Where kernels may run; yields the number of threads, which both Numba and torch can bound."""
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        before = numba.get_num_threads()
        if torch.get_num_threads() != threads:
            # Where both use the same OpenMP, Numba starts by setting torch's number to that of all cores:
            # of processes that share those, each would wait for all.
            torch.set_num_threads(threads)
        workers = min(before, threads)
        numba.set_num_threads(workers)
        try:
            yield workers
        finally:
            numba.set_num_threads(before)


def _project_and_bin(inputs: list[Tensor], frame: _Frame, workers: int) -> _Splats:
    table = np.empty((frame.images * frame.count, SPLAT_COLUMNS), np.float32)
    depths = np.empty(frame.images * frame.count, np.float32)
    width, height = np.float32(frame.width), np.float32(frame.height)
    cpu_projection.project(*_rows(inputs), frame.count, frame.views, width, height, table, depths)
    sizes = (frame.images, frame.count, frame.width, frame.height, *frame.tiles)
    tiles = frame.images * frame.tiles[0] * frame.tiles[1]
    bounds = np.empty(tiles, np.int64)
    cpu_binning.bound_tiles(table, *sizes, bounds)
    starts = np.zeros(tiles + 1, np.int64)
    np.cumsum(bounds, out=starts[1:])
    ends, lists = np.empty(tiles, np.int64), np.empty(starts[-1], np.int32)
    bands = -(-workers // max(frame.images, 1))
    cpu_binning.fill_tiles(table, depths.view(np.uint32), *sizes, bands, starts, ends, lists)
    return _Splats(table, depths, starts, ends, lists)


def _raster_arguments(splats: _Splats, frame: _Frame, depth: bool) -> tuple[Any, ...]:
    depths = splats.depths if depth else None
    tables = (splats.starts, splats.ends, splats.lists)
    return (splats.table, depths, frame.count, frame.width, frame.height, *frame.tiles, *tables)


def _rows(tensors: list[Tensor]) -> list[np.ndarray]:
    """Arrays over the same memory with the two batch dimensions made one."""
    return [x.detach().flatten(0, 1).numpy() for x in tensors]


def _per_image(*pictures: Tensor | None) -> list[np.ndarray | None]:
    """Contiguous arrays with objects and views made one dimension."""
    return [None if x is None else x.detach().contiguous().flatten(0, 1).numpy() for x in pictures]
