"""What training, generation and evaluation know of a network: the same for every kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.views import Views

C = TypeVar("C", bound="NetworkConfig")


@dataclass(frozen=True)
class NetworkConfig:
    """What the sizes of every network have.

    `kind` names the class of a stored configuration. Without `flow` the network maps clean views to
    Gaussians directly: it is never shown a noised one, and is deterministic.
    """

    kind: str = ""
    image_size: int = 128
    flow: bool = True

    @property
    def has_queries(self) -> bool:
        """Whether the Gaussians come from anchor queries."""
        return False

    @property
    def idle_heads(self) -> bool:
        """Whether parameters get no gradient where only the last layer's Gaussians are looked at."""
        return False

    def without_position_encoding(self) -> NetworkConfig:
        """The same without a position encoding of image tokens; `InputError` where there is none."""
        raise InputError(f"position_encoding=off: a {self.kind} network has none; leave it out")

    def build(self) -> Network:
        """The network of these sizes, with fresh weights."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise `InputError` for a setting that no such network can have."""
        if self.kind != type(self).kind:
            raise InputError(f"kind={self.kind}: the preset says it; choose one, as in model=tiny")


class Network(nn.Module, Generic[C]):
    """Posed pictures to Gaussians. It reads no files.

    `width` is that of the tokens whose linear layers do most of the work; 0 where convolutions do.
    `num_queries` and `expansion`: anchor queries, and Gaussians for each; a network without queries has 0
    of them. `needs_placeholders`: noise placeholders stand beside clean views even where one step is taken.
    `symmetric`: it takes objects for their own mirror images in the plane y = 0.
    `knows_cameras`: what comes out depends on the pictures' cameras by more than where it is put. A kind
    without queries leaves the methods of anchors as they are: settings that would ask for them are refused.
    """

    width: int = 0
    num_queries: int = 0
    expansion: int = 1
    needs_placeholders: bool = False
    symmetric: bool = False
    knows_cameras: bool = True

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config = config

    @property
    def anchors(self) -> Float[Tensor, "m 3"] | None:
        """Anchor positions in the world, one for each query; None without queries."""
        return None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def facts(self) -> dict[str, str]:
        """What a person asks of its sizes, by name."""
        raise NotImplementedError

    def repeated_layers(self) -> list[nn.Module]:
        """The layers that hold most weights and do most of the work."""
        return []

    def forget_constants(self) -> None:
        """Drop what is remembered between calls, as if nothing had been computed yet."""

    def set_anchors(self, anchors: Float[Tensor, "m 3"]) -> None:
        """Put the anchors at world positions, before training starts."""
        raise NotImplementedError

    def fix_anchors(self) -> None:
        """Keep the anchors where they are during training."""
        raise NotImplementedError

    def forward(
        self,
        views: Views,
        times: Float[Tensor, "b v"],
        self_conditioning: Float[Tensor, "b v 3 h w"] | None = None,
        layers: str = "last",
        queries: int | None = None,
    ) -> list[Gaussians]:
        """Gaussians of every object, from the last layer or, with `layers` "all", from all of them, or
        with "uncorrected" from the last one before any corrections.

        `times` are 0 for clean views, which come first; the rest is of use to networks with a flow, and
        with queries.
        """
        raise NotImplementedError
