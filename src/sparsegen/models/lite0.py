"""EfficientNet-lite0 (arXiv 1905.11946; its lite variant) without its last layers.

Batch norms are part of the convolutions before them, as for a network whose training is over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Kernel, stride and channels of each block; a stage ends before the size halves again.
_STAGES = (
    ((3, 1, 16),),
    ((3, 2, 24), (3, 1, 24)),
    ((5, 2, 40), (5, 1, 40)),
    ((3, 2, 80), (3, 1, 80), (3, 1, 80), (5, 1, 112), (5, 1, 112), (5, 1, 112)),
    ((5, 2, 192), (5, 1, 192), (5, 1, 192), (5, 1, 192), (3, 1, 320)),
)
_STEM = 32
_EXPANSION = 6
# Channels of what leaves each stage: maps of a half, a quarter, ... a 32nd of the picture's side.
WIDTHS = tuple(blocks[-1][-1] for blocks in _STAGES)


def lite0_stages(count: int = len(_STAGES)) -> list[nn.Sequential]:
    """The first `count` stages, for pictures in [-1, 1], with random weights."""
    stages: list[nn.Sequential] = []
    channels = _STEM
    for blocks in _STAGES[:count]:
        layers: list[nn.Module] = [] if stages else [_convolution(3, _STEM, 3, stride=2), nn.ReLU6()]
        for kernel, stride, width in blocks:
            layers.append(_Block(channels, width, kernel, stride, _EXPANSION if stages else 1))
            channels = width
        stages.append(nn.Sequential(*layers))
    return stages


def load_published(stages: Sequence[nn.Module], state: dict[str, Tensor]) -> None:
    """Fill stages from the published network's entries; KeyError if one is missing, RuntimeError if unfit."""
    convolutions = [m for stage in stages for m in stage.modules() if isinstance(m, nn.Conv2d)]
    names = [("_conv_stem", "_bn0")]
    for block in range(sum(len(blocks) for blocks in _STAGES[: len(stages)])):
        prefix = f"_blocks.{block}"
        names += [(f"{prefix}._expand_conv", f"{prefix}._bn0")] if block else []
        names += [
            (f"{prefix}._depthwise_conv", f"{prefix}._bn1"),
            (f"{prefix}._project_conv", f"{prefix}._bn2"),
        ]
    for convolution, (name, norm) in zip(convolutions, names, strict=True):
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-3).sqrt()
        weight = state[f"{name}.weight"] * scale[:, None, None, None]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        convolution.load_state_dict({"weight": weight, "bias": bias})


class _Block(nn.Module):
    """Inverted bottleneck: widen, one filter a channel, narrow; plus the input where it fits."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = channels * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [_convolution(channels, middle, 1), nn.ReLU6()]
        layers += [_convolution(middle, middle, kernel, stride, groups=middle), nn.ReLU6()]
        layers.append(_convolution(middle, width, 1))
        self.net, self.residual = nn.Sequential(*layers), stride == 1 and width == channels

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n _c _h _w"]:
        return x + self.net(x) if self.residual else self.net(x)


def _convolution(channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, groups=groups)
    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer
