"""The contract in plain PyTorch against closed forms and finite differences."""

import math
from dataclasses import replace

import pytest
import torch

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import reference, render
from sparsegen.splatting.scenes import random_scene

FOCAL = 50.0


def facing(size: int = 21) -> Cameras:
    """A camera at the origin that looks along +Z, with a pixel centre on its axis."""
    K = torch.tensor([[FOCAL, 0, size / 2], [0, FOCAL, size / 2], [0, 0, 1]], dtype=torch.float64)
    return Cameras(torch.eye(4, dtype=torch.float64)[None], K[None], size, size)


def row_of(depths: list[float], opacities: list[float], scale: float = 0.1) -> Gaussians:
    """Round Gaussians on the axis, with colors red, green, blue, red, ..."""
    n = len(depths)
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0.0, depth] for depth in depths]),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(n, 4),
        scales=torch.full((n, 3), scale),
        opacities=torch.tensor(opacities),
        colors=torch.eye(3)[torch.arange(n) % 3],
    )
    return gaussians.to(dtype=torch.float64)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_one_round_gaussian_on_the_axis(backend: str) -> None:
    """Its 2D covariance is (f s / z)^2 + 0.3, its alpha opacity exp(-d^2 / 2 / that) cut at 1/255."""
    rendering = render(row_of([2.0], [0.8]), facing(), background=None, backend=backend)
    variance = (FOCAL * 0.1 / 2) ** 2 + 0.3
    offset = torch.arange(21, dtype=torch.float64) - 10
    alpha = 0.8 * torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * variance))
    alpha[alpha < 1 / 255] = 0
    assert 0 < (alpha == 0).sum() < 441
    torch.testing.assert_close(rendering.alpha[0].double(), alpha, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rendering.rgb[0, 0].double(), alpha, rtol=1e-5, atol=1e-6)
    assert rendering.depth is not None
    torch.testing.assert_close(rendering.depth[0].double(), 2 * (alpha > 0).double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_nearer_ones_hide_farther_ones(backend: str) -> None:
    rendering = render(row_of([3.0, 1.0, 2.0], [0.9, 0.5, 0.4]), facing(), background=None, backend=backend)
    # nearest first: green 0.5, blue 0.4, red 0.9
    weights = torch.tensor([0.5 * 0.6 * 0.9, 0.5, 0.5 * 0.4], dtype=torch.float64)
    torch.testing.assert_close(rendering.rgb[0, :, 10, 10].double(), weights, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rendering.alpha[0, 10, 10].double(), weights.sum(), rtol=1e-6, atol=1e-6)
    assert rendering.depth is not None
    depth = (weights * torch.tensor([3.0, 1.0, 2.0])).sum() / weights.sum()
    torch.testing.assert_close(rendering.depth[0, 10, 10].double(), depth, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_alpha_is_capped_and_opaque_pixels_stop(backend: str) -> None:
    """Two caps of 0.999 would leave 1e-6: the second is left out, and so is all behind it, however clear."""
    rendering = render(row_of([1.0, 2.0, 3.0], [1.0, 1.0, 0.5]), facing(), background=None, backend=backend)
    expected = torch.tensor([0.999, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(rendering.rgb[0, :, 10, 10].double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_planes_near_and_far(backend: str) -> None:
    for depth, drawn in ((0.009, False), (0.011, True), (9e9, True), (1.1e10, False)):
        gaussians = row_of([depth], [0.5], scale=depth * 0.1)
        assert bool((render(gaussians, facing(), backend=backend).alpha > 0).any()) == drawn


def test_a_long_gaussian_lies_along_its_axis() -> None:
    """A quarter turn about the viewing axis turns the picture by a quarter."""
    lying = replace(row_of([2.0], [0.8]), scales=torch.tensor([[0.2, 0.02, 0.02]], dtype=torch.float64))
    turn = torch.tensor([[math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)]], dtype=torch.float64)
    standing = replace(lying, quats=3 * turn)  # and the length of a quaternion does not count
    first, second = (render(g, facing(), backend="reference").alpha[0] for g in (lying, standing))
    assert first[10, 16] > 10 * first[16, 10]
    torch.testing.assert_close(first, second.T)


def test_jacobian_is_clamped_outside_of_the_picture() -> None:
    """Beyond 1.3 times the picture's half angle, a mean's slope does not shear its covariance further."""
    K = facing().Ks[0]
    gaussians = row_of([1.0, 1.0], [0.5, 0.5])
    limit = 1.3 * 10.5 / FOCAL
    means = gaussians.means.clone()
    means[0, 0], means[1, 0] = limit, 2 * limit
    _, conics, _ = reference.project(
        replace(gaussians, means=means), Cameras(facing().viewmats[0], K, 21, 21)
    )
    torch.testing.assert_close(conics[0], conics[1])
    xx = (FOCAL * 0.1) ** 2 * (1 + limit**2) + 0.3
    torch.testing.assert_close(1 / conics[0, 0], torch.tensor(xx, dtype=torch.float64))


def test_gradients_against_finite_differences() -> None:
    gaussians, cameras = random_scene("heavy", views=2, count=6, size=9, seed=5)
    gaussians, cameras = gaussians.to(dtype=torch.float64), cameras.to(dtype=torch.float64)
    gaussians = replace(gaussians, scales=gaussians.scales * 3)
    names = ("means", "quats", "scales", "opacities", "colors")
    inputs = [getattr(gaussians, name).clone().requires_grad_() for name in names]

    def pictures(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rendering = render(Gaussians(**dict(zip(names, tensors, strict=True))), cameras, backend="reference")
        assert rendering.depth is not None
        # depth jumps where a Gaussian's first alpha of 1/255 comes in; weighted by alpha it hardly does
        return rendering.rgb, rendering.alpha, rendering.depth * rendering.alpha

    assert torch.autograd.gradcheck(pictures, inputs, eps=1e-7, fast_mode=True)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians, cameras = random_scene("heavy", count=50, size=16)
    whole = render(gaussians, cameras, backend="reference")
    monkeypatch.setattr(reference, "_CHUNK", 50 * 7)
    parts = render(gaussians, cameras, backend="reference")
    torch.testing.assert_close(parts.rgb, whole.rgb, rtol=1e-6, atol=1e-6)
