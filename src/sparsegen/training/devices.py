"""Devices, processes and precision of a run, and a model that Fabric can wrap."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsegen.cameras import Cameras
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.models import Network
from sparsegen.models.folding import native_bfloat16
from sparsegen.training.sharding import share_out
from sparsegen.views import Views

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.precision import Precision
    from torch.distributed.device_mesh import DeviceMesh

_FIELDS = ("means", "quats", "scales", "opacities", "colors")
_PRECISIONS = ("float32", "bfloat16")
_STRATEGIES = ("auto", "ddp", "fsdp")
# What gloo, NCCL and the store say when the process at the other end has gone.
_LOST_PEER = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "TCPStore", "recvValue")

# Warnings of what several processes do: gradients of 1 x 1 convolutions in another memory layout, and
# Fabric's own way of gathering.
_HARMLESS = ("Grad strides do not match bucket view strides", "torch.distributed.nn.functional.all_gather")


def build_fabric(
    device: str = "auto",
    precision: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    nodes: int = 1,
    idle_parameters: bool = False,
) -> Fabric:
    """Lightning Fabric for "auto", "cpu" or "cuda", launched; precision "auto" is bfloat16 where native.

    `devices` processes on each of `nodes` machines share one batch: they are started here as copies of this
    command, or are there already under `torchrun`. Each holds the whole network ("ddp") or a slice of it
    ("fsdp"). They must know if steps leave `idle_parameters` without a gradient.
    """
    from lightning_fabric import Fabric

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device={device}: expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: PyTorch finds no CUDA device here; use device=cpu")
    if precision not in ("auto", *_PRECISIONS):
        raise InputError(f"precision={precision}: expected auto, {' or '.join(_PRECISIONS)}")
    if strategy not in _STRATEGIES:
        raise InputError(f"strategy={strategy}: expected auto, ddp or fsdp")
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    devices, nodes = _world(devices, nodes)
    if cuda and devices > torch.cuda.device_count():
        raise InputError(f"devices={devices}: PyTorch finds {torch.cuda.device_count()} CUDA devices here")
    kind = "cuda" if cuda else "cpu"
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(kind) else "float32"
    plugin = _autocast(kind) if precision == "bfloat16" else None
    chosen: Any = "auto"
    if strategy == "fsdp":
        chosen = _fsdp(devices * nodes)
    elif strategy == "ddp" or devices * nodes > 1:
        chosen = _ddp(idle_parameters)
    if chosen != "auto":
        for harmless in _HARMLESS:
            warnings.filterwarnings("ignore", harmless)
    fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy=chosen, plugins=plugin)
    fabric.launch()
    return fabric


def _world(devices: int, nodes: int) -> tuple[int, int]:
    """Processes a machine, and machines: as `torchrun` has started them, else as asked for."""
    if devices < 1 or nodes < 1:
        raise InputError(f"devices={devices} nodes={nodes}: expected at least 1 of each")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return devices, nodes
    started = int(os.environ["LOCAL_WORLD_SIZE"])
    if devices not in (1, started):
        raise InputError(
            f"devices={devices}: torchrun has started {started} processes here; "
            f"use --nproc-per-node={devices} or leave devices out"
        )
    return started, int(os.environ["WORLD_SIZE"]) // started


def _ddp(idle_parameters: bool) -> Any:
    from lightning_fabric.strategies.ddp import DDPStrategy

    return DDPStrategy(find_unused_parameters=idle_parameters)


def _fsdp(processes: int) -> Any:
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    def share(wrapped: TensorModel, mesh: DeviceMesh) -> TensorModel:
        share_out(wrapped.model, wrapped, mesh["data_parallel"])
        return wrapped

    return ModelParallelStrategy(share, data_parallel_size=processes, tensor_parallel_size=1)


def _autocast(kind: str) -> Precision:
    """Matrix products in bfloat16, and nothing else."""
    from lightning_fabric.plugins.precision import MixedPrecision

    class Autocast(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data  # a camera rounded to bfloat16 looks past the object

    return Autocast("bf16-mixed", kind)


def largest(fabric: Fabric, *values: float) -> list[float]:
    """The largest of each value over all processes: how they agree on what to do next."""
    if fabric.world_size == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    result = fabric.all_reduce(tensor, reduce_op="max")
    assert isinstance(result, Tensor)
    return result.tolist()


def gather_random_states(fabric: Fabric) -> dict[str, list[Tensor]]:
    """Every process's random state, by rank."""
    states = {"rng": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        states["cuda_rng"] = torch.cuda.get_rng_state(fabric.device)
    gathered = {name: fabric.all_gather(state) for name, state in states.items()}
    split = {
        name: list(all_ranks.cpu().reshape(fabric.world_size, -1))  # type: ignore[union-attr]
        for name, all_ranks in gathered.items()
    }
    return {"cuda_rng": [], **split}


def set_random_states(fabric: Fabric, state: dict[str, Any], fresh_seed: Sequence[int]) -> None:
    """This process's random state of `gather_random_states`; a rank that had none gets a fresh one."""
    import numpy as np

    rank = fabric.global_rank
    on_cpu = [state["rng"]] if isinstance(state["rng"], Tensor) else state["rng"]
    if rank < len(on_cpu):
        torch.set_rng_state(on_cpu[rank].clone())  # which PyTorch reads past a view's end
    else:
        torch.manual_seed(int(np.random.default_rng((*fresh_seed, rank)).integers(2**62)))
    if fabric.device.type == "cuda" and rank < len(state["cuda_rng"]):
        torch.cuda.set_rng_state(state["cuda_rng"][rank], fabric.device)


@contextmanager
def lost_peers(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Turns the errors that follow another process's end into one line."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or any(s in str(error) for s in _LOST_PEER)
        if fabric.world_size == 1 or not lost:
            raise
        raise InputError(
            f"{folder}: another process of this run has ended (this is process {fabric.global_rank} of "
            f"{fabric.world_size}); the last checkpoint is whole, the same command continues from it"
        ) from error


def leave_together(fabric: Fabric) -> None:
    """Waits for the other processes, if there are any, and takes leave of them.

    A thread of gloo that still holds a tensor when Python ends would abort its process; after a barrier
    none does.
    """
    if fabric.world_size > 1:
        fabric.barrier()
        torch.distributed.destroy_process_group()


class TensorModel(nn.Module):
    """The model with tensors in and out, which Fabric and DDP can cast and track: frozen dataclasses not."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        images: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        times: Tensor,
        self_conditioning: Tensor | None,
        layers: str,
        queries: int | None,
    ) -> list[dict[str, Tensor]]:
        height, width = images.shape[-2:]
        views = Views(images, Cameras(viewmats, Ks, width, height))
        results = self.model(views, times, self_conditioning, layers=layers, queries=queries)
        return [{name: getattr(g, name) for name in _FIELDS} for g in results]


def forward(
    wrapped: nn.Module,
    views: Views,
    times: Float[Tensor, "b v"],
    self_conditioning: Tensor | None,
    expansion: int,
    layers: str = "all",
    queries: int | None = None,
) -> list[Gaussians]:
    """Run a wrapped `TensorModel`: the Gaussians of the last decoder layer or of "all", in float32."""
    cameras = views.cameras
    results = wrapped(views.images, cameras.viewmats, cameras.Ks, times, self_conditioning, layers, queries)
    return [Gaussians(**{k: v.float() for k, v in r.items()}, expansion=expansion) for r in results]
