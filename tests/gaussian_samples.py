"""Gaussians to write and read, and damaged files."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from sparsegen.cameras import orbit
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render

FIXTURES = Path(__file__).parent / "fixtures"
# What another program made of `recorded` and `tiled`; their README says how.
WRITTEN_ELSEWHERE = FIXTURES / "gaussian_files"

TENSORS = ("means", "quats", "scales", "opacities", "colors")


def recorded() -> Gaussians:
    """128 Gaussians that the reference network put out."""
    with np.load(FIXTURES / "fixture_reduced_seed0.npz") as data:
        array = {k: torch.from_numpy(data[k]) for k in data.files if k.startswith("out_gauss_")}
    return Gaussians(
        means=1.2 * array["out_gauss_xyz"] - 0.6,
        quats=array["out_gauss_rotation"],
        scales=array["out_gauss_scale"],
        opacities=array["out_gauss_opacity"][:, 0],
        colors=array["out_gauss_color"],
    )


def tiled() -> Gaussians:
    """Three times `recorded` side by side: 384 Gaussians, more than a chunk of a compressed PLY."""
    one = recorded()
    copies = [replace(one, means=one.means + torch.tensor([0.5 * i, 0.0, 0.1 * i])) for i in range(3)]
    return Gaussians(**{n: torch.cat([getattr(c, n) for c in copies]) for n in TENSORS}, expansion=1)


def matched(found: Gaussians, expected: Gaussians) -> Gaussians:
    """`found` in the order of `expected`; they must be the same Gaussians up to quantization."""
    assert found.count == expected.count
    nearest = torch.cdist(expected.means.double(), found.means.double()).argmin(dim=1)
    assert sorted(nearest.tolist()) == list(range(expected.count))
    return found.select(nearest)


def assert_close(
    found: Gaussians,
    expected: Gaussians,
    means: float = 1e-6,
    angle: float = 2e-3,
    log_scales: float = 1e-5,
    opacities: float = 2e-6,
    colors: float = 1e-6,
) -> None:
    """Equal within the given largest differences; `angle` in radians."""
    torch.testing.assert_close(found.means, expected.means, atol=means, rtol=1e-6)
    torch.testing.assert_close(found.scales.log(), expected.scales.log(), atol=log_scales, rtol=0)
    torch.testing.assert_close(found.opacities, expected.opacities, atol=opacities, rtol=0)
    torch.testing.assert_close(found.colors, expected.colors, atol=colors, rtol=0)
    first, second = (F.normalize(g.quats.double(), dim=-1) for g in (found, expected))
    cosine = (first * second).sum(dim=-1).abs()
    assert float(2 * cosine.clamp(max=1).acos().max()) < angle


def picture_psnr(found: Gaussians, expected: Gaussians) -> float:
    """How well four pictures of these agree, in dB."""
    cameras = orbit(4, size=128)
    pictures = [render(g, cameras, backend="cpu", depth=False).rgb for g in (found, expected)]
    return -10 * math.log10(max(float((pictures[0] - pictures[1]).square().mean()), 1e-12))


def damaged(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """The file cut short, with bytes flipped, with runs replaced, and with pieces cut out."""
    random = np.random.default_rng(seed)
    for i in range(count):
        # Half of the damage hits the first bytes, where the headers are.
        reach = len(data) if i % 2 else min(len(data), 600)
        start = int(random.integers(reach))
        changed = bytearray(data)
        match i % 5:
            case 0:
                changed = changed[:start]
            case 1 | 2:
                for place in random.integers(reach, size=random.integers(1, 5)):
                    changed[place] = random.integers(256)
            case 3:
                changed[start : start + 4] = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f")[i % 3]
            case 4:
                del changed[start : start + int(random.integers(1, 64))]
        yield bytes(changed)
