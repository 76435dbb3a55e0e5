"""Image features read where 3D points project: the way from picture to query that training cannot miss.

Trained from scratch, a decoder with cross-attention alone first learns one mean object for every
picture. Features sampled at each anchor's projection, added to its query before every decoder layer,
make the picture count from the start; sampled again at the projections of the Gaussians that the layer
before has placed, on a finer map, they carry paint, windows and lamps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.models.layers import ResidualBlock, channels_last, full_precision

# Points nearer to the camera than this do not project usefully.
_NEAR = 0.2


class DetailEncoder(nn.Module):
    """Features at a quarter of the encoder's input size: two strided convolutions, then `blocks` residual
    ones that also know the tokens around them, which have seen whole pictures."""

    def __init__(self, channels: int, width: int, token_width: int, blocks: int) -> None:
        super().__init__()
        self.width = width
        self.net = nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        )
        self.surroundings = nn.Conv2d(token_width, width, 1) if blocks else None
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

    def forward(
        self, pictures: Float[Tensor, "b v i s s"], maps: Float[Tensor, "b v c g g"]
    ) -> Float[Tensor, "b v d q q"]:
        """`maps` are the tokens of every view, as pictures."""
        x = self.net(channels_last(pictures))
        if self.surroundings is not None:
            around = self.surroundings(maps.flatten(0, 1))
            x = x + F.interpolate(around, size=x.shape[-2:], mode="bilinear")
        return self.blocks(x).unflatten(0, pictures.shape[:2])


def clean_weights(times: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
    """How much each view's content is worth: proportional to 1 - t, summing to one over the views."""
    weights = (1 - times).clamp_min(1e-4)
    return weights / weights.sum(1, keepdim=True)


@dataclass(frozen=True)
class Sights:
    """Points as the views see them: R lines of sight for each view."""

    where: Float[Tensor, "b v r n 3"]  # `projections`
    preferences: Float[Tensor, "b v r n"]  # logits of what each line of sight is worth

    def detach(self) -> Sights:
        """The same without gradients."""
        return Sights(self.where.detach(), self.preferences.detach())

    def read(self, maps: Float[Tensor, "b v c h w"]) -> Float[Tensor, "b v c r n"]:
        """Bilinear features at the end of each line of sight; outside a picture, those of its border."""
        grid = self.where[..., :2].flatten(0, 1)  # (b v, r, n, 2)
        with full_precision(maps.device):
            sampled = F.grid_sample(
                maps.flatten(0, 1).float(), grid, padding_mode="border", align_corners=False
            )
        return sampled.unflatten(0, maps.shape[:2])

    def features(self, maps: Float[Tensor, "b v c h w"]) -> Float[Tensor, "b n r c"]:
        """What each of the R kinds of sight reads, averaged over the views."""
        if maps.requires_grad:
            with full_precision(maps.device):
                return _weighted_reads(maps.float(), self.where[..., :2], self._shares)
        return (self.read(maps) * self._shares[:, :, None]).sum(1).permute(0, 3, 2, 1)

    def places(self) -> Float[Tensor, "b n r 3"]:
        """Where each of the R kinds of sight reads it, averaged over the views."""
        return (self.where * self._shares[..., None]).sum(1).transpose(1, 2)

    def sample(self, maps: Float[Tensor, "b v c h w"]) -> Float[Tensor, "b n rc3"]:
        """`features` and `places` side by side."""
        return torch.cat([self.features(maps), self.places()], dim=-1).flatten(2)

    def colors(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b n 3"]:
        """The color that the pictures show where points project, averaged over all lines of sight."""
        shares = self.preferences.flatten(1, 2).softmax(dim=1).view_as(self.preferences)
        return (self.read(images) * shares[:, :, None]).sum((1, 3)).mT.clamp(0, 1)

    @property
    def _shares(self) -> Float[Tensor, "b v r n"]:
        return self.preferences.softmax(dim=1)


@dataclass(frozen=True)
class Lookup:
    """The views in which points are looked up, and whether mirror images are as well.

    The first line of sight is a point's own. In a picture of an object that is its own mirror image in the
    plane y = 0, a point's mirror image shows what the point itself would show from the mirrored camera: the
    second, for `symmetric` objects. So one picture of the left side says what the right side looks like.
    """

    images: Float[Tensor, "b v 3 h w"]
    cameras: Cameras  # (b, v)
    weights: Float[Tensor, "b v"]  # of `clean_weights`
    symmetric: bool

    def sights(self, points: Float[Tensor, "b n 3"], facing: Float[Tensor, "b n 3"] | None = None) -> Sights:
        """Where the views see points. `facing` is the direction from which a point is seen best; its length
        says how much that matters."""
        where = projections(torch.cat(self._reflections(points), dim=1), self.cameras)  # (b, v, r n, 3)
        return Sights(where.unflatten(2, (-1, points.shape[1])), self._preferences(points, facing))

    def _preferences(
        self, points: Float[Tensor, "b n 3"], facing: Float[Tensor, "b n 3"] | None
    ) -> Float[Tensor, "b v r n"]:
        logits = self.weights.log()[:, :, None, None]
        if facing is None:
            return logits.expand(-1, -1, 1 + self.symmetric, points.shape[1])
        with full_precision(points.device):
            centers = torch.stack(self._reflections(self.cameras.centers.float()), dim=2)  # (b, v, r, 3)
            toward = F.normalize(centers[:, :, :, None] - points[:, None, None].float(), dim=-1)
            return logits + torch.einsum("bvrnc,bnc->bvrn", toward, facing.float())

    def _reflections(self, x: Float[Tensor, "*batch 3"]) -> list[Float[Tensor, "*batch 3"]]:
        return [x, torch.cat([x[..., :1], -x[..., 1:2], x[..., 2:]], dim=-1)] if self.symmetric else [x]


def _weighted_reads(
    maps: Float[Tensor, "b v c h w"], where: Float[Tensor, "b v r n 2"], shares: Float[Tensor, "b v r n"]
) -> Float[Tensor, "b n r c"]:
    """Bilinear reads, averaged over the views: each result is one weighted sum over pixels of all views.

    `where` are picture coordinates in [-1, 1]; outside, maps go on as at their border. With gradients this
    takes half the time of PyTorch's bilinear sampling and a sum after it, which is no slower without.
    """
    b, v, c, h, w = maps.shape
    r, n = where.shape[2:4]
    (column, x), (row, y) = _pixel(where[..., 0], w), _pixel(where[..., 1], h)
    weights = torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], dim=-1)
    pair = torch.arange(2, device=maps.device)
    around = (int(h > 1) * w * pair[:, None] + int(w > 1) * pair).flatten()
    first = h * w * torch.arange(b * v, device=maps.device).view(b, v, 1, 1) + row * w + column
    indices = first[..., None] + around
    pixels = maps.permute(0, 1, 3, 4, 2).reshape(-1, c)
    bags, worth = (
        t.permute(0, 3, 2, 1, 4).reshape(-1, 4 * v) for t in (indices, weights * shares[..., None])
    )
    return F.embedding_bag(bags, pixels, mode="sum", per_sample_weights=worth).view(b, n, r, c)


def _pixel(
    where: Float[Tensor, "*batch"], size: int
) -> tuple[Int[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """The pixel before each coordinate in [-1, 1], and the way from its centre to the next one's, 0 to 1."""
    pixel = (((where + 1) * size - 1) / 2).nan_to_num().clamp(0, size - 1)  # the border goes on for ever
    before = pixel.detach().floor().clamp(0, max(size - 2, 0))
    return before.long(), pixel - before


def projections(points: Float[Tensor, "b n 3"], cameras: Cameras) -> Float[Tensor, "b v n 3"]:
    """Picture coordinates in [-1, 1] (x right, y down) and view-space depth of the points."""
    rotation, translation = cameras.viewmats[..., :3, :3], cameras.viewmats[..., None, :3, 3]
    with full_precision(points.device):
        local = points[:, None].float() @ rotation.mT + translation
        depth = local[..., 2:]
        x, y, _ = (local @ cameras.Ks.mT / depth.clamp_min(_NEAR)).unbind(-1)
        pictured = torch.stack([2 * x / cameras.width - 1, 2 * y / cameras.height - 1], dim=-1)
        return torch.cat([pictured, depth], dim=-1)
