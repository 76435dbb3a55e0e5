"""Cut-outs with the faults that those of photographs have: too much in places, and too little in others."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.metrics import alpha_iou
from sparsegen.models.folding import native_bfloat16
from sparsegen.models.foreground import ForegroundNet
from sparsegen.training.scenes import Scenery, before_backgrounds

# The network knows the objects of its training better than those of photographs. So its logits are disturbed
# by smooth noise, drawn on grids of this many points a side, of up to so large a standard deviation: where
# it is sure nothing happens, where it is not, parts are lost or added, at most this far from the object in
# sides of the picture.
_GRID, _DISTURBANCE, _REACH = 6, 7.0, 0.12
# As sharp as GrabCut makes the edges of what the network finds.
_SHARPNESS = 3.0
# Where less of the object is found, nothing is to be learned from it: its true cut-out stays.
_LEAST_OVERLAP = 0.5


@torch.no_grad()
def rough_cut_outs(
    net: ForegroundNet,
    images: Float[Tensor, "b 3 s s"],
    alphas: Float[Tensor, "b s s"],
    scenery: Scenery,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Pictures of objects over white, with their coverage: laid over backgrounds in place, and cut out again
    by a foreground network that makes more mistakes than it would."""
    size, count = net.config.size, len(images)
    rgba = F.interpolate(torch.cat([images, alphas[:, None]], dim=1), (size, size), mode="bilinear")
    alpha = rgba[:, 3:]
    color = ((rgba[:, :3] - (1 - alpha)) / alpha.clamp_min(1e-3)).clamp(0, 1)
    pictures, seen = before_backgrounds(scenery, color, alpha[:, 0], rng, generator)
    with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16("cpu")):
        logits = net(pictures)
    noise = torch.randn(count, 1, _GRID, _GRID, generator=generator)
    noise = F.interpolate(noise, (size, size), mode="bicubic")[:, 0]
    strength = _DISTURBANCE * torch.rand(count, 1, 1, generator=generator)
    found = (_SHARPNESS * (logits.float() + strength * noise)).sigmoid()
    reach = round(_REACH * size)
    found = found * F.max_pool2d(alpha, 2 * reach + 1, 1, reach)[:, 0]
    cut = torch.cat([pictures * found[:, None] + 1 - found[:, None], found[:, None]], dim=1)
    cut = F.interpolate(cut, images.shape[-2:], mode="bilinear", antialias=True)
    kept = (alpha_iou(found, seen) >= _LEAST_OVERLAP)[:, None, None]  # NaN, where nothing is seen, is not
    return torch.where(kept[:, None], cut[:, :3], images), torch.where(kept, cut[:, 3], alphas)
