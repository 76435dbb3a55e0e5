"""Corrections: each Gaussian looks again at the pictures, around the pixel that it projects to.

A query speaks for all of its Gaussians with one vector, made from features of coarse maps: enough for
shape and paint, too little for the edge of a window. Here each Gaussian reads a map of half the pictures'
resolution for itself, and changes its own parameters. With feedback it is also told what the Gaussians of
the moment look like from there: how the color at its pixel differs from the picture's, whether anything is
drawn, and whether other Gaussians hide it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.gaussians import Gaussians
from sparsegen.models.anchor_sampling import Lookup, Sights
from sparsegen.models.gaussian_head import RawGaussians
from sparsegen.models.layers import channels_last, full_precision
from sparsegen.splatting import render


class SharpEncoder(nn.Module):
    """Features at half the pictures' resolution: two convolutions, and a coarser map for the surroundings."""

    def __init__(self, channels: int, coarse: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.surroundings = nn.Conv2d(coarse, width, 1)

    def forward(
        self, pictures: Float[Tensor, "b v i s s"], coarse: Float[Tensor, "b v d q q"]
    ) -> Float[Tensor, "b v c h h"]:
        x = F.gelu(self.first(channels_last(pictures)))
        around = F.interpolate(self.surroundings(coarse.flatten(0, 1)), size=x.shape[-2:])
        return F.gelu(self.second(x) + around).unflatten(0, pictures.shape[:2])


def feedback_maps(gaussians: Gaussians, lookup: Lookup) -> Float[Tensor, "b v 5 s s"]:
    """What the views show of Gaussians: the picture minus their color over white, their coverage, and their
    depth times coverage, in world units. No gradients flow through it."""
    with torch.no_grad(), full_precision(gaussians.means.device):
        drawn = render(gaussians, lookup.cameras)
        assert drawn.depth is not None
        seen = torch.stack([drawn.alpha, drawn.alpha * drawn.depth], dim=2)
        return torch.cat([lookup.images - drawn.rgb, seen], dim=2)


def told(sights: Sights, feedback: Float[Tensor, "b v 5 s s"]) -> Float[Tensor, "b n r 5"]:
    """What `feedback_maps` say at the end of every line of sight: the error of the color, the coverage, and
    how far behind what is drawn there the Gaussian lies, times the coverage."""
    error, alpha, depth = sights.features(feedback).split([3, 1, 1], dim=-1)
    return torch.cat([error, alpha, alpha * sights.places()[..., 2:] - depth], dim=-1)


class Corrector(nn.Module):
    """What is added to each Gaussian's raw parameters, given what it reads; at the start, nothing.

    It sees the sharp map and the picture's color along every line of sight, where that is and how much the
    view is worth, the raw parameters themselves, the query, and which of the query's Gaussians this is; with
    `feedback`, also the color's error there, the coverage, and how far behind the visible surface it lies.
    """

    def __init__(
        self, query_width: int, expansion: int, map_width: int, sights: int, sizes: list[int], feedback: bool
    ) -> None:
        super().__init__()
        self.sizes = sizes
        hidden, raw = 3 * map_width, sum(sizes)
        self.local = nn.Linear(sights * (map_width + 7 + 5 * feedback) + raw, hidden)
        self.query = nn.Sequential(nn.LayerNorm(query_width), nn.Linear(query_width, hidden))
        self.slots = nn.Parameter(0.02 * torch.randn(expansion, hidden))
        last = nn.Linear(hidden, raw, bias=False)
        self.net = nn.Sequential(nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)
        nn.init.zeros_(last.weight)

    def forward(
        self,
        raw: RawGaussians,
        queries: Float[Tensor, "b m c"],
        sights: Sights,
        sharp: Float[Tensor, "b v c h h"],
        images: Float[Tensor, "b v 3 s s"],
        feedback: Float[Tensor, "b v 5 s s"] | None = None,
    ) -> RawGaussians:
        """The corrected parameters."""
        worth = sights.preferences.amax(dim=1).permute(0, 2, 1)[..., None]  # (b, n, r, 1)
        seen = [sights.features(sharp), sights.features(images), sights.places(), worth]
        if feedback is not None:
            seen.append(told(sights, feedback))
        read = torch.cat(seen, dim=-1).flatten(2)
        before = raw.joined()
        local = self.local(torch.cat([read.unflatten(1, before.shape[1:3]), before], dim=-1))
        change = self.net(local + self.query(queries)[:, :, None] + self.slots)
        return RawGaussians(*(before + change).split(self.sizes, dim=-1))
