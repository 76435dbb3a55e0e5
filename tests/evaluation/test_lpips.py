"""LPIPS against torchmetrics' network on the same trunk, and its refusal of other weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as published

from sparsegen.errors import InputError
from sparsegen.evaluation.lpips import (
    ALEXNET_FILE,
    ST_FILE,
    ST_PACKAGE,
    VGG16_FILE,
    Downsample,
    Lpips,
    alexnet_stages,
    heads,
    lpips_alex,
    lpips_vgg,
    st_lpips,
    st_stages,
    vgg_stages,
)
from sparsegen.formats.files import file_in_package

_POOL = 0
_WIDTHS = (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL, 512, 512, 512, _POOL, 512, 512, 512)


def _random_alexnet() -> nn.Sequential:
    """torchvision's AlexNet features with random weights."""
    torch.manual_seed(6)
    first, second = nn.Conv2d(3, 64, 11, 4, 2), nn.Conv2d(64, 192, 5, padding=2)
    layers: list[nn.Module] = [first, nn.ReLU(), nn.MaxPool2d(3, 2), second, nn.ReLU(), nn.MaxPool2d(3, 2)]
    for inputs, outputs in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2))


def _random_vgg() -> nn.Sequential:
    """torchvision's VGG16 features with random weights."""
    torch.manual_seed(5)
    layers: list[nn.Module] = []
    channels = 3
    for width in _WIDTHS:
        if width == _POOL:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight)
        layers += [convolution, nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def _entries(trunk: nn.Sequential) -> dict[str, Tensor]:
    return {f"features.{key}": value for key, value in trunk.state_dict().items()}


@pytest.mark.parametrize(
    ("net", "make", "stages"), [("vgg", _random_vgg, vgg_stages), ("alex", _random_alexnet, alexnet_stages)]
)
def test_distances_are_torchmetrics(
    monkeypatch: pytest.MonkeyPatch,
    net: Literal["vgg", "alex"],
    make: Callable[[], nn.Sequential],
    stages: Callable[[dict[str, Tensor]], list[nn.Module]],
) -> None:
    trunk = make()
    monkeypatch.setattr(published, "_get_tv_model_features", lambda *_, **__: trunk)
    theirs = published._LPIPS(net=net)
    ours = Lpips(stages(_entries(trunk)), heads(net))
    x, y = torch.rand(2, 3, 3, 64, 72), torch.rand(2, 3, 3, 64, 72)
    with torch.no_grad():
        expected = theirs(x.flatten(0, 1), y.flatten(0, 1), normalize=True).reshape(2, 3)
        found = ours(x, y)
        assert ours(x, x).abs().max() == 0
    assert expected.min() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_downsampling_is_scipys_binomial_blur() -> None:
    x = torch.rand(1, 2, 11, 14, dtype=torch.float64)
    found = Downsample()(x)[0]
    for picture, ours in zip(np.asarray(x[0]), np.asarray(found), strict=True):
        padded = np.pad(picture, 2, mode="reflect")
        kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
        np.testing.assert_allclose(ours, convolve2d(padded, kernel, "valid")[::2, ::2], atol=1e-12)


def test_st_lpips_takes_its_steps_after_blurring() -> None:
    """Shapes of the published network: only the three blurs take steps."""
    widths = ((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
    names = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")
    state = {}
    for name, (inputs, outputs, size) in zip(names, widths, strict=True):
        state |= {f"net.{name}.weight": torch.zeros(outputs, inputs, size, size)}
        state |= {f"net.{name}.bias": torch.zeros(outputs)}
    x, sizes = torch.zeros(1, 3, 64, 64), []
    for stage in st_stages(state):
        x = stage(x)
        sizes.append(x.shape[-1])
    assert sizes == [30, 15, 8, 8, 8]


@pytest.mark.skipif(file_in_package(ST_PACKAGE, ST_FILE) is None, reason="stlpips-pytorch is not installed")
def test_st_lpips_is_that_of_its_package() -> None:
    """Numbers that the package's own code gave for these pictures."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 72, generator=generator)
    y = torch.stack([torch.rand(3, 64, 72, generator=generator), x[1].roll(1, -1)])
    torch.testing.assert_close(st_lpips()(x, y), torch.tensor([0.036847, 0.01006]), atol=1e-5, rtol=0)


def test_st_lpips_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsegen.evaluation.lpips.ST_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"ST-LPIPS .* not computed: weights missing, pip install"):
        st_lpips()


def test_missing_weights_name_the_file_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"weights missing, put {VGG16_FILE} at .*{VGG16_FILE}"):
        lpips_vgg(tmp_path / VGG16_FILE)
    with pytest.raises(InputError, match=rf"LPIPS \(AlexNet\) .* missing, put {ALEXNET_FILE} at"):
        lpips_alex(tmp_path / ALEXNET_FILE)


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / VGG16_FILE
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(InputError, match=r"is not the published .*expected 397923af"):
        lpips_vgg(path)


def test_the_note_says_nothing_of_whose_machine_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(InputError, match=rf"put {VGG16_FILE} at ~/.cache/torch/hub/checkpoints/{VGG16_FILE}"):
        lpips_vgg()
    with pytest.raises(InputError, match=r"at /elsewhere/vgg\.pth$"):
        lpips_vgg(Path("/elsewhere/vgg.pth"))
