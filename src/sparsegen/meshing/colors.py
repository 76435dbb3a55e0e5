"""Colors of points on a surface, blended from pictures all around."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.splatting import Rendering

# How strongly pictures that face the surface count more than those that graze it.
_SHARPNESS = 4
# Weight of pictures in which a point is hidden: they count where no picture shows it.
_HIDDEN = 1e-4


def blend_colors(
    points: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    pictures: Rendering,
    cameras: Cameras,
    tolerance: float,
) -> Float[Tensor, "n 3"]:
    """Displayed colors in [0, 1] of surface points, without the background.

    `pictures` (V,) are premultiplied and have depth. A picture counts by how squarely it sees the point;
    it does not see a point that lies behind the depth drawn there by more than `tolerance`.
    """
    if pictures.depth is None:
        raise ValueError("pictures need depth to tell which points they show")
    total, weights = torch.zeros(len(points), 3), torch.zeros(len(points), 1)
    size = torch.tensor([cameras.width, cameras.height])
    for i in range(len(cameras)):
        pixels, depth = cameras[i].project(points)
        picture = torch.cat(
            [pictures.rgb[i], pictures.alpha[i, None], (pictures.depth[i] * pictures.alpha[i])[None]]
        )
        where = (2 * pixels / size - 1)[None, None]
        rgb, alpha, drawn = F.grid_sample(picture[None], where, align_corners=False)[0, :, 0].split([3, 1, 1])
        towards = F.normalize(cameras.centers[i] - points, dim=-1)
        facing = (normals * towards).sum(dim=-1).clamp(min=0.01)
        seen = depth < drawn[0] / alpha[0].clamp(min=1e-6) + tolerance
        weight = facing**_SHARPNESS * torch.where(seen, 1.0, _HIDDEN)
        # Premultiplied colors over summed coverage: pixels that show little count little.
        total += weight[:, None] * rgb.T
        weights += weight[:, None] * alpha.T
    return (total / weights.clamp(min=1e-12)).clamp(0, 1)
