"""A network made ready for the processor that it runs on: its weights as matrix products read them fastest.

PyTorch gives float32 products to MKL, which on AMD's processors with AVX-512 reaches half the rate of oneDNN.
So there the weights of every linear layer are laid out for oneDNN, once. Where the processor multiplies
bfloat16 natively, the layers that do most of the work can multiply in it. Sums, normalisations, modulation,
geometry, heads and corrections stay in float32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.models.layers import Modulation
from sparsegen.models.network import Network

PRECISIONS = ("auto", "float32", "bfloat16")
# Tokens narrower than this gain too little from bfloat16.
_WIDE = 256


class FoldedLinear(nn.Module):
    """A linear layer for inference, multiplying in `dtype`; what comes out is of that type.

    Its parameters are still there for who reads them, but changing them changes nothing.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias, self.dtype = layer.weight, layer.bias, dtype
        self._onednn = has_fast_onednn(layer.weight.device)
        self._bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        self._folded = layer.weight.detach().to(dtype)
        if self._onednn:
            self._folded = torch.ops.mkldnn._reorder_linear_weight(self._folded, None)

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
        operands = (x.to(self.dtype), self._folded, self._bias)
        if self._onednn:
            return torch.ops.mkldnn._linear_pointwise(*operands, "none", [], "")
        return F.linear(*operands)


def fold(model: Network, precision: str = "auto") -> Network:
    """The network, changed in place, for inference alone; as it was where folding gains nothing.

    `precision` is that of the layers which do most of the work: "float32", "bfloat16", or "auto" for
    `auto_precision`. `InputError` for any other.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: expected auto, float32 or bfloat16")
    if precision == "bfloat16" or (precision == "auto" and auto_precision(model) == "bfloat16"):
        for layer in model.repeated_layers():
            _replace_linear(layer, torch.bfloat16, but=Modulation)
    if has_fast_onednn(model.device):
        _replace_linear(model, torch.float32)
    return model


def auto_precision(model: Network) -> str:
    """bfloat16 for wide networks on processors that multiply it natively, else float32."""
    return "bfloat16" if model.width >= _WIDE and bfloat16_pays(model.device) else "float32"


def precision_of(model: Network) -> str:
    """What the layers that do most of the work multiply in."""
    low = any(isinstance(m, FoldedLinear) and m.dtype == torch.bfloat16 for m in model.modules())
    return "bfloat16" if low else "float32"


def has_fast_onednn(device: torch.device) -> bool:
    """Whether to multiply by oneDNN, which on AMD's processors with AVX-512 is faster than MKL."""
    capability = torch.backends.cpu.get_cpu_capability()
    # PyTorch's compiler uses these operations; they are no part of its documented interface.
    there = all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
    return device.type == "cpu" and capability == "AVX512" and torch.backends.mkldnn.is_available() and there


def bfloat16_pays(device: torch.device) -> bool:
    """Whether folded layers multiply bfloat16 matrices faster than float32 ones."""
    return has_fast_onednn(device) and native_bfloat16(device.type)


def native_bfloat16(device_type: str) -> bool:
    """Whether this machine's "cpu" or "cuda" device multiplies bfloat16 matrices itself; of CUDA devices, the
    current one."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu.get_capabilities().get("avx512_bf16", False)


def _replace_linear(module: nn.Module, dtype: torch.dtype, but: type[nn.Module] | None = None) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            module.set_submodule(name, FoldedLinear(child, dtype))
        elif but is None or not isinstance(child, but):
            _replace_linear(child, dtype, but)
