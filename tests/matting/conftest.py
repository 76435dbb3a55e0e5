"""Photos of a red shape whose coverage is known."""

import pytest
import torch
from torch.nn import functional as F

from sparsegen.matting.network import load_net


@pytest.fixture
def true_alpha():
    """An ellipse with a bar, in a picture of 120 x 160 pixels."""
    y, x = torch.meshgrid(torch.arange(480) / 480, torch.arange(640) / 480, indexing="ij")
    inside = ((x - 0.65) / 0.4) ** 2 + ((y - 0.5) / 0.25) ** 2 < 1
    inside |= ((x - 0.65).abs() < 0.1) & ((y - 0.4).abs() < 0.3)
    return F.avg_pool2d(inside[None].float(), 4)[0]


@pytest.fixture
def cluttered(true_alpha):
    """The shape in a saturated red over a background of green and blue patches, opaque."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(1, 3, 8, 10, generator=generator) * torch.tensor([0.3, 1, 1])[:, None, None]
    background = F.interpolate(patches, true_alpha.shape, mode="bicubic")[0].clamp(0, 1)
    color = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    rgb = true_alpha * color + (1 - true_alpha) * background
    return torch.cat([rgb, torch.ones(1, *true_alpha.shape)])


@pytest.fixture
def no_onnx(tmp_path, monkeypatch):
    """No segmentation model is installed."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "nothing"))


@pytest.fixture
def no_models(no_onnx, monkeypatch):
    """Nor has the model a foreground network."""
    monkeypatch.setattr("sparsegen.matting.network.load_foreground_net", lambda folder: None)
    load_net.cache_clear()
    yield
    load_net.cache_clear()
