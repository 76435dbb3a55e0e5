"""Where along each ray Gaussians begin to be seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import Rendering, render

# Standard deviations between the mean of what a ray shows and its front.
_FRONT = 1.0


def render_fronts(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Premultiplied pictures of one object from cameras (V,), with the depth of its front.

    Expected depth lies behind a soft surface: Gaussians are drawn at the depth of their centres, and
    through those in front others shine. What a ray shows is a mixture of Gaussians along it, weighted as
    it is drawn; the front is its mean depth less one standard deviation. On a thin, opaque surface both
    are the same.
    """
    views = [_render_front(gaussians, cameras[i : i + 1]) for i in range(len(cameras))]
    depths = [view.depth for view in views if view.depth is not None]
    return Rendering(
        torch.cat([v.rgb for v in views]), torch.cat([v.alpha for v in views]), torch.cat(depths)
    )


def _render_front(gaussians: Gaussians, camera: Cameras) -> Rendering:
    picture = render(gaussians, camera, background=None, depth=False)
    forward = camera.viewmats[0, 2]  # of the camera's axes in the world, and its offset
    depths = gaussians.means @ forward[:3] + forward[3]
    # Depth around its middle: the difference of large squares would lose digits.
    middle = depths.mean()
    around = depths - middle
    squares = around**2 + _variances(gaussians, forward[:3])
    moments = torch.stack([around, squares, torch.ones_like(around)], dim=-1)
    drawn = render(replace(gaussians, colors=moments), camera, background=None, depth=False).rgb
    mean, square = (drawn[:, :2] / drawn[:, 2:].clamp(min=1e-6)).unbind(dim=1)
    spread = (square - mean**2).clamp(min=0).sqrt()
    return replace(picture, depth=middle + mean - _FRONT * spread)


def _variances(gaussians: Gaussians, direction: Float[Tensor, "3"]) -> Float[Tensor, "n"]:
    """Variance of each Gaussian along a unit direction of the world."""
    w, xyz = gaussians.quats[:, :1], gaussians.quats[:, 1:]
    # The direction in the axes of each Gaussian: turned by the inverse of its rotation.
    ahead = direction.expand_as(xyz)
    twice = 2 * torch.linalg.cross(ahead, xyz)
    local = ahead + w * twice + torch.linalg.cross(twice, xyz)
    return ((local * gaussians.scales) ** 2).sum(dim=-1)
