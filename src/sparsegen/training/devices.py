"""Device and precision of a run, and a model that Fabric can wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.models import SparseGen
from sparsegen.views import Views

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision import Precision

_FIELDS = ("means", "quats", "scales", "opacities", "colors")
_PRECISIONS = ("float32", "bfloat16")


def build_fabric(device: str = "auto", precision: str = "auto") -> Fabric:
    """Lightning Fabric for "auto", "cpu" or "cuda"; precision "auto" is bfloat16 where it is native."""
    from lightning_fabric import Fabric

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={device}: expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: PyTorch finds no CUDA device here; use device=cpu")
    if precision not in ("auto", *_PRECISIONS):
        raise InputError(f"precision={precision}: expected auto, {' or '.join(_PRECISIONS)}")
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    if precision == "auto":
        precision = "bfloat16" if cuda or torch.cpu._is_avx512_bf16_supported() else "float32"
    kind = "cuda" if cuda else "cpu"
    plugin = _autocast(kind) if precision == "bfloat16" else None
    fabric = Fabric(accelerator=kind, devices=1, plugins=plugin)
    fabric.launch()
    return fabric


def _autocast(kind: str) -> Precision:
    """Matrix products in bfloat16, and nothing else."""
    from lightning_fabric.plugins.precision import MixedPrecision

    class Autocast(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data  # a camera rounded to bfloat16 looks past the object

    return Autocast("bf16-mixed", kind)


class TensorModel(nn.Module):
    """The model with tensors in and out, which Fabric and DDP can cast and track: frozen dataclasses not."""

    def __init__(self, model: SparseGen) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        images: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        times: Tensor,
        self_conditioning: Tensor | None,
        queries: int | None,
    ) -> list[dict[str, Tensor]]:
        height, width = images.shape[-2:]
        views = Views(images, Cameras(viewmats, Ks, width, height))
        layers = self.model(views, times, self_conditioning, layers="all", queries=queries)
        return [{name: getattr(g, name) for name in _FIELDS} for g in layers]


def forward(
    wrapped: nn.Module,
    views: Views,
    times: Float[Tensor, "b v"],
    self_conditioning: Tensor | None,
    expansion: int,
    queries: int | None = None,
) -> list[Gaussians]:
    """Run a wrapped `TensorModel`: the Gaussians of every decoder layer, in float32."""
    cameras = views.cameras
    layers = wrapped(views.images, cameras.viewmats, cameras.Ks, times, self_conditioning, queries)
    return [Gaussians(**{k: v.float() for k, v in layer.items()}, expansion=expansion) for layer in layers]
