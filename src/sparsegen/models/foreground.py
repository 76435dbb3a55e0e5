"""Foreground network: which pixels of a photograph belong to the object, and which lie behind or before it.

A small U-Net (arXiv 1505.04597) over square pictures, for the kind of objects that it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ForegroundConfig:
    """Side of the pictures that the network sees, in pixels, a multiple of 16; its first layer's channels."""

    size: int = 128
    width: int = 32


class ForegroundNet(nn.Module):
    """Opaque pictures to logits of each pixel being the object's."""

    def __init__(self, config: ForegroundConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * factor for factor in (1, 2, 3, 4)]
        self.down = nn.ModuleList(
            nn.Sequential(_layer(a, b, stride=2), _layer(b, b))
            for a, b in zip([3, *widths], widths, strict=False)
        )
        # What the whole picture shows, told to every place of it.
        self.context = nn.Sequential(nn.Linear(widths[-1], widths[-1]), nn.GELU())
        self.middle = nn.Sequential(_layer(widths[-1], widths[-1]), _layer(widths[-1], widths[-1]))
        self.up = nn.ModuleList(
            nn.Sequential(_layer(a + b, b), _layer(b, b))
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.shuffle = nn.Sequential(nn.Conv2d(widths[0], 32, 1), nn.PixelShuffle(2))
        self.edges = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU())
        self.last = nn.Sequential(_layer(16, 16), nn.Conv2d(16, 1, 1))

    def forward(self, pictures: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b s s"]:
        pictures = (4 * pictures - 2).contiguous(memory_format=torch.channels_last)
        x, skipped = pictures, []
        for layers in self.down:
            x = layers(x)
            skipped.append(x)
        x = self.middle(x + self.context(x.mean((2, 3)))[:, :, None, None])
        for layers, beside in zip(self.up, skipped[-2::-1], strict=True):
            x = layers(torch.cat([F.interpolate(x, scale_factor=2.0), beside], dim=1))
        return self.last(torch.cat([self.shuffle(x), self.edges(pictures)], dim=1))[:, 0]


def _layer(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.GroupNorm(8, width), nn.GELU()
    )
