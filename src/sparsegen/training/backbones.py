"""Frozen picture networks for the perceptual loss, in plain PyTorch, with weights that the user has.

A trunk is a sequence of stages; what leaves each stage is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Widths of the 3 x 3 convolutions, stage by stage, with a pooling between two stages.
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
# Stride and channels of EfficientNet-lite0's blocks up to a sixteenth of the size, grouped so that a stage
# ends before the size halves.
_LITE0 = (
    ((1, 16),),
    ((2, 24), (1, 24)),
    ((2, 40), (1, 40)),
    ((2, 80), (1, 80), (1, 80), (1, 112), (1, 112), (1, 112)),
)
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
    """EfficientNet-lite0 without its last stages, from its published entries; KeyError if one is missing."""
    stem = _folded(state, "_conv_stem", "_bn0", stride=2)
    stages: list[nn.Module] = []
    number, channels = 0, len(stem.weight)
    for blocks in _LITE0:
        layers: list[nn.Module] = [] if stages else [stem, nn.ReLU6()]
        for stride, width in blocks:
            prefix, residual = f"_blocks.{number}", stride == 1 and width == channels
            layers.append(_Block(state, prefix, number > 0, stride, residual))
            number, channels = number + 1, width
        stages.append(nn.Sequential(*layers))
    return Trunk(stages, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class _Block(nn.Module):
    """Inverted bottleneck: widen, one filter a channel, narrow; plus the input where it fits."""

    def __init__(
        self, state: dict[str, Tensor], prefix: str, widens: bool, stride: int, residual: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if widens:
            layers += [_folded(state, f"{prefix}._expand_conv", f"{prefix}._bn0"), nn.ReLU6()]
        layers += [_folded(state, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride), nn.ReLU6()]
        layers.append(_folded(state, f"{prefix}._project_conv", f"{prefix}._bn2"))
        self.net, self.residual = nn.Sequential(*layers), residual

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n _c _h _w"]:
        return x + self.net(x) if self.residual else self.net(x)


def _folded(state: dict[str, Tensor], convolution: str, norm: str, stride: int = 1) -> nn.Conv2d:
    """A convolution and the frozen batch normalisation behind it as one convolution."""
    weight = state[f"{convolution}.weight"]
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-3).sqrt()
    outputs, inputs, kernel, _ = weight.shape
    groups = outputs if inputs == 1 else 1
    layer = nn.Conv2d(inputs * groups, outputs, kernel, stride, padding=kernel // 2, groups=groups)
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    layer.load_state_dict({"weight": weight * scale[:, None, None, None], "bias": bias})
    return layer
