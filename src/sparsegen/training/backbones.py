"""Frozen picture networks for the perceptual loss, in plain PyTorch, with weights that the user has.

A trunk is a sequence of stages; what leaves each stage is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.models.lite0 import lite0_stages, load_published

# Widths of the 3 x 3 convolutions, stage by stage, with a pooling between two stages.
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """Stages behind a normalisation of pictures in [0, 1]; frozen."""

    def __init__(self, stages: Sequence[nn.Module], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _c _h _w"]]:
        x = (images - self.mean) / self.std
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def vgg_trunk(convolutions: Sequence[tuple[Tensor, Tensor]], widths: Sequence[Sequence[int]]) -> Trunk:
    """A VGG network from the weights and biases of its convolutions in order.

    Poolings take means instead of maxima, which gives smoother gradients. Raises ValueError if the
    weights are of another network.
    """
    rest, channels, stages = iter(convolutions), 3, []
    for number, stage in enumerate(widths):
        layers: list[nn.Module] = [nn.AvgPool2d(2)] if number else []
        for width in stage:
            weight, bias = next(rest, (torch.empty(0), torch.empty(0)))
            if weight.shape != (width, channels, 3, 3) or bias.shape != (width,):
                raise ValueError(
                    f"a convolution of shape {tuple(weight.shape)}, not {(width, channels, 3, 3)}"
                )
            convolution = nn.Conv2d(channels, width, 3, padding=1)
            convolution.load_state_dict({"weight": weight, "bias": bias})
            layers += [convolution, nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return Trunk(stages, _IMAGENET_MEAN, _IMAGENET_STD)


def lite0_trunk(state: dict[str, Tensor]) -> Trunk:
    """EfficientNet-lite0 up to a sixteenth of the size, from its published entries; KeyError if one is
    missing, RuntimeError if one is of another shape."""
    stages = lite0_stages(4)
    load_published(stages, state)
    return Trunk(stages, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
