"""The Triton kernels against the float64 reference: on a GPU if there is one, else in Triton's interpreter.

The interpreter must be chosen before Triton is imported, so this file runs itself again in a new process.
"""

import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import KINDS, random_scene

HAS_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
runs_kernels = pytest.mark.skipif(
    not HAS_TRITON or not (INTERPRETED or DEVICE == "cuda"),
    reason="runs in a process with Triton's interpreter",
)
FIELDS = ("means", "quats", "scales", "opacities", "colors")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRITON, reason="needs Triton")
@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="this is the process that it starts")
def test_in_the_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", __file__], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout


@pytest.mark.skipif(HAS_TRITON and (INTERPRETED or DEVICE == "cuda"), reason="kernels run here")
def test_says_what_is_missing() -> None:
    scene = random_scene(count=3, size=8)
    with pytest.raises(InputError, match=r"needs tensors on CUDA" if HAS_TRITON else "pip install triton"):
        render(*scene, backend="triton")


def drawn_and_gradients(
    gaussians: Gaussians, cameras: Cameras, backend: str, depth: bool = True
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Pictures, and the gradients of a random weighing of all their numbers."""
    device = DEVICE if backend == "triton" else "cpu"
    leaves = {name: getattr(gaussians, name).to(device).requires_grad_() for name in FIELDS}
    rendering = render(Gaussians(**leaves), cameras.to(device), None, backend, depth)
    pictures = [rendering.rgb, rendering.alpha]
    if rendering.depth is not None:
        # depth is divided by alpha: by alpha it is weighed, or the faintest pixels would rule the gradients
        pictures.append(rendering.depth * rendering.alpha)
    random = torch.Generator().manual_seed(1)
    weights = [torch.randn(p.shape, generator=random).to(p) for p in pictures]
    gradients = torch.autograd.grad(pictures, list(leaves.values()), weights)
    found = {name: gradient.cpu().double() for name, gradient in zip(FIELDS, gradients, strict=True)}
    return [p.detach().cpu().double() for p in pictures], found


def assert_agrees(gaussians: Gaussians, cameras: Cameras, loose: float = 1, depth: bool = True) -> None:
    """Single pixels flip at the cuts of the contract: the bound on the largest difference is loose."""
    pictures, gradients = drawn_and_gradients(gaussians, cameras, "triton", depth)
    exact = gaussians.to(dtype=torch.float64), cameras.to(dtype=torch.float64)
    expected, expected_gradients = drawn_and_gradients(*exact, "reference", depth)
    assert expected[1].mean() > 1e-4
    for picture, right in zip(pictures, expected, strict=True):
        assert (picture - right).abs().max() < 1e-2
        assert (picture - right).abs().mean() < 3e-6 * loose
    for name, gradient in gradients.items():
        right = expected_gradients[name]
        assert (gradient - right).norm() < 1e-3 * loose * right.norm(), name


@runs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_reference(kind: str) -> None:
    """Several objects, views, tiles and words of bits, and a last word that is not full."""
    gaussians, cameras = random_scene(kind, objects=2, views=2, count=40, size=20, seed=7)
    assert_agrees(replace(gaussians, scales=gaussians.scales * 2), cameras)


@runs_kernels
@pytest.mark.parametrize(("width", "height", "depth"), [(1, 1, True), (17, 9, True), (5, 33, False)])
def test_odd_pictures_off_centre(width: int, height: int, depth: bool) -> None:
    gaussians, cameras = random_scene("heavy", count=20, size=32, seed=2)
    Ks = cameras.Ks.clone()
    Ks[..., 0, 0] *= 0.8
    Ks[..., 0, 2], Ks[..., 1, 2] = 0.4 * width, 0.7 * height
    assert_agrees(gaussians, Cameras(cameras.viewmats, Ks, width, height), loose=3, depth=depth)


@runs_kernels
def test_inside_of_the_object() -> None:
    """Gaussians behind the camera, off the picture, wide, and thin as needles."""
    gaussians, cameras = random_scene("heavy", views=2, count=40, size=20, seed=4)
    scales = gaussians.scales * torch.tensor([6.0, 1.0, 0.01])
    viewmats = cameras.viewmats.clone()
    viewmats[..., :3, 3] *= 0.15
    assert_agrees(replace(gaussians, scales=scales), replace(cameras, viewmats=viewmats), loose=20)


@runs_kernels
@pytest.mark.parametrize("opacity", [1.0, 0.999, 2 / 255])
def test_opaque_and_clear_gaussians(opacity: float) -> None:
    """Pixels stop early and alphas are capped, and what is hidden gets no gradient; or nearly all is cut."""
    gaussians, cameras = random_scene("heavy", count=40, size=18, seed=6)
    opacities = torch.full_like(gaussians.opacities, opacity)
    assert_agrees(replace(gaussians, opacities=opacities, scales=gaussians.scales * 2), cameras, loose=3)


@runs_kernels
def test_nothing_to_draw() -> None:
    gaussians, cameras = random_scene(objects=1, views=1, count=4, size=20)
    away = replace(gaussians, means=gaussians.means + 10 * cameras.centers)
    clear = replace(gaussians, opacities=torch.zeros_like(gaussians.opacities))
    for hidden in (away, clear):
        pictures, gradients = drawn_and_gradients(hidden, cameras, "triton")
        assert all((picture == 0).all() for picture in pictures)
        assert all((gradient == 0).all() for gradient in gradients.values())
    nothing = Gaussians(**{name: getattr(gaussians, name)[:, :0].to(DEVICE) for name in FIELDS})
    assert (render(nothing, cameras.to(DEVICE), backend="triton").rgb == 1).all()


@runs_kernels
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, in the interpreter
@pytest.mark.parametrize("field", ["means", "quats", "scales"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_absurd_gaussians_do_not_spoil_the_others(field: str, value: float) -> None:
    if field == "quats" and value == 1e30:
        pytest.skip("a quaternion of any length is a rotation")
    gaussians, cameras = random_scene("heavy", count=8, size=16)
    broken = getattr(gaussians, field).clone()
    broken[0, :3] = value
    others = Gaussians(**{name: getattr(gaussians, name)[:, 3:] for name in FIELDS})
    drawn, gradients = drawn_and_gradients(replace(gaussians, **{field: broken}), cameras, "triton")
    expected, expected_gradients = drawn_and_gradients(others, cameras, "triton")
    assert all(torch.equal(*pair) for pair in zip(drawn, expected, strict=True))
    for name, gradient in gradients.items():
        assert torch.equal(gradient[:, 3:], expected_gradients[name])


@runs_kernels
def test_equal_depths_keep_their_order_and_backgrounds_show() -> None:
    gaussians, cameras = random_scene("heavy", count=1, size=16)
    pair = Gaussians(**{name: getattr(gaussians, name).repeat_interleave(2, 1) for name in FIELDS})
    colors = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    pair = replace(pair, colors=colors, opacities=torch.full((1, 2), 0.9)).to(DEVICE)
    bare = render(pair, cameras.to(DEVICE), background=None, backend="triton")
    red, green = bare.rgb[0, 0, 0], bare.rgb[0, 0, 1]
    assert red.max() > 0.1
    torch.testing.assert_close(green, red * (1 - red))
    color = torch.tensor([0.2, 0.5, 0.9], device=DEVICE)
    over = render(pair, cameras.to(DEVICE), background=color, backend="triton")
    rest = 1 - bare.alpha[:, :, None]
    torch.testing.assert_close(over.rgb, bare.rgb + rest * color[:, None, None])


@runs_kernels
def test_sums_in_many_turns_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from sparsegen.splatting import triton_splat

    gaussians, cameras = random_scene("heavy", objects=2, views=1, count=8, size=32, seed=3)
    _, expected = drawn_and_gradients(gaussians, cameras, "triton")
    monkeypatch.setattr(triton_splat, "_PAIRS", 8)
    _, gradients = drawn_and_gradients(gaussians, cameras, "triton")
    assert all(torch.equal(gradient, expected[name]) for name, gradient in gradients.items())


@runs_kernels
@pytest.mark.parametrize("fault", ["MIN_ALPHA", "BLUR", "BORDER"])
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another constant in the kernels, the comparison fails."""
    if not INTERPRETED:
        pytest.skip("compiled kernels keep their constants")
    from triton import language as tl  # pyright: ignore[reportMissingImports]

    from sparsegen.splatting import triton_geometry, triton_projection, triton_raster

    for module in (triton_geometry, triton_projection, triton_raster):
        if hasattr(module, fault):
            monkeypatch.setattr(module, fault, tl.constexpr(1.1 * getattr(module, fault).value))
    with pytest.raises(AssertionError):
        test_inside_of_the_object() if fault == "BORDER" else test_opaque_and_clear_gaussians(1.0)
