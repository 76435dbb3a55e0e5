"""Cut-outs made to look as if other cameras, lights and paints had been there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.formats.cutout import straight_color


def disguised(crops: Float[Tensor, "b 4 s s"], generator: torch.Generator) -> Float[Tensor, "b 4 s s"]:
    """Pictures as other cameras, lights and paints would show the object; what is outside it stays white.

    Exposures, tints and contrasts of their own; some without color or with channels exchanged, some blurred,
    and from half of them patches are missing: lamps tell front from back, and where there are none, the rest
    has to.
    """
    count = len(crops)

    def draw(*size: int) -> Tensor:
        return torch.rand(count, *size, generator=generator)

    blurred = draw() < 0.2
    white = crops.new_tensor([1, 1, 1, 0])[:, None, None]
    soft = F.avg_pool2d(F.avg_pool2d(crops[blurred] - white, 3, 1, 1), 3, 1, 1) + white
    crops = crops.index_put((blurred,), soft)
    color, alpha = crops[:, :3], crops[:, 3:]
    inside = straight_color(color, alpha[:, 0])
    exchanged = inside[torch.arange(count)[:, None], draw(3).argsort(1)]
    inside = torch.where(draw(1, 1, 1) < 0.2, exchanged, inside)
    gray = inside.mean(dim=1, keepdim=True)
    inside = torch.lerp(inside, gray, (2 * draw(1, 1, 1) - 1).clamp_min(0))
    average = (inside * alpha).sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True).clamp_min(1)
    missing = (draw(1, 1, 1) < 0.5) & _patches(count, crops.shape[-1], generator)
    inside = torch.where(missing, average, inside)
    gain = torch.exp(0.3 * torch.randn(count, 3, 1, 1, generator=generator))
    contrast = torch.exp(0.5 * (2 * draw(1, 1, 1) - 1))
    inside = (gain * inside.clamp_min(1e-4) ** contrast).clamp(0, 1)
    return torch.cat([alpha * inside + 1 - alpha, alpha], dim=1)


def _patches(count: int, size: int, generator: torch.Generator) -> Bool[Tensor, "b 1 s s"]:
    """Up to three rectangles anywhere in each picture, of a tenth to a third of its sides."""
    axis = (torch.arange(size) + 0.5) / size
    middle = torch.rand(count, 3, 2, 1, generator=generator)
    half = 0.05 + 0.12 * torch.rand(count, 3, 2, 1, generator=generator)
    down, right = ((axis - middle).abs() < half).unbind(2)  # (b, 3, s)
    return (down[..., :, None] & right[..., None, :]).any(dim=1, keepdim=True)
