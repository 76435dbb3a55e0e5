"""Detail: an object sharpened by the picture that it was made from, at its own size.

The network sees pictures of 128 pixels, and makes no object sharper than that. Here each of its Gaussians is
split into nine, which are then refined against the picture as large as it was; those that it does not show
against its mirror image, where objects are symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from sparsegen.gaussians import Gaussians
from sparsegen.refinement import RefinementConfig, RefinementReport, refine, reported
from sparsegen.splatting.reference import rotation_matrices
from sparsegen.views import Views

# Parts of a Gaussian along each of its two longest axes, and what is left of its extent there.
PARTS, _NARROWED = 3, 0.5
STEPS = 60
_OPAQUE = 0.999


def add_detail(
    gaussians: Gaussians,
    views: Views,
    symmetric: bool,
    steps: int = STEPS,
    tick: Callable[[], object] = lambda: None,
) -> tuple[Gaussians, RefinementReport]:
    """The object with `PARTS` squared times as many Gaussians, refined against its pictures at their own
    size; and what that did.

    `views` are the input views, as large as `sparsegen.photos.full_size` says. What they do not show of a
    `symmetric` object takes its detail from their mirror images. `tick` is called after each step.
    """
    # The parts are a third as large, and move a third as far; what is seen from elsewhere counts for more.
    config = RefinementConfig(novel=0.6, geometry=1 / PARTS, mirrored=1.0 if symmetric else 0.0)
    detailed = refine(split(gaussians), views, steps, config, tick)
    return detailed, reported(gaussians, detailed, views)


def split(gaussians: Gaussians, parts: int = PARTS) -> Gaussians:
    """Each Gaussian of an object as `parts` x `parts` smaller ones over its two longest axes.

    Together they have its mean and its covariance, and cover as much; they belong to its query.
    """
    lengths, order = gaussians.scales.sort(dim=-1, descending=True)
    axes = rotation_matrices(gaussians.quats).gather(2, order[:, None].expand(-1, 3, -1))  # columns
    along = torch.linspace(-1, 1, parts).to(lengths)
    share = torch.exp(-0.5 * along.square())
    share = share / share.sum()
    along = along * ((1 - _NARROWED**2) / (share * along.square()).sum()).sqrt()
    places = torch.cartesian_prod(along, along)  # (p, 2), in standard deviations
    offsets = torch.einsum("pa,nca,na->npc", places, axes[..., :2], lengths[:, :2])
    narrowed = lengths * lengths.new_tensor([_NARROWED, _NARROWED, 1.0])
    scales = torch.empty_like(lengths).scatter(1, order, narrowed)
    cover = torch.cartesian_prod(share, share).prod(1) / _NARROWED**2
    copies = torch.arange(gaussians.count, device=lengths.device).repeat_interleave(parts**2)
    return replace(
        gaussians.select(copies),
        means=(gaussians.means[:, None] + offsets).flatten(0, 1),
        scales=scales[copies],
        opacities=(gaussians.opacities[:, None] * cover).clamp_max(_OPAQUE).flatten(),
        expansion=gaussians.expansion * parts**2,
    )
