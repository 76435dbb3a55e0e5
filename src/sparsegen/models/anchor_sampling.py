"""Image features read where 3D points project: the way from picture to query that training cannot miss.

Trained from scratch, a decoder with cross-attention alone first learns one mean object for every
picture. Features sampled at each anchor's projection, added to its query before every decoder layer,
make the picture count from the start; sampled again at the projections of the Gaussians that the layer
before has placed, on a finer map, they carry paint, windows and lamps.
"""

from __future__ import annotations

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
    weights = (1 - times).clamp_min(1e-2)
    return weights / weights.sum(1, keepdim=True)


def sample(
    features: Float[Tensor, "b v c h w"],
    points: Float[Tensor, "b n 3"],
    cameras: Cameras,
    weights: Float[Tensor, "b v"],
) -> Float[Tensor, "b n c"]:
    """Bilinear features at the points' projections into every view, averaged with `weights`.

    Points outside a picture read its border.
    """
    b, v, c = features.shape[:3]
    coordinates = projections(points, cameras)[..., :2]  # (b, v, n, 2)
    with full_precision(points.device):
        sampled = F.grid_sample(
            features.flatten(0, 1).float(),
            coordinates.flatten(0, 1)[:, None],
            padding_mode="border",
            align_corners=False,
        )  # (b v, c, 1, n)
        return torch.einsum("bvcn,bv->bnc", sampled.view(b, v, c, -1), weights)


def projections(points: Float[Tensor, "b n 3"], cameras: Cameras) -> Float[Tensor, "b v n 3"]:
    """Picture coordinates in [-1, 1] (x right, y down) and view-space depth of the points."""
    rotation, translation = cameras.viewmats[..., :3, :3], cameras.viewmats[..., None, :3, 3]
    with full_precision(points.device):
        local = points[:, None].float() @ rotation.mT + translation
        depth = local[..., 2:]
        pixels = (local @ cameras.Ks.mT)[..., :2] / depth.clamp_min(_NEAR)
        size = pixels.new_tensor([cameras.width, cameras.height])
        return torch.cat([2 * pixels / size - 1, depth], dim=-1)
