"""Foreground network: which pixels of a photograph belong to the object, and which lie behind or before it.

A U-Net (arXiv 1505.04597) over square pictures, for the kind of objects that it was trained on. Its way down
is EfficientNet-lite0, which knows photographs of everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.models.lite0 import WIDTHS, lite0_stages


@dataclass(frozen=True)
class ForegroundConfig:
    """Side of the pictures that the network sees, in pixels, a multiple of 32; channels of its way up at half
    of that size."""

    size: int = 160
    width: int = 32


class ForegroundNet(nn.Module):
    """Opaque pictures to logits of each pixel being the object's."""

    def __init__(self, config: ForegroundConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = nn.ModuleList(lite0_stages())
        widths = [config.width * factor for factor in (1, 2, 2, 3, 4)]
        self.beside = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(WIDTHS, widths, strict=True))
        # What the whole picture shows, told to every place of it.
        self.context = nn.Sequential(nn.Linear(widths[-1], widths[-1]), nn.GELU())
        self.middle = _layer(widths[-1], widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(_layer(a + b, b), _layer(b, b))
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.shuffle = nn.Sequential(nn.Conv2d(widths[0], 32, 1), nn.PixelShuffle(2))
        self.edges = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU())
        self.last = nn.Sequential(_layer(16, 16), nn.Conv2d(16, 1, 1))

    def forward(self, pictures: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b s s"]:
        pictures = (2 * pictures - 1).contiguous(memory_format=torch.channels_last)
        x, maps = pictures, []
        for stage, beside in zip(self.trunk, self.beside, strict=True):
            x = stage(x)
            maps.append(beside(x))
        x = maps.pop()
        x = self.middle(x + self.context(x.mean((2, 3)))[:, :, None, None])
        for layers in self.up:
            x = layers(torch.cat([F.interpolate(x, scale_factor=2.0), maps.pop()], dim=1))
        return self.last(torch.cat([self.shuffle(x), self.edges(pictures)], dim=1))[:, 0]


def _layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.GELU()
    )
