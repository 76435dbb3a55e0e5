"""The compiled Triton kernels: for a GPU that need not be here, and on one against the other backends."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import KINDS, random_scene

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_gpu = pytest.mark.skipif(not (HAS_TRITON and torch.cuda.is_available()), reason="needs CUDA and Triton")
JUDGES = ("cpu", *(["cuda"] if importlib.util.find_spec("gsplat") else []))
FIELDS = ("means", "quats", "scales", "opacities", "colors")

_COMPILE = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sparsegen.splatting import triton_binning, triton_layout, triton_projection, triton_raster

TABLES = {
    "*i64": {"order", "keys", "starts"},
    "*i32": {"span_x", "span_y", "bits", "stops", "hits", "firsts"},
    "i32": {"count", "views", "width", "height", "words", "tiles_x", "tiles", "least", "capacity", "total"},
}


def build(kernel, **constants):
    def kind(name):
        return next((t for t, names in TABLES.items() if name in names), "*fp32")

    signature = {name: "constexpr" if name in constants else kind(name) for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    options = {"num_warps": 1, "enable_fp_fusion": True}
    code = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    print(kernel.__name__, len(code.asm["cubin"]))


def build_both(kernel, **constants):
    # For any sizes, and for those of one small picture: Triton takes sizes of 1 for constants.
    build(kernel, **constants)
    ones = ("views", "words", "tiles", "tiles_x", "total")
    build(kernel, **constants, **{name: 1 for name in ones if name in kernel.arg_names})


for with_depth in (False, True):
    left_out = {} if with_depth else {"depth": None}
    build_both(triton_raster.rasterize, WITH_DEPTH=with_depth, **left_out)
    left_out = {} if with_depth else {"depth": None, "g_depth": None}
    build_both(triton_raster.rasterize_backward, WITH_DEPTH=with_depth, **left_out)
    columns = triton_layout.SUM_COLUMNS if with_depth else triton_layout.W_DEPTH.value
    build_both(triton_raster.gather, COLUMNS=columns, BLOCK=32)
build_both(triton_binning.bin_tiles, WORDS=32)
build_both(triton_projection.order_keys, BLOCK=128)
build_both(triton_projection.project, BLOCK=128)
build_both(triton_projection.project_backward, BLOCK=128)
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRITON, reason="needs Triton")
def test_compiles_for_a_gpu_that_is_not_here(tmp_path) -> None:
    """What the interpreter takes need not compile. Triton's wheel holds all that makes machine code."""
    script = tmp_path / "build.py"  # Triton reads the kernels' sources, so they must stand in files
    script.write_text(_COMPILE)
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    result = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 20


def drawn_and_gradients(
    backend: str, kind: str, objects: int, count: int, size: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    gaussians, cameras = random_scene(kind, objects, views=2, count=count, size=size)
    device = "cpu" if backend == "cpu" else "cuda"
    leaves = {name: getattr(gaussians, name).to(device).requires_grad_() for name in FIELDS}
    rendering = render(Gaussians(**leaves), cameras.to(device), backend=backend)
    assert rendering.depth is not None
    pictures = [rendering.rgb, rendering.alpha, rendering.depth * rendering.alpha]
    random = torch.Generator().manual_seed(1)
    weights = [torch.randn(p.shape, generator=random).to(device) for p in pictures]
    gradients = torch.autograd.grad(pictures, list(leaves.values()), weights)
    return [p.detach().cpu() for p in pictures], [g.cpu() for g in gradients]


@needs_gpu
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("objects", "count", "size"), [(3, 5, 64), (3, 2000, 100), (1, 20000, 256)])
def test_agrees_with_other_backends(judge: str, kind: str, objects: int, count: int, size: int) -> None:
    pictures, gradients = drawn_and_gradients("triton", kind, objects, count, size)
    expected, expected_gradients = drawn_and_gradients(judge, kind, objects, count, size)
    for picture, right in zip(pictures[:2], expected[:2], strict=True):
        assert (picture - right).abs().max() < 1e-2
        assert (picture - right).abs().mean() < 1e-5
    for name, gradient, right in zip(FIELDS, gradients, expected_gradients, strict=True):
        assert (gradient - right).norm() < 5e-3 * right.norm(), name


@needs_gpu
def test_same_bytes_in_every_run() -> None:
    first, second = (drawn_and_gradients("triton", "heavy", 4, 3000, 128) for _ in range(2))
    for found, again in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
        assert torch.equal(found, again)


@needs_gpu
def test_the_host_never_waits() -> None:
    """torch refuses whatever makes the host wait, such as reading a count."""
    gaussians, cameras = random_scene(objects=2, views=2, count=500, size=64)
    leaves = {name: getattr(gaussians, name).cuda().requires_grad_() for name in FIELDS}
    cameras = cameras.to("cuda")
    render(Gaussians(**leaves), cameras, backend="triton").rgb.sum().backward()  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        render(Gaussians(**leaves), cameras, backend="triton").rgb.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
