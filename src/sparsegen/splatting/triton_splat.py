"""Splatting on a GPU by Triton: the contract of `reference` in float32, with gradients, and no toolkit.

Triton comes with every CUDA build of PyTorch for Linux and compiles the kernels at the first call. All
objects and views of a call are drawn at once. The host never waits for the GPU, so that a call can be part
of a CUDA graph. There are no atomics: results are the same bytes in every run. Results are checked in
Triton's interpreter, and the kernels compile for a GPU, but how fast they are on one is not measured yet.

1. Every Gaussian gets a key in every picture, and one sort of all keys gives the order nearest first.
2. In that order the Gaussians are projected, and every tile of a picture gets a set of bits: who touches it.
3. One warp draws one tile, splat by splat.
4. Backward, every tile writes a row of sums for each of its splats; every splat adds up its tiles' rows;
   every Gaussian carries the sums of its splats back to its parameters.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians

try:
    import triton  # pyright: ignore[reportMissingImports]
except ImportError:
    raise InputError(
        "backend 'triton' needs Triton, which is not installed: pip install triton (it is made for Linux)"
    ) from None

from sparsegen.splatting import triton_binning, triton_projection, triton_raster
from sparsegen.splatting.triton_layout import (
    SPLAT_COLUMNS,
    SUM_COLUMNS,
    TILE_HEIGHT,
    TILE_WIDTH,
    W_DEPTH,
    WORD,
)

_BLOCK = 128  # Gaussians of a program
_WORDS = 32  # words of a bit set in a program

# Pairs of a tile and a splat whose sums are held at once, 40 bytes each. Nobody counts the pairs, which would
# stop the host; but for the largest calls there is room for as many as there could be. What does not fit
# waits for its turn, and a turn with nothing to do costs two short launches.
_PAIRS = 2**23
_MAX_TURNS = 16


def splat(gaussians: Gaussians, cameras: Cameras, depth: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Premultiplied rgb (b, v, 3, h, w), alpha (b, v, h, w) and the sum of weight times depth, or None.

    Takes Gaussians of batch shape (b,) and cameras (b, v) on one CUDA device, of any dtype, and computes in
    float32. Raises InputError where the tensors are not on CUDA (Triton's interpreter takes any device).
    There are no gradients for cameras.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreted and not (gaussians.means.is_cuda and cameras.viewmats.is_cuda):
        raise InputError(
            f"backend 'triton' needs tensors on CUDA, got Gaussians on {gaussians.means.device} and cameras "
            f"on {cameras.viewmats.device}: move them with .to('cuda') or take backend 'auto'"
        )
    inputs = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors)
    inputs = [x.to(torch.float32).contiguous() for x in inputs]
    lenses = [x.to(inputs[0].device, torch.float32).contiguous() for x in (cameras.viewmats, cameras.Ks)]
    if 0 in (*cameras.batch_shape, gaussians.count):
        return _nothing(inputs[0], cameras, depth)
    with _on(inputs[0].device):
        rgb, alpha, depth_sum = _Splat.apply(*inputs, *lenses, cameras.width, cameras.height, depth)
    return rgb, alpha, depth_sum


@dataclass(frozen=True)
class _Frame:
    """Sizes of a call: b objects of n Gaussians, v views each."""

    objects: int
    views: int
    count: int
    width: int
    height: int

    @property
    def pictures(self) -> int:
        return self.objects * self.views

    @property
    def tiles_x(self) -> int:
        return triton.cdiv(self.width, TILE_WIDTH.value)

    @property
    def tiles(self) -> int:
        """Tiles of one picture."""
        return self.tiles_x * triton.cdiv(self.height, TILE_HEIGHT.value)

    @property
    def words(self) -> int:
        """Words of a tile's bit set."""
        return triton.cdiv(self.count, WORD.value)


@dataclass(frozen=True)
class _Splats:
    """What the Gaussians look like in every picture, nearest first, and in which tiles."""

    order: Int[Tensor, "i*n"]
    table: Float[Tensor, "i*n columns"]
    span_x: Int[Tensor, "i*n"]
    span_y: Int[Tensor, "i*n"]
    bits: Int[Tensor, "i*tiles words"]


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        *inputs, width, height, depth = args
        like, viewmats = inputs[0], inputs[5]
        frame = _Frame(viewmats.shape[0], viewmats.shape[1], like.shape[1], width, height)
        splats = _project_and_bin(inputs, frame)
        rgb = like.new_empty(frame.objects, frame.views, 3, height, width)
        alpha = like.new_empty(frame.objects, frame.views, height, width)
        depth_sum = torch.empty_like(alpha) if depth else None
        tiles = frame.pictures * frame.tiles
        stops, hits = (torch.empty(tiles, dtype=torch.int32, device=like.device) for _ in range(2))
        _launch(
            triton_raster.rasterize, (tiles,),
            splats.table, splats.bits, rgb, alpha, depth_sum, stops, hits, frame.count, frame.words,
            width, height, frame.tiles_x, frame.tiles, WITH_DEPTH=depth, num_warps=1,
        )  # fmt: skip
        ctx.save_for_backward(*inputs, rgb, alpha, depth_sum, stops, hits)
        ctx.splats, ctx.frame, ctx.depth = splats, frame, depth
        return rgb, alpha, depth_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *inputs, rgb, alpha, depth_sum, stops, hits = ctx.saved_tensors
        frame: _Frame = ctx.frame
        gradients = [x.contiguous() for x in grad_outputs[: 3 if ctx.depth else 2]]
        pictures = (rgb, alpha, depth_sum, *gradients, *([] if ctx.depth else [None]))
        wanted = [torch.empty_like(x) for x in inputs[:5]]
        means, quats, scales, opacities, _, viewmats, Ks = inputs
        with _on(means.device):
            sums = _splat_sums(ctx.splats, frame, pictures, stops, hits)
            _launch(
                triton_projection.project_backward, (triton.cdiv(frame.count, _BLOCK), frame.objects),
                means, quats, scales, opacities, viewmats, Ks, sums, *wanted, frame.count, frame.views,
                frame.width, frame.height, BLOCK=_BLOCK, num_warps=4,
            )  # fmt: skip
        return (*wanted, None, None, None, None, None)


def _project_and_bin(inputs: list[Tensor], frame: _Frame) -> _Splats:
    means, viewmats = inputs[0], inputs[5]
    rows, tiles = frame.pictures * frame.count, frame.pictures * frame.tiles
    keys = torch.empty(rows, dtype=torch.int64, device=means.device)
    blocks = (triton.cdiv(frame.count, _BLOCK), frame.pictures)
    _launch(
        triton_projection.order_keys, blocks, means, viewmats, keys, frame.count, frame.views, BLOCK=_BLOCK
    )
    order = torch.sort(keys, stable=True).indices
    table = means.new_empty(rows, SPLAT_COLUMNS)
    span_x, span_y = (torch.empty(rows, dtype=torch.int32, device=means.device) for _ in range(2))
    _launch(
        triton_projection.project, blocks,
        *inputs, order, table, span_x, span_y, frame.count, frame.views, frame.width, frame.height,
        BLOCK=_BLOCK,
    )  # fmt: skip
    bits = torch.empty(tiles, frame.words, dtype=torch.int32, device=means.device)
    _launch(
        triton_binning.bin_tiles, (tiles, triton.cdiv(frame.words, _WORDS)),
        table, span_x, span_y, bits, frame.count, frame.words, frame.tiles_x, frame.tiles, WORDS=_WORDS,
    )  # fmt: skip
    return _Splats(order, table, span_x, span_y, bits)


def _splat_sums(
    splats: _Splats, frame: _Frame, pictures: tuple[Tensor | None, ...], stops: Tensor, hits: Tensor
) -> Float[Tensor, "i*n columns"]:
    """What the pixels of every picture say about every Gaussian."""
    tiles = frame.pictures * frame.tiles
    starts = torch.zeros(tiles + 1, dtype=torch.int64, device=hits.device)
    torch.cumsum(hits, dim=0, out=starts[1:])
    most = tiles * frame.count
    turns = min(triton.cdiv(most, _PAIRS), _MAX_TURNS)
    capacity = 16 * triton.cdiv(most, 16 * turns)  # Triton would compile again for an odd multiple
    # a tile that starts in this turn also ends in it
    pairs = splats.table.new_empty(min(capacity + frame.count, most), SUM_COLUMNS)
    sums = splats.table.new_empty(frame.pictures * frame.count, SUM_COLUMNS)
    firsts = torch.empty_like(splats.bits)
    with_depth = pictures[-1] is not None
    sizes = (frame.count, frame.words, frame.width, frame.height, frame.tiles_x, frame.tiles)
    for least in range(0, most, capacity):
        _launch(
            triton_raster.rasterize_backward, (tiles,),
            splats.table, splats.bits, stops, starts, *pictures, firsts, pairs, least, capacity, *sizes,
            WITH_DEPTH=with_depth, num_warps=1,
        )  # fmt: skip
        _launch(
            triton_raster.gather, (triton.cdiv(frame.count, WORD.value), frame.pictures),
            splats.span_x, splats.span_y, splats.order, splats.bits, stops, starts, firsts, pairs, sums,
            least, capacity, frame.count, frame.words, frame.tiles_x, frame.tiles, tiles,
            COLUMNS=SUM_COLUMNS if with_depth else W_DEPTH.value, BLOCK=WORD.value, num_warps=1,
        )  # fmt: skip
    return sums


def _launch(kernel: Any, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
    kernel[grid](*args, **constants, enable_fp_fusion=True)  # unsaid, Triton from 3.9 on warns


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Where kernels of that device are launched. (Triton's interpreter takes tensors on the CPU.)"""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _nothing(means: Tensor, cameras: Cameras, depth: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Empty pictures, still a function of the Gaussians, without a launch of zero blocks."""
    picture = (*cameras.batch_shape, cameras.height, cameras.width)
    zero = means.sum() * 0
    rgb = zero.expand(*cameras.batch_shape, 3, *picture[-2:])
    return rgb, zero.expand(picture), zero.expand(picture) if depth else None
