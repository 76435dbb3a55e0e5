"""How many times faster the fast splatting backend is than plain PyTorch, as a Markdown table.

    python benchmarks/splatting_speed.py [--objects 4] [--views 5] [--count 5120] [--size 128] [--repeats 5]
    python benchmarks/splatting_speed.py --device cuda --objects 16      Triton against gsplat

Candidates take turns and medians are compared, so that a machine whose speed drifts slows all of them. The
plain PyTorch reference draws one picture, and its time is multiplied by their number.
"""

import argparse
import time
from collections.abc import Callable

import torch

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import KINDS, random_scene
from sparsegen.timing import interleaved

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("objects", 4), ("views", 5), ("count", 5120), ("size", 128), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    pictures = args.objects * args.views
    print(
        f"{pictures} pictures of {args.size} px in a call, {args.count} Gaussians an object; milliseconds\n"
    )
    if args.device == "cuda":
        against_gsplat(args)
    else:
        against_pytorch(args, pictures)


def against_pytorch(args: argparse.Namespace, pictures: int) -> None:
    print("| scene | what | plain PyTorch | fast | with depth | fast is faster by |")
    print("|---|---|---|---|---|---|")
    for kind in KINDS:
        scene = random_scene(kind, args.objects, args.views, args.count, args.size)
        gaussians, cameras = scene
        single = gaussians[:1], cameras[:1, :1]
        for what, backward in (("forward", False), ("forward + backward", True)):
            candidates = {
                "plain": candidate(*single, "reference", backward),
                "fast": candidate(*scene, "auto", backward),
                "depth": candidate(*scene, "auto", backward, depth=True),
            }
            timings = interleaved(candidates, args.repeats, warmup=1)
            plain, fast, depth = (1e3 * timings[name].median for name in candidates)
            plain *= pictures
            print(f"| {kind} | {what} | {plain:.0f} | {fast:.1f} | {depth:.1f} | {plain / fast:.0f} x |")


def against_gsplat(args: argparse.Namespace) -> None:
    """Both draw all pictures in one call. The first call of Triton also compiles what is not cached yet."""
    print("| scene | what | gsplat | Triton | with depth | Triton is faster by | slowest first call |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        gaussians, cameras = random_scene(kind, args.objects, args.views, args.count, args.size)
        scene = gaussians.to("cuda"), cameras.to("cuda")
        for what, backward in (("forward", False), ("forward + backward", True)):
            candidates = {
                "gsplat": candidate(*scene, "cuda", backward),
                "triton": candidate(*scene, "triton", backward),
                "depth": candidate(*scene, "triton", backward, depth=True),
            }
            first = max(seconds_of(candidates[name]) for name in ("triton", "depth"))
            timings = interleaved(candidates, args.repeats, warmup=3)
            gsplat, triton, depth = (1e3 * timings[name].median for name in candidates)
            row = (kind, what, f"{gsplat:.2f}", f"{triton:.2f}", f"{depth:.2f}", f"{gsplat / triton:.2f} x")
            print(f"| {' | '.join(row)} | {first:.1f} s |")


def seconds_of(run: Callable[[], None]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def candidate(
    gaussians: Gaussians, cameras: Cameras, backend: str, backward: bool, depth: bool = False
) -> Callable[[], None]:
    leaves = {name: getattr(gaussians, name).clone().requires_grad_(backward) for name in FIELDS}
    trainable = Gaussians(**leaves)

    def run() -> None:
        rendering = render(trainable, cameras, backend=backend, depth=depth)
        if backward:
            loss = rendering.rgb.square().sum() + rendering.alpha.square().sum()
            if rendering.depth is not None:
                loss = loss + rendering.depth.square().sum()
            torch.autograd.grad(loss, list(leaves.values()))

    return run


if __name__ == "__main__":
    main()
