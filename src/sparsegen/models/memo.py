"""Results of a network's parts that are the same from call to call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Memo:
    """Remembers the last result of a function of weights and inputs while no gradient is asked for.

    Query embeddings never change between calls and camera encodings seldom do: computing them again is a
    tenth of the reference's work.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._inputs: tuple[_Seen, ...] = ()
        self._value: Tensor | None = None

    def __call__(
        self, module: nn.Module, inputs: tuple[Tensor, ...], compute: Callable[[], Tensor]
    ) -> Tensor:
        if torch.is_grad_enabled():
            return compute()
        # In-place changes raise a parameter's version; casts and moves change its type or address.
        key = (
            torch.is_autocast_enabled(inputs[0].device.type),
            *((p.data_ptr(), _version(p), p.dtype) for p in module.parameters()),
        )
        same = key == self._key and all(map(_same, inputs, self._inputs))
        if self._value is None or not same:
            self._value = compute()
            self._key, self._inputs = key, tuple(_Seen(x, _version(x), x.detach().clone()) for x in inputs)
        return self._value


class _Seen(NamedTuple):
    """An input of before: the tensor, its version then, and what it held."""

    tensor: Tensor
    version: int | None
    held: Tensor


def _version(x: Tensor) -> int | None:
    """What counts its changes in place; None where nothing does."""
    return None if x.is_inference() else x._version


def _same(now: Tensor, before: _Seen) -> bool:
    if now is before.tensor and before.version is not None and before.version == _version(now):
        return True  # without reading it, for which a GPU would have to be waited for
    a, b = now, before.held
    return a.shape == b.shape and a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
