"""gsplat against the Numba kernels, where there is a GPU, and what to do where there is none."""

import importlib.util
import sys

import pytest
import torch

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import Rendering, render
from sparsegen.splatting.scenes import KINDS, random_scene

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None,
    reason="needs CUDA and gsplat",
)
FIELDS = ("means", "quats", "scales", "opacities", "colors")


def test_without_gsplat_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(InputError, match=r"pip install 'sparsegen\[cuda\]'"):
        render(*random_scene(count=3, size=8), backend="cuda")


def drawn_and_gradients(device: str, **scene) -> tuple[Rendering, list[torch.Tensor]]:
    gaussians, cameras = random_scene(**scene)
    leaves = {name: getattr(gaussians, name).to(device).requires_grad_() for name in FIELDS}
    rendering = render(Gaussians(**leaves), cameras.to(device), backend=device)
    assert rendering.depth is not None
    pictures = [rendering.rgb, rendering.alpha, rendering.depth * rendering.alpha]
    random = torch.Generator().manual_seed(1)
    torch.autograd.backward(pictures, [torch.randn(p.shape, generator=random).to(device) for p in pictures])
    return rendering, [leaf.grad.cpu() for leaf in leaves.values() if leaf.grad is not None]


@needs_gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [5, 2000])
def test_agrees_with_the_cpu(kind: str, count: int) -> None:
    """With 5 Gaussians an object, gsplat's own batches would mix up the objects' gradients."""
    scene = {"kind": kind, "objects": 3, "views": 2, "count": count, "size": 64}
    ours, gradients = drawn_and_gradients("cpu", **scene)
    theirs, their_gradients = drawn_and_gradients("cuda", **scene)
    for name in ("rgb", "alpha"):
        difference = (getattr(ours, name) - getattr(theirs, name).cpu()).abs()
        assert difference.max() < 1e-2
        assert difference.mean() < 1e-5
    for name, gradient, expected in zip(FIELDS, their_gradients, gradients, strict=True):
        assert (gradient - expected).norm() < 5e-3 * expected.norm(), name


@needs_gpu
def test_nothing_to_draw_on_cuda() -> None:
    gaussians, cameras = random_scene(count=4, size=16)
    nothing = Gaussians(**{name: getattr(gaussians, name)[:, :0].cuda() for name in FIELDS})
    assert (render(nothing, cameras.to("cuda"), backend="cuda").rgb == 1).all()
