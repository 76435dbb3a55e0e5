"""LPIPS with the VGG16 trunk (Zhang et al. 2018), version 0.1: the perceptual distance of the paper's tables.

The trained heads come with torchmetrics. The ImageNet trunk comes in no package: it is read from a file, and
only from the published one, so that no other network's number ever stands under this name.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.evaluation.weights import published_weights

# torchvision's VGG16 weights; the eight digits of the name are the start of the file's SHA-256.
TRUNK_FILE = "vgg16-397923af.pth"
_TRUNK_SHA256 = "397923af"

# Channels of VGG16's 3 x 3 convolutions, stage by stage; a max pooling stands between two stages.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# ImageNet's mean and deviation for pictures in [-1, 1], rounded as LPIPS has them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class LpipsVgg(nn.Module):
    """LPIPS-VGG distance between pictures in [0, 1]; they are brought to [-1, 1] here.

    `trunk` holds torchvision's VGG16 entries `features.N.weight` and `.bias`; `heads` the entries
    `linK.model.1.weight` of LPIPS 0.1.
    """

    def __init__(self, trunk: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        position, channels = 0, 3
        for number, widths in enumerate(_STAGES):
            layers: list[nn.Module] = []
            if number:
                layers.append(nn.MaxPool2d(2, 2))
                position += 1
            for width in widths:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                convolution.load_state_dict(
                    {kind: trunk[f"features.{position}.{kind}"] for kind in ("weight", "bias")}
                )
                layers += [convolution, nn.ReLU()]
                position, channels = position + 2, width
            self.stages.append(nn.Sequential(*layers))
        for number in range(len(_STAGES)):
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


def lpips_vgg(trunk_file: Path | None = None) -> LpipsVgg:
    """LPIPS-VGG with the published weights: from `trunk_file`, or from torch hub's cache folder.

    Raises `InputError` where the file is missing or is another one.
    """
    return LpipsVgg(published_weights("LPIPS (VGG)", TRUNK_FILE, _TRUNK_SHA256, trunk_file), heads())


def heads() -> dict[str, Tensor]:
    """The trained heads of LPIPS 0.1 for VGG16, from the file that torchmetrics carries."""
    from torchmetrics.functional.image import lpips

    file = Path(lpips.__file__).parent / "lpips_models" / "vgg.pth"
    return torch.load(file, weights_only=True, map_location="cpu")


def _unit_channels(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)
