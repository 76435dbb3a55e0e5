"""Objects for pictures of any size.

A network learns from small pictures, and splatting draws every Gaussian there wider than it is, as if seen
through a pixel. In larger pictures that adds less to the object: it looks thin, and has gaps. So Gaussians
are made wider by what was added, once and for all: Mip-Splatting's 3D smoothing filter (arXiv 2311.16493,
section 5.1) after the fact. But for one thing: the pixels that the network learned from were averages over
squares, a blur of the pictures and not of the object.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sparsegen.cameras import FOCAL_128, RADIUS, Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.reference import BLUR

# Variance along each side of a square of one pixel.
_SQUARE = 1 / 12
# Pixels of a picture before they are averaged.
_FINE = 512


def smoothed(gaussians: Gaussians, size: int) -> Gaussians:
    """What looks in large pictures as `gaussians` do in those of `size` pixels, in the training framing."""
    pixel = RADIUS / FOCAL_128 * 128 / size  # in world units, at the object's distance
    return replace(gaussians, scales=(gaussians.scales.square() + (BLUR - _SQUARE) * pixel**2).sqrt())


def photograph(
    gaussians: Gaussians, cameras: Cameras
) -> tuple[Float[Tensor, "*batch v 3 h w"], Float[Tensor, "*batch v h w"]]:
    """Colors and coverage, as `sparsegen.splatting.render` has them, of pixels that are averages, as those of
    photographs are: small pictures are drawn larger. So objects for pictures of any size are compared with
    small ones."""
    times = max(1, _FINE // cameras.width)
    drawn = render(gaussians, cameras.resized(times * cameras.width, times * cameras.height), depth=False)
    if times == 1:
        return drawn.rgb, drawn.alpha
    batch = drawn.alpha.shape[:-2]
    rgb = avg_pool2d(drawn.rgb.flatten(0, -4), times).unflatten(0, batch)
    return rgb, avg_pool2d(drawn.alpha.flatten(0, -3)[:, None], times)[:, 0].unflatten(0, batch)
