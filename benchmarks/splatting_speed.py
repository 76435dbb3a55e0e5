"""How many times faster the fast splatting backend is than plain PyTorch, as a Markdown table.

    python benchmarks/splatting_speed.py [--objects 4] [--views 5] [--count 5120] [--size 128] [--repeats 5]

Candidates take turns and medians are compared, so that a machine whose speed drifts slows all of them. The
plain PyTorch reference draws one picture, and its time is multiplied by their number.
"""

import argparse
from collections.abc import Callable

import torch

from sparsegen.benchmarking.timing import interleaved
from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import KINDS, random_scene

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("objects", 4), ("views", 5), ("count", 5120), ("size", 128), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    pictures = args.objects * args.views

    print(
        f"{pictures} pictures of {args.size} px in a call, {args.count} Gaussians an object; milliseconds\n"
    )
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
