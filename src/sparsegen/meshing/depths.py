"""Where along each ray Gaussians begin to be seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import Rendering, render

# How sharply nearer Gaussians count more, as a share of the cameras' distance: what lies farther behind
# the front than this hardly moves it.
_SOFTNESS = 0.01
# Deviations before its centre at which a Gaussian begins to be seen.
_BEGIN = 0.5
# Beyond this, exponentials leave float32.
_LARGEST_EXPONENT = 60.0


def render_fronts(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Premultiplied pictures of one object from cameras (V,), with the depth of its front.

    Expected depth lies behind a soft surface: Gaussians are drawn at the depth of their centres, and
    through those in front others shine. Here nearer ones count exponentially more, and each begins up to
    half a standard deviation before its centre: front = -s log E[exp(-begin / s)], which the little that
    shines through from far behind cannot move.
    """
    views = [_render_front(gaussians, cameras[i : i + 1]) for i in range(len(cameras))]
    depths = [view.depth for view in views if view.depth is not None]
    return Rendering(
        torch.cat([v.rgb for v in views]), torch.cat([v.alpha for v in views]), torch.cat(depths)
    )


def _render_front(gaussians: Gaussians, camera: Cameras) -> Rendering:
    picture = render(gaussians, camera, background=None, depth=False)
    forward = camera.viewmats[0, 2]  # of the camera's axes in the world, and its offset
    deviations = _variances(gaussians, forward[:3]).sqrt()
    depths = gaussians.means @ forward[:3] + forward[3]
    middle = depths.mean()
    softness = _SOFTNESS * middle.clamp(min=1e-6)
    # The front of one Gaussian by the same rule, for a deviation that is small beside the softness.
    begins = depths - deviations * (deviations / (2 * softness)).clamp(max=_BEGIN)
    nearness = ((middle - begins) / softness).clamp(-_LARGEST_EXPONENT, _LARGEST_EXPONENT).exp()
    moments = torch.stack([nearness, torch.ones_like(nearness), torch.ones_like(nearness)], dim=-1)
    drawn = render(replace(gaussians, colors=moments), camera, background=None, depth=False).rgb
    mean = drawn[:, 0] / drawn[:, 1].clamp(min=1e-6)
    return replace(picture, depth=middle - softness * mean.clamp(min=1e-30).log())


def _variances(gaussians: Gaussians, direction: Float[Tensor, "3"]) -> Float[Tensor, "n"]:
    """Variance of each Gaussian along a unit direction of the world."""
    w, xyz = gaussians.quats[:, :1], gaussians.quats[:, 1:]
    # The direction in the axes of each Gaussian: turned by the inverse of its rotation.
    ahead = direction.expand_as(xyz)
    twice = 2 * torch.linalg.cross(ahead, xyz)
    local = ahead + w * twice + torch.linalg.cross(twice, xyz)
    return ((local * gaussians.scales) ** 2).sum(dim=-1)
