"""The network as an ONNX file: pictures and cameras to Gaussians in runtimes without PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from sparsegen.cameras import Cameras, orbit
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path
from sparsegen.generation import PLACEHOLDERS
from sparsegen.models import Network
from sparsegen.smoothing import smoothed
from sparsegen.splatting import automatic_backend
from sparsegen.views import Views

INPUTS = ("pictures", "viewmats", "Ks")
OUTPUTS = ("means", "quats", "scales", "opacities", "colors")
# Gaussian parameters of ONNX Runtime and of PyTorch that differ by no more count as the same.
TOLERANCE = 1e-4


class OneStep(nn.Module):
    """One step from a fixed number of clean views of one object, with plain arrays in and out. Objects are
    for pictures of any size, as those of a `Pipeline`.

    `layers` is the network's: "last", or "uncorrected" for the last Gaussians before corrections. Where the
    network needs noise placeholders, their pictures (pure noise, 0.5 + 0.5 eps) and cameras follow
    those of the clean views.
    """

    model: Network
    times: Tensor

    def __init__(self, model: Network, views: int, layers: str = "last") -> None:
        super().__init__()
        self.model = model
        self.layers = layers
        noise = PLACEHOLDERS if model.needs_placeholders else 0
        self.register_buffer("times", torch.tensor([[0.0] * views + [1.0] * noise]))

    def forward(
        self, pictures: Float[Tensor, "v 3 s s"], viewmats: Float[Tensor, "v 4 4"], Ks: Float[Tensor, "v 3 3"]
    ) -> tuple[Tensor, ...]:
        """Means (n, 3), quats (n, 4), scales (n, 3), opacities (n,) and colors (n, 3)."""
        size = self.model.config.image_size
        views = Views(pictures[None], Cameras(viewmats[None], Ks[None], size, size))
        gaussians = smoothed(self.model(views, self.times, layers=self.layers)[-1], size)
        return tuple(getattr(gaussians, name)[0] for name in OUTPUTS)

    def example(self) -> tuple[Tensor, Tensor, Tensor]:
        """Random pictures from cameras all around."""
        count, size = self.times.shape[1], self.model.config.image_size
        cameras = orbit(count, size=size)
        random = torch.Generator().manual_seed(0)
        return torch.rand(count, 3, size, size, generator=random), cameras.viewmats, cameras.Ks


def export_onnx(model: Network, path: Path, views: int = 1, layers: str = "last") -> float | None:
    """Write one step of a network on the CPU from `views` clean views, and compare it with PyTorch's.

    `layers` is what `OneStep` takes. Returns the `difference` of Gaussian parameters, or None where ONNX
    Runtime is not installed. Raises `InputError` if the exporter's libraries are missing or the file cannot
    be written, and RuntimeError, with no file written, if outputs differ by more than `TOLERANCE`.
    """
    if views < 1:
        raise InputError(f"--views: expected at least 1, found {views}")
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise InputError(f"{path}: writing ONNX needs two libraries; pip install 'sparsegen[export]'")
    step = OneStep(model, views, layers).eval()
    with atomic_path(path) as temporary:
        _write(step, temporary)
        found = difference(step, temporary) if find_spec("onnxruntime") else None
        if found is not None and not found <= TOLERANCE:
            raise RuntimeError(f"{path}: not written, its Gaussians would differ by {found:.1e}")
    return found


def difference(step: OneStep, path: Path) -> float:
    """The largest, of a Gaussian parameter that ONNX Runtime and PyTorch compute from the same pictures.

    Of networks that follow slopes it is the median over the Gaussians. On pictures unlike all that they know
    they magnify rounding: a millionth more in a pixel moves one Gaussian here and there by a hundredth, in
    PyTorch too.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = step.example()
    found = session.run(None, {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)})
    with torch.no_grad():
        expected = step(*inputs)
    apart = [(ours - torch.as_tensor(theirs)).abs() for ours, theirs in zip(expected, found, strict=True)]
    follows_slopes = step.layers == "last" and getattr(step.model.config, "slopes", False)
    return max((x.median() if follows_slopes else x.max()).item() for x in apart)


def _translations() -> dict[Any, Callable[..., Any]]:
    """An operator of splatting that the exporter does not know, in ONNX's own."""
    from onnxscript import opset18

    op: Any = opset18  # its methods' types are those of scripts

    def sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        # TopK breaks ties by the lower index, as a stable sort does.
        length = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, length, axis=dim, largest=int(descending), sorted=1)

    return {torch.ops.aten.sort.stable: sort}


def _traced(step: OneStep) -> torch.fx.GraphModule:
    """The step as plain operators. The exporter's own tracing does not follow gradients that a network takes
    inside (`ModelConfig.slopes`); nothing is computed here, only shapes."""
    with torch.no_grad(), automatic_backend("reference"):
        graph = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*step.example())
    step.model.forget_constants()  # they hold no numbers
    return graph


def _write(step: OneStep, path: Path) -> None:
    chatty = logging.getLogger("torch.onnx")
    before = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, of its own parts
            program = torch.onnx.export(
                _traced(step),
                step.example(),
                dynamo=True,
                input_names=INPUTS,
                output_names=OUTPUTS,
                custom_translation_table=_translations(),
                verbose=False,
            )
    finally:
        chatty.setLevel(before)
    assert program is not None
    program.model.producer_name = "sparsegen"
    program.model.metadata_props["expansion"] = str(step.model.expansion)
    program.save(path, external_data=False)
