"""Splatting of trained-like scenes: the fast backend, forward and with gradients, and the reference."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sparsegen.benchmarking.timing import Row, Timing, interleaved
from sparsegen.cameras import Cameras, on_sphere, stack
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render

# Gaussians of one scene, and of the small one that the reference can also draw in reasonable time.
COUNT, SMALL_COUNT = 5120, 640
_PARAMETERS = ("means", "quats", "scales", "opacities", "colors")


def measure(device: torch.device, repeats: int) -> list[Row]:
    """4 scenes x 5 views x 5,120 Gaussians at 128 px; and 1 x 1 x 640 at 64 px against plain PyTorch."""
    full = _candidates(scenes(4, COUNT, device), cameras(4, 5, 128, device), "auto")
    small_scene, small_cameras = scenes(1, SMALL_COUNT, device), cameras(1, 1, 64, device)
    small = _candidates(small_scene, small_cameras, "auto")
    reference = _candidates(small_scene, small_cameras, "reference")
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


def scenes(batch: int, count: int, device: torch.device) -> Gaussians:
    """Trained-like objects: a wobbly shell of Gaussians, sizes log-normal with median 0.02, mostly opaque."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, count, *shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, count, *shape, generator=generator)

    direction = F.normalize(normal(3), dim=-1)
    wobble = torch.sin(4 * direction[..., :1] + 3 * direction[..., 1:2])
    sizes = (0.02 * torch.exp(0.5 * normal(1))).clamp(0.004, 0.1)
    return Gaussians(
        means=direction * (0.35 + 0.1 * wobble + 0.03 * normal(1)),
        quats=F.normalize(normal(4), dim=-1),
        scales=sizes * (0.8 + 0.4 * uniform(3)),
        opacities=0.3 + 0.69 * uniform(),
        colors=uniform(3),
    ).to(device)


def cameras(batch: int, views: int, size: int, device: torch.device) -> Cameras:
    """Cameras at distance 2 around each scene, focal length 1.4 picture widths."""
    azimuth = torch.arange(views) * (2 * math.pi / views) + 0.3 * torch.arange(batch)[:, None]
    elevation = 0.35 * torch.sin(1 + torch.arange(views)).expand(batch, views)
    rings = [on_sphere(a, e, 2.0, size, 1.4 * size) for a, e in zip(azimuth, elevation, strict=True)]
    return stack(rings).to(device)


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
