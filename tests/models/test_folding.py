"""Folded networks: the same Gaussians, nearly, and bfloat16 only where it pays."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from networks import build, small, some_views
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.models import folding, preset
from sparsegen.models.folding import FoldedLinear, fold, precision_of
from sparsegen.models.pretrained import save_pretrained
from sparsegen.splatting import render


@pytest.fixture(scope="module")
def network():
    """Random weights, as initialised but for what starts at zero."""
    model = build(small())
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


@torch.no_grad()
def agreement(network, folded):
    """Peak signal-to-noise ratio of the renders of two networks' Gaussians, in dB."""
    views = some_views(1, 2)
    before, after = (
        render(model(views, torch.zeros(1, 2))[-1], views.cameras, depth=False).rgb
        for model in (network, folded)
    )
    return -10 * math.log10((before - after).square().mean().clamp_min(1e-15).item())


def test_float32_stays_float32(network):
    folded = fold(copy.deepcopy(network), "float32")
    assert precision_of(folded) == "float32"
    assert agreement(network, folded) > 100


def test_bfloat16_is_near(network):
    folded = fold(copy.deepcopy(network), "bfloat16")
    assert precision_of(folded) == "bfloat16"
    assert 50 < agreement(network, folded) < 100


def test_weights_can_still_be_read(network):
    folded = fold(copy.deepcopy(network), "bfloat16")
    kept = folded.state_dict()
    assert kept.keys() == network.state_dict().keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("name", "native", "chosen"), [
    ("base", True, "bfloat16"),
    ("base", False, "float32"),
    ("tiny", True, "float32"),
    ("pixel_aligned_tiny", True, "float32"),
])  # fmt: skip
def test_auto_takes_bfloat16_for_wide_networks_where_it_is_native(monkeypatch, name, native, chosen):
    monkeypatch.setattr(folding, "bfloat16_pays", lambda _: native)
    assert precision_of(fold(preset(name).build())) == chosen


@pytest.mark.skipif(torch.version.hip is not None, reason="AMD's devices all have it")
@pytest.mark.parametrize(("capability", "native"), [(7, False), (8, True)])
def test_cuda_devices_multiply_bfloat16_from_ampere_on(monkeypatch, capability, native):
    """Those before emulate it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=capability))
    assert folding.native_bfloat16("cuda") is native


def test_without_fast_onednn_float32_is_pytorchs(monkeypatch, network):
    monkeypatch.setattr(folding, "has_fast_onednn", lambda _: False)
    folded = fold(copy.deepcopy(network))
    assert not any(isinstance(module, FoldedLinear) for module in folded.modules())
    assert agreement(network, fold(folded, "bfloat16")) > 50


def test_a_pipeline_folds_what_it_loads(tmp_path, network):
    save_pretrained(network, tmp_path)
    for precision in ("float32", "bfloat16"):
        assert precision_of(Pipeline.from_pretrained(tmp_path, "cpu", precision).model) == precision
    with pytest.raises(InputError, match="'half': expected auto, float32 or bfloat16"):
        Pipeline.from_pretrained(tmp_path, "cpu", "half")
