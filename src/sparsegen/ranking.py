"""How well objects agree with the pictures that they were made from, and with each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.gaussians import Gaussians
from sparsegen.metrics import psnr
from sparsegen.smoothing import photograph
from sparsegen.turntable import orbit_around, render_frames
from sparsegen.views import Views

# Two objects whose pictures are this close, in dB, look alike.
ALIKE = 35.0
_VIEWS, _SIZE = 8, 128
_EQUAL = 100.0  # dB, of equal pictures


@torch.no_grad()
def agreement(gaussians: Gaussians, views: Views) -> list[float]:
    """PSNR in dB of an object's rendering (batch shape ()) from each of its V input views, over white.

    The object is one for pictures of any size (`sparsegen.smoothing`).
    """
    views = views.to(gaussians.means.device)
    rgb, _ = photograph(gaussians, views.cameras[0])
    return psnr(rgb.clamp(0, 1), views.images[0].clamp(0, 1)).clamp(max=_EQUAL).tolist()


def rank(objects: Sequence[Gaussians], views: Views) -> tuple[list[int], list[float]]:
    """Indices of the objects, the one that agrees best with its input views first, and their mean PSNRs."""
    scores = [sum(found) / len(found) for found in (agreement(gaussians, views) for gaussians in objects)]
    order = sorted(range(len(objects)), key=lambda i: -scores[i])
    return order, [scores[i] for i in order]


def pictures_around(gaussians: Gaussians, count: int = _VIEWS, size: int = _SIZE) -> Float[Tensor, "v 3 h w"]:
    """Renderings from all around, from cameras that depend on the object's size alone."""
    cameras = orbit_around(gaussians, count, size)
    return torch.stack([frame.rgb for frame in render_frames(gaussians, cameras)])


def likeness(first: Gaussians, second: Gaussians) -> float:
    """PSNR in dB between two objects' pictures from all around: how much they look like each other."""
    return _likeness(pictures_around(first), pictures_around(second))


def range_of_likeness(objects: Sequence[Gaussians]) -> tuple[float, float]:
    """The least and the greatest `likeness` among all pairs of two or more objects."""
    pictures = [pictures_around(gaussians) for gaussians in objects]
    pairs = [_likeness(a, b) for i, a in enumerate(pictures) for b in pictures[:i]]
    return min(pairs), max(pairs)


def _likeness(first: Float[Tensor, "v 3 h w"], second: Float[Tensor, "v 3 h w"]) -> float:
    return psnr(first, second).clamp(max=_EQUAL).mean().item()
