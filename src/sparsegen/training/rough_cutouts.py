"""Cut-outs with the faults that those of photographs have: too much in places, and too little in others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.data.sampling import Batch
from sparsegen.formats.cutout import straight_color
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
    developed: bool = True,
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b s s"]]:
    """Pictures of objects over white, with their coverage: laid over backgrounds in place, and cut out again
    by a foreground network that makes more mistakes than it would.

    `developed` is that of `before_backgrounds`: without it the objects keep their colors.
    """
    size, seen_at = images.shape[-1], net.config.size
    color = straight_color(images, alphas)
    pictures, seen = before_backgrounds(scenery, color, alphas, rng, generator, developed)
    with torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16("cpu")):
        logits = net(F.interpolate(pictures, (seen_at, seen_at), mode="bilinear", antialias=True))
    noise = torch.randn(len(images), 1, _GRID, _GRID, generator=generator)
    noise = F.interpolate(noise, (seen_at, seen_at), mode="bicubic")[:, 0]
    strength = _DISTURBANCE * torch.rand(len(images), 1, 1, generator=generator)
    found = (_SHARPNESS * (logits.float() + strength * noise)).sigmoid()
    found = F.interpolate(found[:, None], (size, size), mode="bilinear", antialias=True)
    reach = round(_REACH * size)
    near = F.max_pool2d(alphas[:, None], (2 * reach + 1, 1), 1, (reach, 0))
    found = found * F.max_pool2d(near, (1, 2 * reach + 1), 1, (0, reach))
    kept = alpha_iou(found[:, 0], seen) >= _LEAST_OVERLAP  # NaN, where nothing is seen, is not
    cut = torch.where(kept[:, None, None, None], pictures * found + 1 - found, images)
    return cut, torch.where(kept[:, None, None], found[:, 0], alphas)


class RoughInputs:
    """Makes the clean pictures that the network sees of some objects rough cut-outs, while what it has to
    reconstruct stays as it is: what is lost has to be completed, and what does not belong left away.

    Which objects, and how, follows from the seed, the step and the process. The work is done on the CPU.
    """

    def __init__(
        self, scenery: Scenery, net: ForegroundNet, probability: float, seed: int = 0, rank: int = 0
    ) -> None:
        self.scenery = scenery
        self.net = net
        self.probability = probability
        self.seed = (seed, 4, rank)

    def __call__(self, batch: Batch, step: int) -> Batch:
        rng = np.random.default_rng((*self.seed, step))
        some = np.flatnonzero(rng.random(len(batch.object_ids)) < self.probability)
        if not (batch.clean and len(some)):
            return batch
        clean = batch.targets.select(slice(batch.clean)).objects(torch.from_numpy(some)).to("cpu")
        assert clean.alphas is not None
        rough, _ = rough_cut_outs(
            self.net,
            clean.images.flatten(0, 1),
            clean.alphas.flatten(0, 1),
            self.scenery,
            rng,
            torch.Generator().manual_seed(int(rng.integers(2**62))),
            developed=False,
        )
        images = batch.inputs.images.clone()
        images[torch.from_numpy(some), : batch.clean] = rough.view_as(clean.images).to(images)
        return replace(batch, inputs=replace(batch.inputs, images=images))
