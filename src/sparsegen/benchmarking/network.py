"""The network alone: one step of the `paper` preset our way against the reference's way of doing it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsegen.cameras import orbit
from sparsegen.gaussians import Gaussians
from sparsegen.models import Network, SparseGen
from sparsegen.models.folding import auto_precision, fold
from sparsegen.models.presets import paper
from sparsegen.splatting import render
from sparsegen.timing import Row, interleaved
from sparsegen.views import Views

# Largest difference of a Gaussian parameter that counts as the same output in float32.
SAME_OUTPUT = 2e-5
_PARAMETERS = ("means", "quats", "scales", "opacities", "colors")


def measure(device: torch.device, repeats: int, bfloat16: bool) -> tuple[list[Row], list[str]]:
    """One clean and three noised views through the `paper` preset; rows and remarks.

    Raises RuntimeError if our way gives other Gaussians than the reference's.
    """
    ours = paper_model(device)
    inputs, times = step_inputs(ours.config.image_size, device)

    reference = functools.partial(reference_way, ours, inputs, times)
    expected = reference()
    folded = {
        name: fold(copy.deepcopy(ours), name) for name in ("float32", *(["bfloat16"] if bfloat16 else []))
    }
    our_way(folded["float32"], inputs, times)
    found = our_way(folded["float32"], inputs, times)  # the second time, with what the first has left behind
    difference = _largest_difference(expected, found)
    if not difference < SAME_OUTPUT:
        raise RuntimeError(f"the faster way changes the Gaussians by {difference:.1e}; no timing is printed")
    candidates: dict[str, Callable[[], object]] = {"reference": reference}
    for name, model in folded.items():
        candidates[name] = functools.partial(our_way, model, inputs, times)
    remarks = [
        f"network: largest difference of a Gaussian parameter, ours and the reference's way {difference:.1e}",
        f"network: a pipeline takes {auto_precision(ours)} here",
    ]
    if bfloat16:
        remarks.append(_bfloat16_change(expected, our_way(folded["bfloat16"], inputs, times), inputs))
    timings = interleaved(candidates, repeats)
    base = timings["reference"].median
    rows = [Row("network", "paper, float32, the reference's way", timings["reference"])]
    for name in folded:
        ratio = f"{base / timings[name].median:.2f} x the reference's way"
        rows.append(Row("network", f"paper, {name}", timings[name], ratio))
    return rows, remarks


@torch.inference_mode()
def reference_way(model: Network, inputs: Views, times: Tensor) -> Gaussians:
    """One step as the reference takes it: every layer's head decoded, every constant computed again."""
    model.forget_constants()
    return model(inputs, times, layers="all")[-1]


@torch.inference_mode()
def our_way(model: Network, inputs: Views, times: Tensor) -> Gaussians:
    """One step as the pipeline takes it, of a folded network: the last layer's head, constants remembered."""
    return model(inputs, times)[-1]


def paper_model(device: torch.device) -> SparseGen:
    """The `paper` preset with random weights at a trained network's scale, frozen, in eval mode.

    As initialised, its gates are zero and most of it would not reach the output.
    """
    torch.manual_seed(0)
    model = SparseGen(paper())
    for module in _products(model):
        nn.init.normal_(module.weight, std=1 / math.sqrt(module.weight[0].numel()))
    return model.to(device).eval().requires_grad_(False)


def step_inputs(size: int, device: torch.device) -> tuple[Views, Tensor]:
    """A clean view and three of pure noise around one object, with their times."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 4, 3, size, size, generator=generator)
    views = Views(images, orbit(4, size=size).reshape(1, 4)).to(device)
    return views, torch.tensor([[0.0, 1.0, 1.0, 1.0]], device=device)


def _products(module: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """The layers that are matrix products."""
    return [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def _largest_difference(a: Gaussians, b: Gaussians) -> float:
    return max((getattr(a, name) - getattr(b, name)).abs().max().item() for name in _PARAMETERS)


def _bfloat16_change(expected: Gaussians, found: Gaussians, inputs: Views) -> str:
    found = found.to(dtype=torch.float32)
    changes = ", ".join(
        f"{name} {(getattr(expected, name) - getattr(found, name)).abs().mean().item():.1e}"
        for name in ("means", "scales", "opacities", "colors")
    )
    with torch.no_grad():
        before, after = (render(g, inputs.cameras, depth=False).rgb for g in (expected, found))
    decibels = -10 * math.log10((before - after).square().mean().item())
    return f"network: bfloat16 changes on average {changes}; its renders match float32's at {decibels:.1f} dB"
