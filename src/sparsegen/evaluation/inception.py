"""The Inception network of the FID (Heusel et al. 2017): its 2048 pooled features of pictures at 299 pixels.

It is TensorFlow's of 2015-12-05, with that program's resizing and its average pooling, which leaves the
border out. The weights come in no package: they are read from the published file, and only from that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.evaluation.weights import published_weights

# The port to PyTorch that pytorch-fid and torch-fidelity share; the eight digits start its SHA-256.
WEIGHTS_FILE = "pt_inception-2015-12-05-6726825d.pth"
_SHA256 = "6726825d"
_SIZE = 299
_EPSILON = 1e-3  # of the batch normalisation


@dataclass(frozen=True)
class Inception:
    """The network as a function; `weights` are the entries of the published file."""

    weights: dict[str, Tensor]

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 2048"]:
        """Features of pictures in [0, 1], which are rounded to 8 bits first."""
        levels = (images.clamp(0, 1) * 255).round()
        x = (_resized(levels) - 128) / 128
        x = self._conv(x, "Conv2d_1a_3x3", stride=2)
        x = self._conv(x, "Conv2d_2a_3x3")
        x = self._conv(x, "Conv2d_2b_3x3", same=True)
        x = self._conv(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1")
        x = F.max_pool2d(self._conv(x, "Conv2d_4a_3x3"), 3, 2)
        for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self._fives(x, block)
        x = self._to_17(x, "Mixed_6a")
        for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self._sevens(x, block)
        x = self._to_8(x, "Mixed_7a")
        x = self._forks(x, "Mixed_7b", _average(x))
        x = self._forks(x, "Mixed_7c", F.max_pool2d(x, 3, 1, 1))
        return x.mean(dim=(2, 3))

    def _fives(self, x: Tensor, block: str) -> Tensor:
        """35 x 35 pixels."""
        return torch.cat(
            [
                self._chain(x, block, "branch1x1"),
                self._chain(x, block, "branch5x5_1", "branch5x5_2"),
                self._chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                self._chain(_average(x), block, "branch_pool"),
            ],
            dim=1,
        )

    def _to_17(self, x: Tensor, block: str) -> Tensor:
        """35 x 35 to 17 x 17 pixels."""
        double = self._chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
        return torch.cat(
            [
                self._conv(x, f"{block}.branch3x3", stride=2),
                self._conv(double, f"{block}.branch3x3dbl_3", stride=2),
                F.max_pool2d(x, 3, 2),
            ],
            dim=1,
        )

    def _sevens(self, x: Tensor, block: str) -> Tensor:
        """17 x 17 pixels."""
        return torch.cat(
            [
                self._chain(x, block, "branch1x1"),
                self._chain(x, block, *(f"branch7x7_{n}" for n in (1, 2, 3))),
                self._chain(x, block, *(f"branch7x7dbl_{n}" for n in (1, 2, 3, 4, 5))),
                self._chain(_average(x), block, "branch_pool"),
            ],
            dim=1,
        )

    def _to_8(self, x: Tensor, block: str) -> Tensor:
        """17 x 17 to 8 x 8 pixels."""
        three = self._chain(x, block, "branch3x3_1")
        seven = self._chain(x, block, *(f"branch7x7x3_{n}" for n in (1, 2, 3)))
        return torch.cat(
            [
                self._conv(three, f"{block}.branch3x3_2", stride=2),
                self._conv(seven, f"{block}.branch7x7x3_4", stride=2),
                F.max_pool2d(x, 3, 2),
            ],
            dim=1,
        )

    def _forks(self, x: Tensor, block: str, pooled: Tensor) -> Tensor:
        """8 x 8 pixels."""
        three = self._chain(x, block, "branch3x3_1")
        double = self._chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
        return torch.cat(
            [
                self._chain(x, block, "branch1x1"),
                *(self._chain(three, block, f"branch3x3_2{side}") for side in "ab"),
                *(self._chain(double, block, f"branch3x3dbl_3{side}") for side in "ab"),
                self._chain(pooled, block, "branch_pool"),
            ],
            dim=1,
        )

    def _chain(self, x: Tensor, block: str, *names: str) -> Tensor:
        for name in names:
            x = self._conv(x, f"{block}.{name}", same=True)
        return x

    def _conv(self, x: Tensor, name: str, stride: int = 1, same: bool = False) -> Tensor:
        """Convolution, batch normalisation, ReLU; `same` keeps the picture's size."""
        kernel = self.weights[f"{name}.conv.weight"]
        padding = (kernel.shape[2] // 2, kernel.shape[3] // 2) if same else 0
        x = F.conv2d(x, kernel, stride=stride, padding=padding)
        mean, variance, weight, bias = (
            self.weights[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu(F.batch_norm(x, mean, variance, weight, bias, eps=_EPSILON))


def load_inception(path: Path | None = None) -> Inception:
    """The network with the published weights, from `path` or torch hub's cache folder; else `InputError`."""
    return Inception(published_weights("FID and KID", WEIGHTS_FILE, _SHA256, path))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _resized(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 299 299"]:
    """TensorFlow 1's bilinear resizing: corners of pixels, not centres, lie on one another."""
    rows, columns = (_bilinear(size, images) for size in images.shape[-2:])
    return rows @ images @ columns.mT


def _bilinear(size: int, like: Tensor) -> Float[Tensor, "299 size"]:
    source = torch.arange(_SIZE, dtype=torch.float64) * size / _SIZE
    low = source.long().clamp(max=size - 1)
    matrix = torch.zeros(_SIZE, size, dtype=torch.float64)
    lines = torch.arange(_SIZE)
    fraction = source - low
    matrix[lines, low] = 1 - fraction
    matrix[lines, (low + 1).clamp(max=size - 1)] += fraction
    return matrix.to(like.device, like.dtype)
