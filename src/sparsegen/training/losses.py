"""The training loss: pictures, opacity, structure, edges and where Gaussians may go (paper, section 3.3).

Pictures and alphas lie in [0, 1]. Every term is a mean, so that weights do not depend on sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians, cat
from sparsegen.metrics import ssim
from sparsegen.splatting import Rendering
from sparsegen.views import Views, stack_views

Renderer = Callable[[Gaussians, Cameras], Rendering]
PictureDistance = Callable[[Tensor, Tensor], Tensor]


@dataclass
class LossConfig:
    """Weights of the terms, 0 to switch one off, and their constants.

    Intermediate decoder layers are rendered in `intermediate_views` of the target views only, chosen
    anew each step, since splatting every layer in every view is what costs most on a CPU.
    """

    image: float = 1.0
    alpha: float = 0.5
    perceptual: float = 0.0
    perceptual_weights: str | None = None  # VGG-19's file; without it, what `training.perceptual` finds
    ssim: float = 0.0
    ssim_stride: int = 2
    gradient: float = 0.03
    sharpness: float = 0.0
    offset: float = 0.0
    offset_limit: float = 0.2  # world units
    scale: float = 0.0
    scale_limit: float = 0.1  # world units
    intermediate: float = 0.3
    intermediate_views: int = 1


# Sharpness: blocks of 4 x 4 pixels, and the contrast between neighbors (of 1) below which they count as flat.
_BLOCK_HALVINGS = 2
_FLAT = 0.01
# Edges are compared in so many pictures that halve.
_GRADIENT_SCALES = 3


def image_loss(images: Float[Tensor, "... 3 h w"], targets: Float[Tensor, "... 3 h w"]) -> Float[Tensor, ""]:
    """Mean squared error."""
    return F.mse_loss(images, targets)


def alpha_loss(alphas: Float[Tensor, "... h w"], targets: Float[Tensor, "... h w"]) -> Float[Tensor, ""]:
    """Mean squared error of the coverage."""
    return F.mse_loss(alphas, targets)


def ssim_loss(
    images: Float[Tensor, "*batch 3 h w"], targets: Float[Tensor, "*batch 3 h w"], stride: int = 1
) -> Float[Tensor, ""]:
    """1 - SSIM. `stride` takes every second, third, ... window in both directions: hardly another value, and
    its cost falls with the square."""
    return 1 - ssim(images, targets, stride).mean()


def gradient_loss(
    images: Float[Tensor, "... 3 h w"], targets: Float[Tensor, "... 3 h w"]
) -> Float[Tensor, ""]:
    """L1 of horizontal and vertical differences, summed over three pictures that halve: sharp edges."""
    error = images - targets  # differences and means are linear: one map serves both pictures
    total = error.new_zeros(())
    for scale in range(_GRADIENT_SCALES):
        error = _halved(error) if scale else error
        total = total + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return total


def sharpness_loss(
    images: Float[Tensor, "... 3 h w"], targets: Float[Tensor, "... 3 h w"]
) -> Float[Tensor, ""]:
    """L1 between how strong edges are, root mean squares of the gradient over blocks of 4 x 4 pixels.

    The terms that compare pixels are least where a picture is the mean of all that could be there, which is
    blurred. This one asks for edges as strong as the truth's, wherever in a block they lie.
    """
    return (_edge_strength(images) - _edge_strength(targets)).abs().mean()


def offset_loss(gaussians: Gaussians, anchors: Float[Tensor, "m 3"], limit: float) -> Float[Tensor, ""]:
    """max(0, |mean - anchor| - limit)^2: a Gaussian stays near the anchor query that it came from."""
    distance = (gaussians.means - anchors[gaussians.query_ids]).norm(dim=-1)
    return (distance - limit).clamp_min(0).square().mean()


def scale_loss(gaussians: Gaussians, limit: float) -> Float[Tensor, ""]:
    """max(0, scale - limit)^2: no Gaussian grows to cover the object."""
    return (gaussians.scales - limit).clamp_min(0).square().mean()


# What compares renderings with pictures; None where what it needs is not there.
_PictureTerm = Callable[[Rendering, Views, LossConfig, PictureDistance | None], Tensor | None]
_PICTURE_TERMS: dict[str, _PictureTerm] = {
    "image": lambda found, true, config, distance: image_loss(found.rgb, true.images),
    "perceptual": lambda found, true, config, distance: (
        None if distance is None else distance(found.rgb, true.images)
    ),
    "alpha": lambda found, true, config, distance: (
        None if true.alphas is None else alpha_loss(found.alpha, true.alphas)
    ),
    "ssim": lambda found, true, config, distance: ssim_loss(found.rgb, true.images, config.ssim_stride),
    "gradient": lambda found, true, config, distance: gradient_loss(found.rgb, true.images),
    "sharpness": lambda found, true, config, distance: sharpness_loss(found.rgb, true.images),
}


def picture_terms(config: LossConfig, alphas: bool = True) -> list[str]:
    """The terms with a weight that look at pictures; the alpha's only where the pictures have `alphas`."""
    return [name for name in _PICTURE_TERMS if getattr(config, name) and (alphas or name != "alpha")]


def rendering_terms(
    rendering: Rendering, targets: Views, config: LossConfig, perceptual: PictureDistance | None = None
) -> dict[str, Float[Tensor, ""]]:
    """The terms that compare renderings with pictures; a term of weight 0 is left out."""
    found = {
        name: _PICTURE_TERMS[name](rendering, targets, config, perceptual) for name in picture_terms(config)
    }
    return {name: value for name, value in found.items() if value is not None}


def gaussian_terms(
    gaussians: Gaussians, anchors: Float[Tensor, "m 3"] | None, config: LossConfig
) -> dict[str, Float[Tensor, ""]]:
    """The terms on the Gaussians themselves; a term of weight 0 is left out."""
    terms = {}
    if config.offset and anchors is not None:
        terms["offset"] = offset_loss(gaussians, anchors, config.offset_limit)
    if config.scale:
        terms["scale"] = scale_loss(gaussians, config.scale_limit)
    return terms


def training_loss(
    layers: Sequence[Gaussians],
    anchors: Float[Tensor, "m 3"] | None,
    targets: Views,
    config: LossConfig,
    renderer: Renderer,
    intermediate_views: Sequence[int] = (),
    perceptual: PictureDistance | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum over all decoder layers, and the last layer's terms, unweighted, for the log.

    The last layer is compared in every target view, the layers before it in `intermediate_views`.
    """
    *middle, last = layers
    terms = rendering_terms(renderer(last, targets.cameras), targets, config, perceptual)
    terms |= gaussian_terms(last, anchors, config)
    total = _weighted(terms, config)
    if middle and config.intermediate and intermediate_views:
        # All layers before the last as one batch of (layers * B) objects: one call of the renderer.
        some = stack_views([targets.select(list(intermediate_views))] * len(middle))
        stacked = cat(middle)
        extra = rendering_terms(renderer(stacked, some.cameras), some, config, perceptual)
        extra |= gaussian_terms(stacked, anchors, config)
        total = total + config.intermediate * len(middle) * _weighted(extra, config)
    return total, {name: value.detach() for name, value in terms.items()}


def _weighted(terms: dict[str, Tensor], config: LossConfig) -> Tensor:
    return torch.stack([getattr(config, name) * value for name, value in terms.items()]).sum()


def _edge_strength(images: Float[Tensor, "... 3 h w"]) -> Float[Tensor, "... 3 h/4 w/4"]:
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    energy = F.pad(across.square() + down.square(), (0, 1, 0, 1))
    for _ in range(_BLOCK_HALVINGS):
        energy = _halved(energy)
    return (energy + _FLAT**2).sqrt()


def _halved(x: Float[Tensor, "... h w"]) -> Float[Tensor, "... h/2 w/2"]:
    """Means of 2 x 2 pixels. Slices: on a CPU the gradient of `avg_pool2d` costs several times as much."""
    h, w = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    tall = x[..., 0:h:2, :] + x[..., 1:h:2, :]
    return (tall[..., 0:w:2] + tall[..., 1:w:2]) / 4
