"""The Numba kernels against the float64 reference, and what only they promise."""

import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import cpu, cpu_layout, cpu_raster, render
from sparsegen.splatting.scenes import KINDS, random_scene

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def drawn_and_gradients(
    gaussians: Gaussians, cameras: Cameras, backend: str, seed: int = 1
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Pictures, and the gradients of a random weighing of all their numbers."""
    leaves = {name: getattr(gaussians, name).clone().requires_grad_() for name in FIELDS}
    rendering = render(Gaussians(**leaves), cameras, backend=backend)
    assert rendering.depth is not None
    # depth is divided by alpha: by alpha it is weighed, or the faintest pixels would rule the gradients
    pictures = {"rgb": rendering.rgb, "alpha": rendering.alpha, "depth": rendering.depth * rendering.alpha}
    random = torch.Generator().manual_seed(seed)
    weights = [torch.randn(p.shape, generator=random).to(p.dtype) for p in pictures.values()]
    torch.autograd.backward(list(pictures.values()), weights)
    gradients = {name: leaf.grad.double() for name, leaf in leaves.items() if leaf.grad is not None}
    assert set(gradients) == set(FIELDS)
    return {name: p.detach().double() for name, p in pictures.items()}, gradients


def double(gaussians: Gaussians, cameras: Cameras) -> tuple[Gaussians, Cameras]:
    return gaussians.to(dtype=torch.float64), cameras.to(dtype=torch.float64)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_float64_reference(kind: str) -> None:
    """Single pixels flip at the cuts of the contract: the bound on the largest difference is loose."""
    scene = random_scene(kind, objects=2, views=2, count=1500, size=64, seed=7)
    pictures, gradients = drawn_and_gradients(*scene, "cpu")
    expected, expected_gradients = drawn_and_gradients(*double(*scene), "reference")
    for name, picture in pictures.items():
        difference = (picture - expected[name]).abs()
        assert difference.max() < 1e-2, name
        assert difference.mean() < 3e-6, name
        assert difference.flatten().quantile(0.999) < 5e-5, name
    for name, gradient in gradients.items():
        assert relative(gradient, expected_gradients[name]) < 3e-3, name
        error = (gradient - expected_gradients[name]).abs().flatten()
        assert error.median() < 1e-5 * expected_gradients[name].abs().mean(), name


@pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 9), (33, 70), (128, 5)])
def test_odd_pictures_off_centre(width: int, height: int) -> None:
    gaussians, cameras = random_scene("heavy", objects=1, views=2, count=60, size=64, seed=2)
    Ks = cameras.Ks.clone()
    Ks[..., 0, 0] *= 0.8
    Ks[..., 0, 2], Ks[..., 1, 2] = 0.4 * width, 0.7 * height
    cameras = Cameras(cameras.viewmats, Ks, width, height)
    pictures, gradients = drawn_and_gradients(gaussians, cameras, "cpu")
    expected, expected_gradients = drawn_and_gradients(*double(gaussians, cameras), "reference")
    for name, picture in pictures.items():
        assert (picture - expected[name]).abs().mean() < 1e-5, name
    for name, gradient in gradients.items():
        assert relative(gradient, expected_gradients[name]) < 2e-3, name


def test_close_wide_and_thin_gaussians() -> None:
    """Inside of the object, with means outside of the picture and needles of a thousand to one."""
    gaussians, cameras = random_scene("heavy", objects=1, views=3, count=200, size=48, seed=4)
    scales = gaussians.scales * torch.tensor([6.0, 1.0, 0.006])
    centers = 0.15 * cameras.centers
    viewmats = cameras.viewmats.clone()
    viewmats[..., :3, 3] = -(viewmats[..., :3, :3] @ centers[..., None])[..., 0]
    scene = replace(gaussians, scales=scales), replace(cameras, viewmats=viewmats)
    pictures, gradients = drawn_and_gradients(*scene, "cpu")
    expected, expected_gradients = drawn_and_gradients(*double(*scene), "reference")
    assert pictures["alpha"].mean() > 0.5
    for name, picture in pictures.items():
        assert (picture - expected[name]).abs().mean() < 1e-4, name
    for name, gradient in gradients.items():
        assert relative(gradient, expected_gradients[name]) < 2e-2, name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in ("means", "scales") for value in (math.nan, math.inf, -math.inf, 1e30)),
        *(("quats", value) for value in (math.nan, math.inf)),
    ],
)
def test_absurd_gaussians_do_not_spoil_the_others(field: str, value: float) -> None:
    gaussians, cameras = random_scene("heavy", count=30, size=32)
    broken = getattr(gaussians, field).clone()
    broken[0, :3] = value
    others = Gaussians(**{name: getattr(gaussians, name)[:, 3:] for name in FIELDS})
    drawn = render(replace(gaussians, **{field: broken}), cameras)
    assert torch.equal(drawn.rgb, render(others, cameras).rgb)


def test_gradients_of_an_opaque_stack() -> None:
    """Pixels stop early, alphas are capped: what is hidden gets no gradient, the rest the right one."""
    gaussians, cameras = random_scene("heavy", count=300, size=32, seed=6)
    scene = (
        replace(gaussians, opacities=torch.full_like(gaussians.opacities, 1.0), scales=gaussians.scales * 2),
        cameras,
    )
    _, gradients = drawn_and_gradients(*scene, "cpu")
    _, expected = drawn_and_gradients(*double(*scene), "reference")
    assert (expected["colors"] == 0).any()
    for name, gradient in gradients.items():
        assert relative(gradient, expected[name]) < 5e-3, name
    assert torch.equal(gradients["colors"] == 0, expected["colors"] == 0)


def test_a_wrong_gradient_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds above are tight enough to tell a kernel that takes a 1 % wrong blur in its backward pass."""
    scene = random_scene("typical", count=300, size=32, seed=8)
    _, expected = drawn_and_gradients(*double(*scene), "reference")
    right = cpu_raster.rasterize_backward

    def wrong(*arguments: np.ndarray) -> None:
        right(*arguments)
        arguments[-1][..., 2:5] *= 1.01

    monkeypatch.setattr(cpu_raster, "rasterize_backward", wrong)
    _, gradients = drawn_and_gradients(*scene, "cpu")
    assert relative(gradients["scales"], expected["scales"]) > 3e-3


@pytest.mark.parametrize("views", [1, 3])
def test_same_bytes_every_run_and_for_any_number_of_threads(views: int) -> None:
    """A single picture is shared between threads; of several each thread takes some."""
    scene = random_scene("heavy", objects=1, views=views, count=2000, size=64)
    runs = [drawn_and_gradients(*scene, "cpu") for _ in range(2)]
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        runs.append(drawn_and_gradients(*scene, "cpu"))
    finally:
        numba.set_num_threads(threads)
    for pictures, gradients in runs[1:]:
        for name in pictures:
            assert torch.equal(pictures[name], runs[0][0][name])
        for name in gradients:
            assert torch.equal(gradients[name], runs[0][1][name])


def test_layout_and_dtype_of_inputs_do_not_matter() -> None:
    gaussians, cameras = random_scene("heavy", objects=2, views=2, count=50, size=32)
    strided = Gaussians(
        **{n: getattr(gaussians, n).transpose(0, 1).contiguous().transpose(0, 1) for n in FIELDS}
    )
    assert not strided.means.is_contiguous()
    wide = strided.to(dtype=torch.float64)
    wide.means.requires_grad_()
    plain, other = render(gaussians, cameras), render(wide, cameras.to(dtype=torch.float64))
    assert other.rgb.dtype == torch.float32
    assert torch.equal(plain.rgb, other.rgb)
    other.rgb.sum().backward()
    assert wide.means.grad is not None
    assert wide.means.grad.dtype == torch.float64


def test_depth_does_not_change_the_rest() -> None:
    scene = random_scene("typical", objects=2, views=2, count=500, size=48)
    with_depth, without = render(*scene), render(*scene, depth=False)
    assert torch.equal(with_depth.rgb, without.rgb)
    assert torch.equal(with_depth.alpha, without.alpha)


def test_only_some_outputs_and_inputs_take_part() -> None:
    gaussians, cameras = random_scene("typical", count=100, size=32)
    colors = gaussians.colors.clone().requires_grad_()
    rendering = render(replace(gaussians, colors=colors), cameras, background=None)
    rendering.rgb[0, 0, 1].sum().backward()
    assert colors.grad is not None
    assert (colors.grad[..., [0, 2]] == 0).all()
    torch.testing.assert_close(
        (colors.grad * gaussians.colors).sum(), rendering.rgb[0, 0, 1].sum(), rtol=1e-4, atol=1e-4
    )


def test_torch_keeps_its_number_of_threads() -> None:
    """In a fresh process: Numba's first kernel starts its threads, and tells OpenMP to use every core."""
    program = """
import torch
from sparsegen.splatting import render
from sparsegen.splatting.scenes import random_scene
found = []
for threads in (3, 1):
    torch.set_num_threads(threads)
    gaussians, cameras = random_scene("heavy", objects=1, views=2, count=100, size=32)
    gaussians.colors.requires_grad_()
    render(gaussians, cameras).rgb.sum().backward()
    found.append(torch.get_num_threads())
assert found == [3, 1], found
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_threads_may_render_at_once() -> None:
    scene = random_scene("heavy", objects=1, views=2, count=800, size=48)
    expected = render(*scene).rgb
    found: list[torch.Tensor] = []

    def work() -> None:
        found.extend(render(*scene).rgb for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(torch.equal(rgb, expected) for rgb in found)


def test_exp_is_exact_to_float32() -> None:
    sigma = np.linspace(0, 6, 5001, dtype=np.float32)
    found = np.array([cpu_raster.exp_negative(s) for s in sigma], dtype=np.float64)
    np.testing.assert_allclose(found, np.exp(-sigma.astype(np.float64)), rtol=2e-6)


def test_needs_tensors_on_the_cpu() -> None:
    gaussians, cameras = random_scene(count=3, size=8)
    with pytest.raises(InputError, match="move them with"):
        cpu.splat(gaussians.to("meta"), cameras, depth=False)


_DRAW_WITH_CACHE = """
import sys
import tempfile
from pathlib import Path

tempfile.tempdir = sys.argv[1]
from sparsegen.splatting import cpu_layout

if sys.argv[2] == "locked":
    cpu_layout._is_writable = lambda folder: False
print(cpu_layout.cache_folder())
from sparsegen.splatting.cpu_projection import project  # compiles nothing yet

print(project.stats.cache_path)
"""


@pytest.mark.parametrize(("chosen", "places"), [("", "open"), ("", "locked"), ("mine", "open")])
def test_compiled_kernels_have_a_folder(tmp_path: Path, chosen: str, places: str) -> None:
    """NUMBA_CACHE_DIR wins; then the package's folder; a private one where nothing can be written."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / chosen) if chosen else ""}
    result = subprocess.run(
        [sys.executable, "-c", _DRAW_WITH_CACHE, str(tmp_path), places],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder, used = (Path(line) for line in result.stdout.splitlines())
    assert used.is_relative_to(folder)
    expected = Path(cpu_layout.__file__).parent / "__pycache__"
    if chosen or places == "locked":
        expected = tmp_path / chosen
    assert folder.parent == expected
    if places == "locked":
        assert folder.stat().st_mode & 0o077 == 0
