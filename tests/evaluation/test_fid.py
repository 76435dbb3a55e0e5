"""FID and KID against closed forms and torchmetrics, and what the Inception network must have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.image.kid import poly_mmd

from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.errors import InputError
from sparsegen.evaluation import fid, inception
from sparsegen.evaluation.predictors import Prediction
from sparsegen.evaluation.tasks import Task, views_of


def _samples(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    return torch.randn(count, 6, generator=generator, dtype=torch.float64) @ mix + seed


@pytest.mark.parametrize("count", [5, 40])  # fewer samples than numbers, and more
def test_fid_is_its_definition(count: int) -> None:
    x, y = _samples(count, 0), _samples(count + 1, 1)
    a, b = torch.cov(x.T), torch.cov(y.T)
    root = torch.from_numpy(np.real(np.asarray(sqrtm((a @ b).numpy()))))
    expected = (x.mean(0) - y.mean(0)).square().sum() + (a + b - 2 * root).trace()
    assert fid.frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-4)
    assert fid.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert fid.frechet_distance(x, x + 2) == pytest.approx(6 * 4)


def test_kid_is_torchmetrics() -> None:
    x, y = _samples(30, 0), _samples(30, 1)
    theirs = poly_mmd(x, y, degree=3, gamma=None, coef=1.0)
    assert fid.kernel_distance(x, y) == pytest.approx(theirs.item(), rel=1e-9)


def test_pictures_that_are_true_are_at_no_distance(viewsets: Viewsets, protocol: Protocol) -> None:
    def truth(task: Task) -> Prediction:
        found = views_of(viewsets, [int(task.inputs.images.mean() > 2)], (0, 1, 2, 4, 3))
        return Prediction(found.images, torch.ones(found.images.shape[:2] + found.images.shape[3:]))

    def features(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, 2).flatten(1)

    same = fid.measure(truth, viewsets, protocol, [0], 0, features)
    other = fid.measure(truth, viewsets, protocol, [1, 2, 3], 0, features)
    assert same.fid == pytest.approx(0, abs=1e-6)
    assert same.pictures == 4
    assert other.fid > 1e-4


def _random_weights() -> dict[str, Tensor]:
    """Entries of the published file for the first blocks: the stem's kernels as the paper lists them."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def add(name: str, *kernel: int) -> None:
        weights[f"{name}.conv.weight"] = 0.1 * torch.randn(kernel, generator=generator)
        for part in ("weight", "running_var"):
            weights[f"{name}.bn.{part}"] = torch.rand(kernel[0], generator=generator) + 0.5
        for part in ("bias", "running_mean"):
            weights[f"{name}.bn.{part}"] = 0.1 * torch.randn(kernel[0], generator=generator)

    for block, width, pool in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        for name, kernel in (
            ("branch1x1", (64, width, 1, 1)),
            ("branch5x5_1", (48, width, 1, 1)),
            ("branch5x5_2", (64, 48, 5, 5)),
            ("branch3x3dbl_1", (64, width, 1, 1)),
            ("branch3x3dbl_2", (96, 64, 3, 3)),
            ("branch3x3dbl_3", (96, 96, 3, 3)),
            ("branch_pool", (pool, width, 1, 1)),
        ):
            add(f"Mixed_{block}.{name}", *kernel)
    for name, kernel in (
        ("1a_3x3", (32, 3, 3, 3)),
        ("2a_3x3", (32, 32, 3, 3)),
        ("2b_3x3", (64, 32, 3, 3)),
        ("3b_1x1", (80, 64, 1, 1)),
        ("4a_3x3", (192, 80, 3, 3)),
    ):
        add(f"Conv2d_{name}", *kernel)
    add("Mixed_6a.branch3x3", 384, 288, 3, 3)
    add("Mixed_6a.branch3x3dbl_1", 64, 288, 1, 1)
    add("Mixed_6a.branch3x3dbl_2", 96, 64, 3, 3)
    add("Mixed_6a.branch3x3dbl_3", 96, 96, 3, 3)
    for block, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        add(f"Mixed_{block}.branch1x1", 192, 768, 1, 1)
        add(f"Mixed_{block}.branch_pool", 192, 768, 1, 1)
        for name, sizes in (
            ("branch7x7", [(c, 768, 1, 1), (c, c, 1, 7), (192, c, 7, 1)]),
            ("branch7x7dbl", [(c, 768, 1, 1), (c, c, 7, 1), (c, c, 1, 7), (c, c, 7, 1), (192, c, 1, 7)]),
        ):
            for n, size in enumerate(sizes, 1):
                add(f"Mixed_{block}.{name}_{n}", *size)
    add("Mixed_7a.branch3x3_1", 192, 768, 1, 1)
    add("Mixed_7a.branch3x3_2", 320, 192, 3, 3)
    for n, size in enumerate([(192, 768, 1, 1), (192, 192, 1, 7), (192, 192, 7, 1), (192, 192, 3, 3)], 1):
        add(f"Mixed_7a.branch7x7x3_{n}", *size)
    for block, width in (("7b", 1280), ("7c", 2048)):
        for name, size in (
            ("branch1x1", (320, width, 1, 1)),
            ("branch3x3_1", (384, width, 1, 1)),
            ("branch3x3_2a", (384, 384, 1, 3)),
            ("branch3x3_2b", (384, 384, 3, 1)),
            ("branch3x3dbl_1", (448, width, 1, 1)),
            ("branch3x3dbl_2", (384, 448, 3, 3)),
            ("branch3x3dbl_3a", (384, 384, 1, 3)),
            ("branch3x3dbl_3b", (384, 384, 3, 1)),
            ("branch_pool", (192, width, 1, 1)),
        ):
            add(f"Mixed_{block}.{name}", *size)
    return weights


def test_the_network_takes_the_published_kernels() -> None:
    """21,785,568 numbers without the classifier: that of every Inception v3."""
    weights = _random_weights()
    trained = [t for key, t in weights.items() if "running" not in key]
    assert sum(t.numel() for t in trained) == 21_785_568
    features = inception.Inception(weights)(torch.rand(1, 3, 20, 24))
    assert features.shape == (1, 2048)
    assert features.isfinite().all()


def test_resizing_keeps_corners_and_is_linear_between() -> None:
    ramp = torch.arange(4.0).expand(1, 3, 2, 4)
    wide = inception._resized(ramp)
    assert wide.shape == (1, 3, 299, 299)
    x = torch.arange(299) * 4 / 299
    torch.testing.assert_close(wide[0, 0, 0], x.clamp(max=3.0))
    same = torch.rand(1, 3, 299, 299)
    torch.testing.assert_close(inception._resized(same), same)


def test_missing_or_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / inception.WEIGHTS_FILE
    with pytest.raises(InputError, match="FID and KID not computed: weights missing, put pt_inception"):
        inception.load_inception(path)
    torch.save({}, path)
    with pytest.raises(InputError, match="expected 6726825d"):
        inception.load_inception(path)
