"""Splatting of trained-like scenes: the fast backend, forward and with gradients, and the reference."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sparsegen.cameras import Cameras
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import random_scene
from sparsegen.timing import Row, Timing, interleaved

# Gaussians of one scene, and of the small one that the reference can also draw in reasonable time.
COUNT, SMALL_COUNT = 5120, 640
_PARAMETERS = ("means", "quats", "scales", "opacities", "colors")


def measure(device: torch.device, repeats: int) -> list[Row]:
    """4 scenes x 5 views x 5,120 Gaussians at 128 px; and 1 x 1 x 640 at 64 px against plain PyTorch."""
    gaussians, cameras = random_scene(objects=4, views=5, count=COUNT, size=128)
    full = _candidates(gaussians.to(device), cameras.to(device), "auto")
    gaussians, cameras = random_scene(count=SMALL_COUNT, size=64)
    small = _candidates(gaussians.to(device), cameras.to(device), "auto")
    reference = _candidates(gaussians.to(device), cameras.to(device), "reference")
    rows = [
        Row("splatting", f"4 x 5 x {COUNT} Gaussians, 128 px, {what}", timing)
        for what, timing in interleaved(full, repeats).items()
    ]
    for what in small:
        pair = interleaved({"fast": small[what], "reference": reference[what]}, repeats)
        setting = f"1 x 1 x {SMALL_COUNT} Gaussians, 64 px, {what}"
        rows.append(Row("splatting", f"{setting}, plain PyTorch", pair["reference"]))
        rows.append(Row("splatting", setting, pair["fast"], _times(pair["reference"], pair["fast"])))
    return rows


def _candidates(
    gaussians: Gaussians, cameras: Cameras, backend: str
) -> dict[str, Callable[[], Float[Tensor, "*batch v 3 h w"]]]:
    leaves = {name: getattr(gaussians, name).clone().requires_grad_() for name in _PARAMETERS}
    trainable = Gaussians(**leaves)

    @torch.no_grad()
    def forward() -> Tensor:
        return render(gaussians, cameras, backend=backend, depth=False).rgb

    def forward_backward() -> Tensor:
        rendering = render(trainable, cameras, backend=backend, depth=False)
        loss = rendering.rgb.square().sum() + rendering.alpha.square().sum()
        torch.autograd.grad(loss, list(leaves.values()))
        return rendering.rgb

    return {"forward": forward, "forward + backward": forward_backward}


def _times(slow: Timing, fast: Timing) -> str:
    return f"{slow.median / fast.median:.1f} x plain PyTorch"
