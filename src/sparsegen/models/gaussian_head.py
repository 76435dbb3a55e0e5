"""Gaussian head: each query's state to the parameters of its Gaussians (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.gaussians import Gaussians
from sparsegen.models.anchor_sampling import Lookup, Sights

# Anchors are kept this far from the faces of the unit cube before their logit.
_MARGIN = 1e-7


@dataclass(frozen=True)
class GaussianHeadConfig:
    """Form of the head and of its activations.

    `form`: "branches" is the reference's five networks with ReLU; "trunk" is a normalisation and one
    network. `scale`: "clamped" is the reference's min(exp(x + bias), max_scale), which stops the gradient
    at the top; "bounded" runs smoothly between `min_scale` and `max_scale`.
    `shared`: one head for all decoder layers instead of one each. Scales are in world units.
    `picture_colors` lets each Gaussian of a "trunk" head take part of its color from the clean views, at
    the pixels that it projects to. How much it trusts them is one more output, and starts at
    sigmoid(`trust_bias`); the direction from which it is best seen is another, and starts as `outward`
    times its position.
    """

    form: str = "trunk"
    shared: bool = True
    scale: str = "bounded"
    min_scale: float = 0.002
    max_scale: float = 0.1
    scale_bias: float = -1.2
    opacity_bias: float = -1.0
    spread: float = 0.3
    picture_colors: bool = True
    trust_bias: float = 0.0
    outward: float = 10.0


class RawGaussians(NamedTuple):
    """Head outputs before their activations, each (b, m, k, size)."""

    offset: Tensor
    opacity: Tensor
    rotation: Tensor
    scale: Tensor
    color: Tensor
    trust: Tensor | None = None
    facing: Tensor | None = None

    def joined(self) -> Float[Tensor, "b m k raw"]:
        """All parameters side by side."""
        return torch.cat([part for part in self if part is not None], dim=-1)


class Placed(NamedTuple):
    """Gaussians, and how the views see them, where the head looked."""

    gaussians: Gaussians
    sights: Sights | None

    def detach(self) -> Placed:
        """The same without gradients."""
        return Placed(self.gaussians.detach(), None if self.sights is None else self.sights.detach())


_SIZES = {"offset": 3, "opacity": 1, "rotation": 4, "scale": 3, "color": 3}
_SEEN_SIZES = {"trust": 1, "facing": 3}


def raw_sizes(seen: bool) -> list[int]:
    """Sizes of a Gaussian's raw parameters, with or without those of `picture_colors`."""
    return list((_SIZES | _SEEN_SIZES if seen else _SIZES).values())


class BranchHead(nn.Module):
    """One network for each parameter; opacity and scale narrow to half the width."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.expansion = expansion
        for name, size in _SIZES.items():
            middle = width // 2 if name in ("opacity", "scale") else width
            widths = [(width, width), (width, middle), (middle, expansion * size)]
            layers = [nn.Linear(*w) for w in widths]
            for layer in layers:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.normal_(layer.bias)
            self.add_module(name, nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]))

    def forward(self, x: Float[Tensor, "b m c"]) -> RawGaussians:
        branches = (getattr(self, name) for name in _SIZES)
        return RawGaussians(*(branch(x).unflatten(-1, (self.expansion, -1)) for branch in branches))


class TrunkHead(nn.Module):
    """Layer normalisation, one hidden layer, all parameters at once.

    The last layer starts small, with a random offset for each Gaussian of a query so that they part.
    """

    def __init__(self, width: int, expansion: int, spread: float, seen: bool) -> None:
        super().__init__()
        self.expansion = expansion
        self.sizes = raw_sizes(seen)
        total = sum(self.sizes)
        last = nn.Linear(width, expansion * total)
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), last)
        nn.init.normal_(last.weight, std=0.02)
        with torch.no_grad():
            bias = last.bias.view(expansion, total).zero_()
            bias[:, :3] = spread * torch.randn(expansion, 3)
            bias[:, 4] = 1.0  # w: the identity rotation

    def forward(self, x: Float[Tensor, "b m c"]) -> RawGaussians:
        raw = self.net(x).unflatten(-1, (self.expansion, -1))
        return RawGaussians(*raw.split(self.sizes, dim=-1))


class GaussianHead(nn.Module):
    """Raw outputs of a `BranchHead` or `TrunkHead`, activated around the anchors."""

    def __init__(self, config: GaussianHeadConfig, width: int, expansion: int, bound: float) -> None:
        super().__init__()
        self.config, self.bound, self.expansion = config, bound, expansion
        if config.form == "branches":
            self.net = BranchHead(width, expansion)
        else:
            self.net = TrunkHead(width, expansion, config.spread, config.picture_colors)

    def forward(self, x: Float[Tensor, "b m c"]) -> RawGaussians:
        """The parameters before their activations; always in float32, like all that follows."""
        with torch.autocast(x.device.type, enabled=False):
            return self.net(x.float())

    def place(self, raw: RawGaussians, anchors: Float[Tensor, "m 3"], lookup: Lookup) -> Placed:
        """Gaussians around anchors given on the unit cube; `lookup` is for `picture_colors`."""
        with torch.autocast(raw.offset.device.type, enabled=False):
            means = self.means(raw, anchors)
            colors = torch.sigmoid(raw.color).flatten(1, 2)
            sights = None
            if raw.trust is not None:
                sights = self.sights(raw, means, lookup)
                trust = torch.sigmoid(raw.trust + self.config.trust_bias).flatten(1, 2)
                colors = torch.lerp(colors, sights.colors(lookup.images), trust)
            gaussians = Gaussians(
                means=means,
                quats=F.normalize(raw.rotation, dim=-1).flatten(1, 2),
                scales=self._scales(raw.scale).flatten(1, 2),
                opacities=torch.sigmoid(raw.opacity + self.config.opacity_bias)[..., 0].flatten(1, 2),
                colors=colors,
                expansion=self.expansion,
            )
            return Placed(gaussians, sights)

    def means(self, raw: RawGaussians, anchors: Float[Tensor, "m 3"]) -> Float[Tensor, "b n 3"]:
        """Where the Gaussians lie, in the world."""
        unit = anchors.float().clamp(_MARGIN, 1 - _MARGIN)
        logit = torch.log(unit / (1 - unit))[:, None]  # (m, 1, 3)
        return (2 * self.bound * torch.sigmoid(logit + raw.offset) - self.bound).flatten(1, 2)

    def sights(self, raw: RawGaussians, means: Float[Tensor, "b n 3"], lookup: Lookup) -> Sights:
        """How the views see Gaussians at `means`, each best from where it faces."""
        places = means.detach()  # gradients through coordinates are mostly noise
        if raw.facing is None:
            return lookup.sights(places)
        return lookup.sights(places, raw.facing.flatten(1, 2) + self.config.outward * places)

    def _scales(self, x: Tensor) -> Tensor:
        config = self.config
        if config.scale == "clamped":
            return torch.exp(x + config.scale_bias).clamp(max=config.max_scale)
        rise = config.max_scale - config.min_scale
        return config.min_scale + rise * torch.sigmoid(x + config.scale_bias)
