"""LPIPS against torchmetrics' network on the same trunk, and its refusal of other weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as published

from sparsegen.errors import InputError
from sparsegen.evaluation.lpips import TRUNK_FILE, LpipsVgg, heads, lpips_vgg

_POOL = 0
_WIDTHS = (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL, 512, 512, 512, _POOL, 512, 512, 512)


def _random_trunk() -> nn.Sequential:
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


def test_distances_are_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = _random_trunk()
    monkeypatch.setattr(published, "_get_tv_model_features", lambda *_, **__: trunk)
    theirs = published._LPIPS(net="vgg")
    ours = LpipsVgg(_entries(trunk), heads())
    x, y = torch.rand(2, 3, 3, 40, 48), torch.rand(2, 3, 3, 40, 48)
    with torch.no_grad():
        expected = theirs(x.flatten(0, 1), y.flatten(0, 1), normalize=True).reshape(2, 3)
        found = ours(x, y)
        assert ours(x, x).abs().max() == 0
    assert expected.min() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_missing_weights_name_the_file_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"weights missing, put {TRUNK_FILE} at .*{TRUNK_FILE}"):
        lpips_vgg(tmp_path / TRUNK_FILE)


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / TRUNK_FILE
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(InputError, match=r"is not the published .*expected 397923af"):
        lpips_vgg(path)


def test_the_note_says_nothing_of_whose_machine_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(InputError, match=rf"put {TRUNK_FILE} at ~/.cache/torch/hub/checkpoints/{TRUNK_FILE}"):
        lpips_vgg()
    with pytest.raises(InputError, match=r"at /elsewhere/vgg\.pth$"):
        lpips_vgg(Path("/elsewhere/vgg.pth"))
