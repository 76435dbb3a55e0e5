"""A pixel-aligned one-pass predictor, in the manner of Splatter Image (arXiv 2312.13150): what sparse
queries are compared with.

A U-Net maps each clean picture to a map of Gaussians, one for each pixel or small square of pixels, on the
pixel's ray at a predicted depth and an offset from there. It predicts in the camera's frame, does not know
the camera, and is deterministic. Several views are predicted one by one and their Gaussians joined; the
paper's attention between views and its code of the camera, which only its models of several views have,
are left out. Colors are mixed, by a predicted trust, with the picture's, as those of sparse queries are:
normalisation keeps absolute colors from the head, and learning them anew took most of a short training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.formats.axes import quat_of, quat_product
from sparsegen.gaussians import Gaussians
from sparsegen.models.layers import SelfAttention, full_precision
from sparsegen.models.network import Network, NetworkConfig
from sparsegen.views import Views

# What the head says of each Gaussian: depth, offset, opacity, scale, rotation, color, trust in the picture's.
_SIZES = (1, 3, 1, 3, 4, 3, 1)
# Of channels, in every normalisation.
_GROUPS = 8


@dataclass(frozen=True)
class PixelAlignedConfig(NetworkConfig):
    """Every size of the network. `sparsegen.models.presets` has the ones in use.

    `cell` is the side, in pixels, of the square that has one Gaussian. The U-Net has `width` channels at
    the first of its `levels` and twice as many at each next, `blocks` residual blocks at each level on the
    way down and on the way up (one more at the last), and attention in maps of side `attention_size` or
    less. Depths lie within `reach` of the camera's distance from the world's origin; offsets are free.
    Lengths are in world units.
    """

    kind: str = "pixel_aligned"
    flow: bool = False
    cell: int = 1
    width: int = 32
    levels: int = 5
    blocks: int = 1
    attention_size: int = 8
    heads: int = 4
    reach: float = 0.5
    min_scale: float = 0.002
    max_scale: float = 0.1
    scale_bias: float = -1.8
    opacity_bias: float = -2.0

    def build(self) -> PixelAligned:
        return PixelAligned(self)

    def check(self) -> None:
        super().check()
        if self.flow:
            raise InputError("flow=on: a pixel-aligned network is deterministic; leave it off")
        step = self.cell * 2 ** (self.levels - 1)
        if self.cell < 1 or self.levels < 1 or self.image_size % step:
            raise InputError(
                f"image_size={self.image_size}: expected a multiple of cell x 2^(levels - 1), which is {step}"
            )
        if self.width < 1 or self.width % _GROUPS:
            raise InputError(f"width={self.width}: expected a multiple of {_GROUPS}")


class PixelAligned(Network[PixelAlignedConfig]):
    """Pictures to one Gaussian for each of their pixels, or squares of pixels."""

    knows_cameras = False

    def __init__(self, config: PixelAlignedConfig) -> None:
        super().__init__(config)
        self.unet = UNet(config)
        self.head = nn.Conv2d(config.width, sum(_SIZES), 1)
        with torch.no_grad():
            self.head.weight[1:4] *= 0.1  # offsets
        # Almost of the picture's color, without rotation, halfway between the nearest and the farthest depth.
        start = [0.0] * 4 + [config.opacity_bias] + [config.scale_bias] * 3 + [1.0] + [0.0] * 6 + [2.0]
        self.head.bias = nn.Parameter(torch.tensor(start))

    def repeated_layers(self) -> list[nn.Module]:
        return [module for module in self.unet.modules() if isinstance(module, ResidualBlock)]

    def facts(self) -> dict[str, str]:
        config = self.config
        side = config.image_size // config.cell
        return {
            "anchor queries": "none",
            "Gaussians": f"{side**2:,} from each picture (one for {config.cell} x {config.cell} pixels)",
            "U-Net": f"width {config.width}, {config.levels} levels",
        }

    def forward(
        self,
        views: Views,
        times: Float[Tensor, "b v"],
        self_conditioning: Float[Tensor, "b v 3 h w"] | None = None,
        layers: str = "last",
        queries: int | None = None,
    ) -> list[Gaussians]:
        """The Gaussians of all views together: those of the first view row by row, then the next one's.

        Every view counts as clean; only `views` are looked at.
        """
        pictures = views.images.flatten(0, 1)
        cells = F.pixel_unshuffle(2 * (pictures - 1), self.config.cell)  # white is zero, as is what pads
        maps = torch.cat([self.head(self.unet(cells)), F.avg_pool2d(pictures, self.config.cell)], dim=1)
        with full_precision(maps.device):
            raw = maps.float().unflatten(0, views.images.shape[:2]).movedim(2, -1)
            return [self._place(raw, views.cameras)]

    def _place(self, raw: Float[Tensor, "b v g g p"], cameras: Cameras) -> Gaussians:
        """Gaussians in the world, from what the head says of them in the cameras' frames and the colors that
        their cells have in the pictures."""
        config = self.config
        depth, offset, opacity, scale, rotation, color, trust, seen = raw.split((*_SIZES, 3), dim=-1)
        centers, rays = cameras.rays(*raw.shape[2:4])  # through the middles of the cells
        depth = centers.norm(dim=-1)[..., None, None, None] + config.reach * torch.tanh(depth)
        # A step of length 1 along a ray goes so far in depth.
        along = torch.einsum("bvhwi,bvi->bvhw", rays, cameras.viewmats[..., 2, :3])[..., None]
        on_ray = centers[:, :, None, None] + depth / along * rays
        moved = torch.einsum("bvji,bvhwj->bvhwi", cameras.viewmats[..., :3, :3], offset)
        turn = quat_of(cameras.viewmats[..., :3, :3].mT)[:, :, None, None]
        rise = config.max_scale - config.min_scale
        return Gaussians(
            means=(on_ray + moved).flatten(1, 3),
            quats=quat_product(turn, F.normalize(rotation, dim=-1)).flatten(1, 3),
            scales=(config.min_scale + rise * torch.sigmoid(scale)).flatten(1, 3),
            opacities=torch.sigmoid(opacity)[..., 0].flatten(1, 3),
            colors=torch.sigmoid(color).lerp(seen, torch.sigmoid(trust)).flatten(1, 3),
        )


class UNet(nn.Module):
    """Maps of pixels to maps of features, through maps of half, a quarter, ... of the side and back."""

    def __init__(self, config: PixelAlignedConfig) -> None:
        super().__init__()
        *upper, bottom = (config.width * 2**level for level in range(config.levels))

        def blocks(level: int, count: int, width: int, inputs: int) -> nn.Sequential:
            side = config.image_size // config.cell // 2**level
            heads = config.heads if side <= config.attention_size else 0
            return nn.Sequential(*(ResidualBlock(width if i else inputs, width, heads) for i in range(count)))

        self.first = nn.Conv2d(3 * config.cell**2, config.width, 3, padding=1)
        self.down = nn.ModuleList(blocks(i, config.blocks, w, w) for i, w in enumerate(upper))
        self.halve = nn.ModuleList(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1) for w in upper)
        self.bottom = blocks(len(upper), 2 * config.blocks + 1, bottom, bottom)
        # With the map from below, of twice as many channels, and the one from the way down.
        self.up = nn.ModuleList(blocks(i, config.blocks, w, 3 * w) for i, w in enumerate(upper))
        self.norm = nn.GroupNorm(_GROUPS, config.width)

    def forward(self, x: Float[Tensor, "n i g g"]) -> Float[Tensor, "n c g g"]:
        x = self.first(x)
        seen = []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            x = blocks(x)
            seen.append(x)
            x = halve(x)
        x = self.bottom(x)
        for blocks in reversed(self.up):
            x = blocks(torch.cat([F.interpolate(x, scale_factor=2.0), seen.pop()], dim=1))
        return F.silu(self.norm(x))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, then attention if it has `heads`. Starts as its shortcut."""

    def __init__(self, inputs: int, width: int, heads: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(
            nn.GroupNorm(_GROUPS, inputs),
            nn.SiLU(),
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.GroupNorm(_GROUPS, width),
            nn.SiLU(),
            last,
        )
        self.shortcut = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)
        self.attention = Attention(width, heads) if heads else nn.Identity()

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n c h w"]:
        return self.attention(self.shortcut(x) + self.body(x))


class Attention(nn.Module):
    """Every place of a map looks at all others, beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.attention = SelfAttention(width, heads)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        tokens = self.attention(self.norm(x).flatten(2).mT)
        return x + tokens.mT.unflatten(2, x.shape[2:])
