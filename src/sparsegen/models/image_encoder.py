"""Image encoder: a vision transformer over pictures, camera rays and the flow time (paper, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import RADIUS, Cameras
from sparsegen.models.layers import (
    FeedForward,
    Modulation,
    SelfAttention,
    TimeEmbedding,
    full_precision,
    modulate,
)
from sparsegen.views import Views

CHANNELS = 12  # picture 3, camera centre 3, ray direction 3, self-conditioning picture 3

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Sizes of the image encoder, and which of the reference's conventions it keeps.

    `pixels`: "white" maps white to zero; "imagenet" is the reference's normalisation, made for [0, 1]
    but applied to [-1, 1]. `rays`: "pinhole" goes through the pixel centres; "off_centre" is the
    reference's, displaced by one and a half picture widths. `table_size` is the side of the stored
    position table, interpolated to the token grid where they differ.
    """

    width: int = 192
    depth: int = 2
    heads: int = 4
    mlp_ratio: int = 4
    patch_size: int = 16
    input_size: int = 128
    table_size: int = 8
    class_token: bool = False
    pixels: str = "white"
    rays: str = "pinhole"
    gate_init: float = 0.5

    @property
    def grid_size(self) -> int:
        return self.input_size // self.patch_size


class Block(nn.Module):
    """Pre-norm transformer block with adaLN modulation by time and a learned scale per branch."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = SelfAttention(width, config.heads)
        self.scale1 = nn.Parameter(torch.ones(width))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward = FeedForward(width, config.mlp_ratio * width, nn.GELU())
        self.scale2 = nn.Parameter(torch.ones(width))
        self.modulation = Modulation(width, branches=2, gate=config.gate_init)

    def forward(self, x: Float[Tensor, "b n c"], time: Float[Tensor, "b c"]) -> Float[Tensor, "b n c"]:
        (shift1, scale1, gate1), (shift2, scale2, gate2) = self.modulation(time)
        x = x + gate1 * self.scale1 * self.attention(modulate(self.norm1(x), shift1, scale1))
        return x + gate2 * self.scale2 * self.feed_forward(modulate(self.norm2(x), shift2, scale2))


class ImageEncoder(nn.Module):
    """Every view by itself: picture, rays and self-conditioning to a grid of features."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        width, table = config.width, config.table_size
        self.patch_embedding = nn.Conv2d(CHANNELS, width, config.patch_size, stride=config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width)) if config.class_token else None
        self.position_table = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(1, table * table + config.class_token, width), std=0.02)
        )
        self.time_embedding = TimeEmbedding(width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(
        self, pictures: Float[Tensor, "b v 12 s s"], times: Float[Tensor, "b v"]
    ) -> Float[Tensor, "b v c g g"]:
        """Features of pictures made by `encoder_input`."""
        b, v = times.shape
        grid = self.config.grid_size
        tokens = self.patch_embedding(pictures.flatten(0, 1)).flatten(2).mT  # (b v, g g, c)
        table = self._positions().to(tokens.dtype)
        if self.class_token is None:
            x = tokens + table
        else:
            first = self.class_token.expand(b * v, -1, -1).to(tokens.dtype)
            x = torch.cat([first, tokens], dim=1) + table
        time = self.time_embedding(times.flatten())
        for block in self.blocks:
            x = block(x, time)
        x = self.norm(x)[:, -grid * grid :]
        return x.mT.reshape(b, v, -1, grid, grid)

    def _positions(self) -> Float[Tensor, "1 n c"]:
        grid, side = self.config.grid_size, self.config.table_size
        if grid == side:
            return self.position_table
        patches = self.position_table[:, -side * side :]
        # The tenth of a cell is DINOv2's guard against rounding; its weights expect it.
        factor = (grid + 0.1) / side
        resized = F.interpolate(
            patches.mT.unflatten(-1, (side, side)), scale_factor=(factor, factor), mode="bicubic"
        )
        return torch.cat([self.position_table[:, : -side * side], resized.flatten(2).mT], dim=1)


def encoder_input(
    config: ImageEncoderConfig,
    views: Views,
    times: Float[Tensor, "b v"],
    self_conditioning: Float[Tensor, "b v 3 h w"] | None,
) -> Float[Tensor, "b v 12 s s"]:
    """Stack picture, camera centre, ray directions and self-conditioning picture as channels.

    A clean view (time 0) conditions on itself. Noised views without `self_conditioning` have mid-grey
    there (`pixels="imagenet"`) or white ("white").
    """
    images = views.images
    if self_conditioning is None:
        self_conditioning = torch.full_like(images, 0.5 if config.pixels == "imagenet" else 1.0)
    self_conditioning = torch.where(times[..., None, None, None] == 0, images, self_conditioning)
    origins, directions = _rays(config, views.cameras)
    camera = torch.cat([origins, directions], dim=2).to(images.dtype)
    x = torch.cat([_normalised(config, images), camera, _normalised(config, self_conditioning)], dim=2)
    if x.shape[-1] != config.input_size:
        size = (config.input_size, config.input_size)
        x = F.interpolate(x.flatten(0, 1), size=size, mode="bilinear").unflatten(0, x.shape[:2])
    return x


def _rays(config: ImageEncoderConfig, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Camera centres over the sphere's radius and unit ray directions, both (b, v, 3, h, w)."""
    if config.rays == "off_centre":
        shift = cameras.Ks.new_zeros(3, 3)
        shift[0, 2], shift[1, 2] = 1.5 * cameras.width, 1.5 * cameras.height
        cameras = Cameras(cameras.viewmats, cameras.Ks - shift, cameras.width, cameras.height)
    with full_precision(cameras.viewmats.device):
        centers, directions = cameras.rays()
    directions = directions.movedim(-1, -3)
    origins = (centers / RADIUS)[..., None, None].expand_as(directions)
    return origins, directions


def _normalised(config: ImageEncoderConfig, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v 3 h w"]:
    """Pictures in [0, 1] less their usual mean, over their usual spread."""
    if config.pixels == "white":
        return (images - 1) / 0.5
    # (2 x - 1 - mean) / std, a channel at a time: a tensor of means would make the host wait for CUDA.
    channels = zip(images.unbind(2), _IMAGENET_MEAN, _IMAGENET_STD, strict=True)
    return torch.stack([(x - (mean + 1) / 2) / (std / 2) for x, mean, std in channels], dim=2)
