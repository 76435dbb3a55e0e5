"""Weights, gradients and moments shared out between processes (FSDP), and whole again for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sparsegen.models import Network

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def share_out(model: Network, wrapped: nn.Module, mesh: DeviceMesh) -> None:
    """Leave every process of `mesh` its slice of each layer of a `wrapped` model; layers are made whole one
    by one while they are used."""
    from torch.distributed.fsdp import fully_shard

    for layer in model.repeated_layers():
        fully_shard(layer, mesh=mesh)
    fully_shard(wrapped, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all processes' slices of it together; all processes must ask for it."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: Any) -> Any:
    """The same for the tensors in a state's dictionaries and lists."""
    if isinstance(state, Tensor):
        return whole(state)
    if isinstance(state, Mapping):
        return {key: whole_state(value) for key, value in state.items()}
    return [whole_state(value) for value in state] if isinstance(state, list) else state


def shared_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor shared out as `other` is, if it is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)


def shared_weights(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Whole weights shared out as a model's are."""
    own = model.state_dict()
    return {name: shared_like(value, own.get(name, value)) for name, value in weights.items()}


def shared_moments(state: Mapping[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """An optimizer's whole state shared out as its parameters are."""
    entries = {
        index: {name: shared_like(value, parameters[index]) for name, value in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": entries}
