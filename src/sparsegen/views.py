"""Pictures of objects together with their cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras, cat


@dataclass(frozen=True)
class Views:
    """V posed pictures of each of B objects, in displayed colors over a white background.

    `images` lie in [0, 1] (noised views may leave it: see `sparsegen.flow`); `alphas` is the object's
    coverage, or None where it is not known; `cameras` has batch shape (B, V).
    """

    images: Float[Tensor, "b v 3 h w"]
    cameras: Cameras
    alphas: Float[Tensor, "b v h w"] | None = None

    def __post_init__(self) -> None:
        b, v, _, h, w = self.images.shape
        if self.cameras.batch_shape != (b, v) or (self.cameras.height, self.cameras.width) != (h, w):
            raise ValueError(
                f"{tuple(self.images.shape)} pictures do not fit cameras of batch shape "
                f"{tuple(self.cameras.batch_shape)} and size {self.cameras.width} x {self.cameras.height}"
            )
        if self.alphas is not None and self.alphas.shape != (b, v, h, w):
            raise ValueError(f"alphas must have shape {(b, v, h, w)}, got {tuple(self.alphas.shape)}")

    @property
    def batch_size(self) -> int:
        return self.images.shape[0]

    @property
    def view_count(self) -> int:
        return self.images.shape[1]

    def select(self, views: Any) -> Views:
        """Some of the views of every object: a slice, a list or an index tensor."""
        alphas = None if self.alphas is None else self.alphas[:, views]
        return Views(self.images[:, views], self.cameras[:, views], alphas)

    def objects(self, index: Any) -> Views:
        """Some of the objects, with all their views: a slice, a list or an index tensor."""
        alphas = None if self.alphas is None else self.alphas[index]
        return Views(self.images[index], self.cameras[index], alphas)

    def to(self, device: Any = None) -> Views:
        alphas = None if self.alphas is None else self.alphas.to(device)
        return Views(self.images.to(device), self.cameras.to(device), alphas)

    def without_alphas(self) -> Views:
        return replace(self, alphas=None)


def stack_views(objects: Sequence[Views]) -> Views:
    """Views of several objects, with equally many views of one size, as one batch."""
    alphas = None
    if all(o.alphas is not None for o in objects):
        alphas = torch.cat([o.alphas for o in objects if o.alphas is not None])
    return Views(torch.cat([o.images for o in objects]), cat([o.cameras for o in objects]), alphas)


def cat_views(first: Views, second: Views) -> Views:
    """The views of `first`, then those of `second`, of the same objects; alphas only if both have them."""
    alphas = None
    if first.alphas is not None and second.alphas is not None:
        alphas = torch.cat([first.alphas, second.alphas], dim=1)
    images = torch.cat([first.images, second.images], dim=1)
    return Views(images, cat([first.cameras, second.cameras], dim=1), alphas)
