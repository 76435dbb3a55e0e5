"""Perceptual distances (Zhang et al. 2018): LPIPS 0.1 with VGG16, the one of the paper's tables, and with
AlexNet; and ST-LPIPS (Ghildyal and Liu 2022), a distance of its own that small shifts hardly move.

LPIPS' trained heads come with torchmetrics. The ImageNet trunks come in no package: they are read from files,
and only from the published ones, so that no other network's number ever stands under this name. ST-LPIPS is
whole in a package that the user may install; only its file of weights is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.evaluation.weights import published_weights
from sparsegen.formats.files import file_in_package

# torchvision's weights; the eight digits of a name are the start of the file's SHA-256.
VGG16_FILE = "vgg16-397923af.pth"
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
ST_PACKAGE, ST_FILE = "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth"
_ST_SHA256 = "b356b382f960"

# Channels of VGG16's 3 x 3 convolutions, stage by stage; a max pooling stands between two stages.
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Where AlexNet's convolutions are among torchvision's entries, and with padding 2 and 1; ST-LPIPS' places.
_ALEXNET = ((0, 2), (3, 2), (6, 1), (8, 1), (10, 1))
_ST_ENTRIES = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
# ImageNet's mean and deviation for pictures in [-1, 1], rounded as LPIPS has them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)

Weights = dict[str, Tensor]


class Lpips(nn.Module):
    """Distance between pictures in [0, 1], which are brought to [-1, 1] here.

    `stages` are a trunk's; `heads` has an entry `linK.model.1.weight` for each.
    """

    def __init__(self, stages: Sequence[nn.Module], heads: Weights) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        for number in range(len(stages)):
            self.register_buffer(f"head{number}", heads[f"lin{number}.model.1.weight"])
        self.requires_grad_(False).eval()

    def forward(
        self, images: Float[Tensor, "*batch 3 h w"], truth: Float[Tensor, "*batch 3 h w"]
    ) -> Float[Tensor, "*batch"]:
        shift = images.new_tensor(_SHIFT)[:, None, None]
        scale = images.new_tensor(_SCALE)[:, None, None]
        x, y = ((2 * p.flatten(0, -4) - 1 - shift) / scale for p in (images, truth))
        distance = x.new_zeros(len(x))
        for number, stage in enumerate(self.stages):
            x, y = stage(x), stage(y)
            difference = (_unit_channels(x) - _unit_channels(y)).square()
            distance = distance + F.conv2d(difference, self.get_buffer(f"head{number}")).mean(dim=(1, 2, 3))
        return distance.reshape(images.shape[:-3])


class Downsample(nn.Module):
    """Every second pixel of what a 3 x 3 binomial filter blurred, with two pixels mirrored at each border."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c _h _w"]:
        row = x.new_tensor([0.25, 0.5, 0.25])
        kernel = (row[:, None] * row).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def lpips_vgg(trunk_file: Path | None = None) -> Lpips:
    """LPIPS with VGG16: published weights from `trunk_file`, or from torch hub's cache folder.

    Raises `InputError` where the file is missing or is another one; so do the others here.
    """
    trunk = published_weights("LPIPS (VGG)", VGG16_FILE, "397923af", trunk_file)
    return Lpips(vgg_stages(trunk), heads("vgg"))


def lpips_alex(trunk_file: Path | None = None) -> Lpips:
    """LPIPS with AlexNet: published weights from `trunk_file`, or from torch hub's cache folder."""
    trunk = published_weights("LPIPS (AlexNet)", ALEXNET_FILE, "7be5be79", trunk_file)
    return Lpips(alexnet_stages(trunk), heads("alex"))


def st_lpips() -> Lpips:
    """ST-LPIPS with AlexNet: the weights of the installed package."""
    path = file_in_package(ST_PACKAGE, ST_FILE)
    if path is None:
        raise InputError(
            "ST-LPIPS (AlexNet) not computed: weights missing, pip install --no-deps stlpips-pytorch==0.0.2"
        )
    state = published_weights("ST-LPIPS (AlexNet)", path.name, _ST_SHA256, path)
    return Lpips(st_stages(state), state)


def vgg_stages(trunk: Weights) -> list[nn.Module]:
    """VGG16's stages from torchvision's entries `features.N.weight` and `.bias`."""
    stages, position = [], 0
    for number, widths in enumerate(_VGG16):
        layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if number else []
        position += len(layers)
        for _ in widths:
            layers += [_convolution(trunk, f"features.{position}", padding=1), nn.ReLU()]
            position += 2
        stages.append(nn.Sequential(*layers))
    return stages


def alexnet_stages(trunk: Weights) -> list[nn.Module]:
    """AlexNet's stages from torchvision's entries `features.N.weight` and `.bias`."""
    stages = []
    for number, (position, padding) in enumerate(_ALEXNET):
        layers: list[nn.Module] = [nn.MaxPool2d(3, 2)] if number in (1, 2) else []
        convolution = _convolution(trunk, f"features.{position}", padding, stride=1 if number else 4)
        stages.append(nn.Sequential(*layers, convolution, nn.ReLU()))
    return stages


def st_stages(state: Weights) -> list[nn.Module]:
    """ST-LPIPS' AlexNet: it blurs before every step down, and takes no step in its first convolution."""
    stages = []
    for number, (entry, (_, padding)) in enumerate(zip(_ST_ENTRIES, _ALEXNET, strict=True)):
        layers: list[nn.Module] = [nn.MaxPool2d(3, 1), Downsample()] if number in (1, 2) else []
        layers.append(_convolution(state, f"net.{entry}", padding))
        layers += [] if number else [Downsample()]
        stages.append(nn.Sequential(*layers, nn.ReLU()))
    return stages


def heads(trunk: str) -> Weights:
    """The trained heads of LPIPS 0.1 for the trunk "vgg" or "alex", from the file in torchmetrics."""
    path = file_in_package("torchmetrics", f"functional/image/lpips_models/{trunk}.pth")
    assert path is not None
    return torch.load(path, weights_only=True, map_location="cpu")


def _convolution(weights: Weights, name: str, padding: int, stride: int = 1) -> nn.Conv2d:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    outputs, inputs, size, _ = weight.shape
    layer = nn.Conv2d(inputs, outputs, size, stride, padding)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _unit_channels(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)
