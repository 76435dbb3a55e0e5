"""Image features read where 3D points project: the way from picture to query that training cannot miss.

Trained from scratch, a decoder with cross-attention alone first learns one mean object for every
picture. Features sampled at each anchor's projection, added to its query before every decoder layer,
make the picture count from the start; sampled again at the projections of the Gaussians that the layer
before has placed, on a finer map, they carry paint, windows and lamps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.models.layers import full_precision

# Points nearer to the camera than this do not project usefully.
_NEAR = 0.2


class DetailEncoder(nn.Module):
    """Two strided convolutions: features at a quarter of the encoder's input size."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.net = nn.Sequential(
            nn.Conv2d(channels, width // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        )

    def forward(self, pictures: Float[Tensor, "b v i s s"]) -> Float[Tensor, "b v c q q"]:
        return self.net(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])


def clean_weights(times: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
    """How much each view's content is worth: proportional to 1 - t, summing to one over the views."""
    weights = (1 - times).clamp_min(1e-4)
    return weights / weights.sum(1, keepdim=True)


@dataclass(frozen=True)
class Lookup:
    """How points are looked up in the views: R lines of sight for each view.

    The first is a point's own. In a picture of an object that is its own mirror image in the plane y = 0,
    a point's mirror image shows what the point itself would show from the mirrored camera: the second,
    for `symmetric` objects. So one picture of the left side says what the right side looks like.
    """

    cameras: Cameras  # (b, v)
    weights: Float[Tensor, "b v"]  # of `clean_weights`
    symmetric: bool

    def read(
        self, maps: Float[Tensor, "b v c h w"], points: Float[Tensor, "b n 3"]
    ) -> tuple[Float[Tensor, "b v c r n"], Float[Tensor, "b v r n 3"]]:
        """Bilinear features at the end of each line of sight, and where that is (`projections`).

        Points outside a picture read its border.
        """
        b, v, c = maps.shape[:3]
        where = projections(torch.cat(self._reflections(points), dim=1), self.cameras)  # (b, v, r n, 3)
        with full_precision(points.device):
            sampled = F.grid_sample(
                maps.flatten(0, 1).float(),
                where[..., :2].flatten(0, 1)[:, None],
                padding_mode="border",
                align_corners=False,
            )  # (b v, c, 1, r n)
        n = points.shape[1]
        return sampled.view(b, v, c, -1, n), where.view(b, v, -1, n, 3)

    def preferences(
        self, points: Float[Tensor, "b n 3"], facing: Float[Tensor, "b n 3"] | None = None
    ) -> Float[Tensor, "b v r n"]:
        """Logits of what each line of sight is worth: its view's weight, and how well it agrees with
        `facing`, the direction from which a point is seen best; its length says how much that matters."""
        logits = self.weights.log()[:, :, None, None]
        if facing is None:
            return logits.expand(-1, -1, 1 + self.symmetric, points.shape[1])
        with full_precision(points.device):
            centers = torch.stack(self._reflections(self.cameras.centers.float()), dim=2)  # (b, v, r, 3)
            toward = F.normalize(centers[:, :, :, None] - points[:, None, None].float(), dim=-1)
            return logits + torch.einsum("bvrnc,bnc->bvrn", toward, facing.float())

    def _reflections(self, x: Float[Tensor, "*batch 3"]) -> list[Float[Tensor, "*batch 3"]]:
        return [x, x * x.new_tensor([1.0, -1.0, 1.0])] if self.symmetric else [x]


def sample(
    maps: Float[Tensor, "b v c h w"],
    points: Float[Tensor, "b n 3"],
    lookup: Lookup,
    facing: Float[Tensor, "b n 3"] | None = None,
) -> Float[Tensor, "b n rc3"]:
    """For each of the R kinds of sight: features, and where they were read, averaged over the views."""
    sampled, where = lookup.read(maps, points)
    shares = lookup.preferences(points, facing).softmax(dim=1)
    features = torch.einsum("bvcrn,bvrn->bnrc", sampled, shares)
    places = torch.einsum("bvrnc,bvrn->bnrc", where, shares)
    return torch.cat([features, places], dim=-1).flatten(2)


def seen_colors(
    images: Float[Tensor, "b v 3 h w"],
    points: Float[Tensor, "b n 3"],
    lookup: Lookup,
    facing: Float[Tensor, "b n 3"],
) -> Float[Tensor, "b n 3"]:
    """The color that the pictures show where points project, averaged over all lines of sight."""
    sampled, _ = lookup.read(images, points)
    preferences = lookup.preferences(points, facing)
    shares = preferences.flatten(1, 2).softmax(dim=1).view_as(preferences)
    return torch.einsum("bvcrn,bvrn->bnc", sampled, shares).clamp(0, 1)


def projections(points: Float[Tensor, "b n 3"], cameras: Cameras) -> Float[Tensor, "b v n 3"]:
    """Picture coordinates in [-1, 1] (x right, y down) and view-space depth of the points."""
    rotation, translation = cameras.viewmats[..., :3, :3], cameras.viewmats[..., None, :3, 3]
    with full_precision(points.device):
        local = points[:, None].float() @ rotation.mT + translation
        depth = local[..., 2:]
        pixels = (local @ cameras.Ks.mT)[..., :2] / depth.clamp_min(_NEAR)
        size = pixels.new_tensor([cameras.width, cameras.height])
        return torch.cat([2 * pixels / size - 1, depth], dim=-1)
