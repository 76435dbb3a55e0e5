"""3D Gaussians as plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Below this opacity a Gaussian hardly shows: it is called dead.
DEAD_OPACITY = 0.02


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians with any batch shape, in world units.

    `quats` are wxyz and of unit length; `scales` are linear standard deviations, positive; `opacities`
    and `colors` lie in [0, 1], colors as displayed (sRGB). `expansion` is the number of Gaussians per
    anchor query (K in the paper's section 3.2): Gaussian i came from query i // expansion.
    """

    means: Float[Tensor, "*batch n 3"]
    quats: Float[Tensor, "*batch n 4"]
    scales: Float[Tensor, "*batch n 3"]
    opacities: Float[Tensor, "*batch n"]
    colors: Float[Tensor, "*batch n 3"]
    expansion: int = 1

    def __post_init__(self) -> None:
        shape = self.opacities.shape
        for name, size in (("means", 3), ("quats", 4), ("scales", 3), ("colors", 3)):
            found = getattr(self, name).shape
            if found != (*shape, size):
                raise ValueError(f"{name} must have shape {(*shape, size)}, got {tuple(found)}")
        if shape[-1] % self.expansion:
            raise ValueError(f"{shape[-1]} Gaussians cannot be {self.expansion} for each query")

    @property
    def batch_shape(self) -> torch.Size:
        return self.opacities.shape[:-1]

    @property
    def count(self) -> int:
        """Gaussians in one object."""
        return self.opacities.shape[-1]

    @property
    def query_ids(self) -> Int[Tensor, "n"]:
        """The anchor query that each Gaussian came from."""
        return torch.arange(self.count, device=self.means.device) // self.expansion

    def _map(self, function: Callable[[Tensor], Tensor], expansion: int | None = None) -> Gaussians:
        tensors = {f.name: function(getattr(self, f.name)) for f in fields(self) if f.name != "expansion"}
        return Gaussians(**tensors, expansion=expansion or self.expansion)

    def __getitem__(self, index: Any) -> Gaussians:
        """Index the batch dimensions; to choose Gaussians use `select`."""
        return self._map(lambda x: x[index])

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Gaussians:
        return self._map(lambda x: x.to(device, dtype))

    def detach(self) -> Gaussians:
        return self._map(Tensor.detach)

    def select(self, keep: Bool[Tensor, "n"] | Int[Tensor, "m"]) -> Gaussians:
        """Some Gaussians of an object without batch dimensions; each becomes its own query."""
        if self.batch_shape:
            raise ValueError(f"select works on one object, got batch shape {tuple(self.batch_shape)}")
        return self._map(lambda x: x[keep], expansion=1)


def cat(gaussians: Sequence[Gaussians]) -> Gaussians:
    """Objects with equally many Gaussians, one batch (B,) after the other."""
    first = gaussians[0]
    names = [f.name for f in fields(first) if f.name != "expansion"]
    tensors = {name: torch.cat([getattr(g, name) for g in gaussians]) for name in names}
    return Gaussians(**tensors, expansion=first.expansion)
