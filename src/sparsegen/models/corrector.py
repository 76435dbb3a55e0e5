"""Corrections: each Gaussian looks again at the pictures, around the pixel that it projects to.

A query speaks for all of its Gaussians with one vector, made from features of coarse maps: enough for
shape and paint, too little for the edge of a window. Here each Gaussian reads a map of half the pictures'
resolution for itself, and changes its own parameters. With feedback it is also told what the Gaussians of
the moment look like from there: how the color at its pixel differs from the picture's, whether anything is
drawn, and whether other Gaussians hide it; and, with slopes, which way each of its parameters would have to
go for the pictures to be met, as if it took a step of gradient descent, but a learned one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.gaussians import Gaussians
from sparsegen.models.anchor_sampling import Lookup, Sights
from sparsegen.models.gaussian_head import Placed, RawGaussians
from sparsegen.models.layers import channels_last, full_precision
from sparsegen.splatting import Rendering, render

# Added to the size of a gradient, for parameters that no picture depends on.
_STILL = 1e-8


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


class Feedback(NamedTuple):
    """What the views show of the Gaussians of the moment; no gradients flow through it.

    `maps`: the picture minus their color over white, their coverage, and their depth times coverage, in world
    units. `slopes`: which way each raw parameter would have to go for the views to look more like the
    pictures, and how much that matters beside the same parameter of the object's other Gaussians: the
    gradient of the squared error, against its root mean square over the object, on a scale that is linear
    around 0 and logarithmic beyond 1.
    """

    maps: Float[Tensor, "b v 5 s s"]
    slopes: Float[Tensor, "b m k raw"] | None = None


def feedback(gaussians: Gaussians, lookup: Lookup) -> Feedback:
    """The maps alone."""
    with torch.no_grad(), full_precision(gaussians.means.device):
        return Feedback(_maps(render(gaussians, lookup.cameras), lookup))


def feedback_with_slopes(
    raw: RawGaussians, place: Callable[[RawGaussians], Placed], lookup: Lookup
) -> tuple[Feedback, Placed]:
    """Maps and slopes of the Gaussians that `place` makes of raw parameters, and those, without gradients."""
    with _gradients_on(), full_precision(raw.offset.device):
        lookup = _outside_inference_mode(lookup)
        free = [_ordinary(part.detach()).requires_grad_() for part in raw if part is not None]
        placed = place(RawGaussians(*free))
        drawn = render(placed.gaussians, lookup.cameras)
        error = (lookup.images - drawn.rgb).square().sum(dim=(2, 3, 4))  # (b, v)
        slopes = torch.cat(torch.autograd.grad((lookup.weights * error).sum(), free), dim=-1)
    with torch.no_grad():
        size = slopes.square().mean(dim=(1, 2), keepdim=True).sqrt()
        seen = Feedback(_maps(drawn, lookup), torch.asinh(-slopes / (size + _STILL)))
    return seen, placed.detach()


def _maps(drawn: Rendering, lookup: Lookup) -> Float[Tensor, "b v 5 s s"]:
    assert drawn.depth is not None
    seen = torch.stack([drawn.alpha, drawn.alpha * drawn.depth], dim=2)
    return torch.cat([lookup.images - drawn.rgb, seen], dim=2).detach()


@contextmanager
def _gradients_on() -> Iterator[None]:
    """Gradients whatever the caller has switched off."""
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.enable_grad():
            yield
    else:
        with torch.enable_grad():
            yield


def _ordinary(x: Tensor) -> Tensor:
    """The tensor, or a copy that can take part in gradients."""
    return x.clone() if x.is_inference() else x


def _outside_inference_mode(lookup: Lookup) -> Lookup:
    cameras = lookup.cameras
    cameras = replace(cameras, viewmats=_ordinary(cameras.viewmats), Ks=_ordinary(cameras.Ks))
    return replace(
        lookup, images=_ordinary(lookup.images), cameras=cameras, weights=_ordinary(lookup.weights)
    )


def told(sights: Sights, maps: Float[Tensor, "b v 5 s s"]) -> Float[Tensor, "b n r 5"]:
    """What the maps of `Feedback` say at the end of every line of sight: the error of the color, the
    coverage, and how far behind what is drawn there the Gaussian lies, times the coverage."""
    error, alpha, depth = sights.features(maps).split([3, 1, 1], dim=-1)
    return torch.cat([error, alpha, alpha * sights.places()[..., 2:] - depth], dim=-1)


def read_beside_map(feedback: bool) -> int:
    """How many numbers a `Corrector` reads along each line of sight beside those of the sharp map."""
    color, place, worth, told = 3, 3, 1, 5
    return color + place + worth + told * feedback


class Corrector(nn.Module):
    """What is added to each Gaussian's raw parameters, given what it reads; at the start, nothing.

    It sees the sharp map and the picture's color along every line of sight, where that is and how much the
    view is worth, the raw parameters themselves, the query, and which of the query's Gaussians this is; with
    `feedback`, also the color's error there, the coverage, and how far behind the visible surface it lies;
    with `slopes`, which way its own parameters would have to go to mend the error.
    """

    def __init__(
        self,
        query_width: int,
        expansion: int,
        map_width: int,
        sights: int,
        sizes: list[int],
        feedback: bool = False,
        slopes: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        hidden, raw = 3 * map_width, sum(sizes)
        read = sights * (map_width + read_beside_map(feedback))
        self.local = nn.Linear(read + raw + raw * slopes, hidden)
        self.query = nn.Sequential(nn.LayerNorm(query_width), nn.Linear(query_width, hidden))
        self.slots = nn.Parameter(0.02 * torch.randn(expansion, hidden))
        last = nn.Linear(hidden, raw, bias=False)
        self.net = nn.Sequential(nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)
        nn.init.zeros_(last.weight)

    @property
    def last(self) -> nn.Linear:
        """The layer that says what to change."""
        layer = self.net[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(
        self,
        raw: RawGaussians,
        queries: Float[Tensor, "b m c"],
        sights: Sights,
        sharp: Float[Tensor, "b v c h h"],
        images: Float[Tensor, "b v 3 s s"],
        feedback: Feedback | None = None,
    ) -> RawGaussians:
        """The corrected parameters."""
        worth = sights.preferences.amax(dim=1).permute(0, 2, 1)[..., None]  # (b, n, r, 1)
        seen = [sights.features(sharp), sights.features(images), sights.places(), worth]
        if feedback is not None:
            seen.append(told(sights, feedback.maps))
        before = raw.joined()
        read = torch.cat(seen, dim=-1).flatten(2).unflatten(1, before.shape[1:3])
        known = [read, before]
        if feedback is not None and feedback.slopes is not None:
            known.append(feedback.slopes)
        local = self.local(torch.cat(known, dim=-1))
        change = self.net(local + self.query(queries)[:, :, None] + self.slots)
        return RawGaussians(*(before + change).split(self.sizes, dim=-1))
