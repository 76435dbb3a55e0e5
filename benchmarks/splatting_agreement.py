"""How far the fast splatting backend is from the float64 reference, as a Markdown table.

    python benchmarks/splatting_agreement.py [--backend cpu|triton|cuda] [--count 5120] [--size 128]

Pictures: absolute differences. Gradients of a random weighing of rgb, alpha and alpha times depth: absolute
differences over the mean absolute gradient, and the norm of the difference over the norm. Single pixels flip
at the contract's cuts (alpha 1/255, transmittance 1e-4), which the largest differences show.
"""

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import KINDS, random_scene

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", default="cpu", choices=["cpu", "triton", "cuda"])
    parser.add_argument("--count", type=int, default=5120, help="Gaussians")
    parser.add_argument("--size", type=int, default=128, help="picture size in pixels")
    args = parser.parse_args()

    print(f"{args.backend} against float64 reference, {args.count} Gaussians, 2 views of {args.size} px\n")
    print("| scene | of | mean | 99 % | 99.9 % | max | relative norm |")
    print("|---|---|---|---|---|---|---|")
    for kind in (*KINDS, "close"):
        gaussians, cameras = scene(kind, args.count, args.size)
        fast = pictures_and_gradients(gaussians, cameras, args.backend)
        exact = pictures_and_gradients(
            gaussians.to(dtype=torch.float64), cameras.to(dtype=torch.float64), "reference"
        )
        for name, expected in exact.items():
            unit = expected.abs().mean() if name in FIELDS else torch.ones(())
            print(row(kind, name, fast[name], expected, float(unit)))


def scene(kind: str, count: int, size: int) -> tuple[Gaussians, Cameras]:
    """A kind of `random_scene`, or "close": the typical one from inside."""
    if kind != "close":
        return random_scene(kind, views=2, count=count, size=size)
    gaussians, cameras = random_scene("typical", views=2, count=count, size=size)
    viewmats = cameras.viewmats.clone()
    viewmats[..., :3, 3] *= 0.1
    return gaussians, replace(cameras, viewmats=viewmats)


def pictures_and_gradients(gaussians: Gaussians, cameras: Cameras, backend: str) -> dict[str, Tensor]:
    device = "cuda" if backend in ("triton", "cuda") and torch.cuda.is_available() else "cpu"
    leaves = {name: getattr(gaussians, name).to(device).requires_grad_() for name in FIELDS}
    rendering = render(Gaussians(**leaves), cameras.to(device), backend=backend)
    assert rendering.depth is not None
    pictures = {
        "rgb": rendering.rgb,
        "alpha": rendering.alpha,
        "alpha x depth": rendering.alpha * rendering.depth,
    }
    random = torch.Generator().manual_seed(1)
    weights = [torch.randn(p.shape, generator=random).to(p) for p in pictures.values()]
    gradients = torch.autograd.grad(list(pictures.values()), list(leaves.values()), weights)
    results = pictures | dict(zip(FIELDS, gradients, strict=True))
    return {name: tensor.detach().cpu().double() for name, tensor in results.items()}


def row(kind: str, name: str, found: Tensor, expected: Tensor, unit: float) -> str:
    difference = (found - expected).abs().flatten() / unit
    quantiles = [difference.kthvalue(max(1, round(q * difference.numel()))).values for q in (0.99, 0.999)]
    numbers = [difference.mean(), *quantiles, difference.max(), (found - expected).norm() / expected.norm()]
    label = f"gradient of {name}" if name in FIELDS else name
    return f"| {kind} | {label} | " + " | ".join(f"{float(x):.1e}" for x in numbers) + " |"


if __name__ == "__main__":
    main()
