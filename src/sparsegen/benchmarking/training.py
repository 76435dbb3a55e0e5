"""Steps of training: how many objects a second, where the time goes, and how far that is from the floor."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sparsegen.cameras import Cameras, orbit
from sparsegen.data.packed import Viewsets
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import Rendering, render
from sparsegen.timing import Row, Timing, interleaved
from sparsegen.training.config import TrainConfig, compose_config
from sparsegen.training.devices import build_fabric
from sparsegen.training.logs import Stopwatch
from sparsegen.training.losses import Renderer
from sparsegen.training.objective import training_renderer
from sparsegen.training.perceptual import perceptual_distance
from sparsegen.training.trainer import PHASES, Trainer

log = logging.getLogger(__name__)

# The presets worth timing where there is no GPU, and where there is one.
PRESETS = {"cpu": ("tiny",), "cuda": ("base", "paper")}
# Objects in the slow way's batch on a CPU, where plain PyTorch takes seconds for each.
SLOW_BATCH = 1
_OBJECTS, _VIEWS = 64, 8


@dataclass(frozen=True)
class Floor:
    """The least that a step can take: its operations at the rate of matrix products, and its bytes.

    Operations are those of the network's matrix products, forward and backward. Bytes are read and
    written once each: pictures for data and losses, pictures and Gaussians for splatting, and weights,
    gradients, moments and averages for the optimizer.
    """

    operations: float
    bytes: dict[str, float]

    def seconds(self, rate: float, bandwidth: float) -> dict[str, float]:
        """By phase, for FLOP/s and bytes/s."""
        return {"network": self.operations / rate, **{k: b / bandwidth for k, b in self.bytes.items()}}


class MatrixOperations(TorchDispatchMode):
    """Counts the operations of all matrix products and convolutions inside, backward passes included.

    PyTorch's own counter also follows modules, which fails where a part of the step needs no gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def measure(device: torch.device, repeats: int, rates: dict[str, float]) -> tuple[list[Row], list[str]]:
    """Rows and remarks for the presets of this device; `rates` are matrix products in GFLOP/s."""
    bandwidth = memory_bandwidth(device)
    rows: list[Row] = []
    remarks = [
        f"train: memory is copied at {bandwidth / 1e9:,.1f} GB/s; made-up pictures and fresh weights",
        "train: a floor is the operations at the matrix rate above, or the bytes at the copying rate",
    ]
    for name in PRESETS[device.type]:
        log.info("timing training steps of %s", name)
        config, remark = recipe(name, device)
        remarks += remark
        with _trainer(config) as trainer:
            precision = "bfloat16" if "bf16" in trainer.fabric.strategy.precision.precision else "float32"
            floor = count_floor(trainer).seconds(1e9 * rates[precision], bandwidth)
            rows += _split(trainer, f"{name}, batch {config.batch_size}, {precision}", floor, repeats)
        rows += _against_slow_way(name, config, device, repeats)
    return rows, remarks


def recipe(name: str, device: torch.device) -> tuple[TrainConfig, list[str]]:
    """The training recipe of a preset; without its perceptual term where no weights are at hand."""
    overrides = [f"model={name}", "data.train=benchmark", "max_steps=1000000", "anchors=model"]
    config = compose_config([*overrides, f"device={device.type}"])
    try:
        perceptual_distance(config.loss)
    except InputError as error:
        loss = replace(config.loss, perceptual=0.0)
        return replace(config, loss=loss), [f"train: {name} without its perceptual loss ({error})"]
    return config, []


def made_up_viewsets(objects: int, size: int) -> Viewsets:
    """Coloured noise inside a disc, seen from all around: what pictures show costs nothing extra."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (objects, _VIEWS, size, size, 4), dtype=np.uint8)
    row, column = np.mgrid[:size, :size] - size / 2
    images[..., 3] = 255 * (row**2 + column**2 < (0.4 * size) ** 2)
    cameras = orbit(_VIEWS, elevation=0.4, size=size).reshape(1, _VIEWS).expand(objects, _VIEWS)
    return Viewsets(images, cameras, [str(i) for i in range(objects)])


def count_floor(trainer: Trainer, steps: int = 4) -> Floor:
    """Mean floor of the first steps, which are those that are timed."""
    config, model = trainer.config, trainer.model
    operations = 0
    for step in range(steps):
        batch = trainer.sampler.batch(step, step * config.batch_size)
        # Counted as plain matrix products: fused attention is not counted everywhere.
        with MatrixOperations() as counter, sdpa_kernel(SDPBackend.MATH):
            loss, _ = trainer.objective(batch, step, Stopwatch(trainer.fabric.device))
            trainer.fabric.backward(loss)
        operations += counter.total
        trainer.optimizer.zero_grad(set_to_none=True)
    views, pixels = config.sampling.views, config.model.image_size**2
    bytes_out = config.batch_size * views * pixels * 4  # one channel of all pictures in float32
    gaussians = 14 * 4 * config.batch_size * model.num_queries * model.expansion
    parameters = sum(p.numel() for p in model.parameters())
    return Floor(
        operations / steps,
        {
            "data": bytes_out * (1 + 4),  # RGBA bytes in, colors and alphas out
            "splatting": 2 * (4 * bytes_out + views * gaussians),
            "losses": 3 * 4 * bytes_out,  # both pictures in, a gradient out
            # Weights, two moments and the average both ways, and the gradient once.
            "optimizer": 4 * parameters * 9,
        },
    )


def memory_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second when a large tensor is copied."""
    count = 2**28 if device.type == "cuda" else 2**24
    source, target = torch.ones(count, device=device), torch.empty(count, device=device)
    timing = interleaved({"copy": lambda: target.copy_(source)}, repeats=5)["copy"]
    return 2 * 4 * count / timing.median


def per_object(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """The reference's way: one call for each object of each layer."""
    parts = [training_renderer(gaussians[[i]], cameras[[i]]) for i in range(len(gaussians.means))]
    return Rendering(torch.cat([p.rgb for p in parts]), torch.cat([p.alpha for p in parts]))


def plain_pytorch(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Splatting without any kernel of its own."""
    return render(gaussians, cameras, backend="reference", depth=False)


def _split(trainer: Trainer, what: str, floor: dict[str, float], repeats: int) -> list[Row]:
    """Whole steps, and their phases with the share of the step and of the floor."""
    timed = [_timed_step(trainer) for _ in range(2 + repeats)][2:]
    whole = Timing(tuple(sum(phases.values()) for phases in timed))
    rows = [Row("train", what, whole, f"{trainer.config.batch_size / whole.median:.2f} objects/s")]
    for phase in PHASES:
        timing = Timing(tuple(phases.get(phase, 0.0) for phases in timed))
        share = sum(timing.seconds) / sum(whole.seconds)
        mean = sum(timing.seconds) / len(timed)
        achieved = floor[phase] / mean if mean else 0.0
        note = f"{share:.1%} of the step; floor {1000 * floor[phase]:,.2f} ms, {achieved:.1%} of it reached"
        rows.append(Row("train", f"{what}: {phase}", timing, note))
    return rows


def _against_slow_way(name: str, config: TrainConfig, device: torch.device, repeats: int) -> list[Row]:
    """The same step with plain PyTorch splatting on a CPU, in the reference's way on CUDA."""
    if device.type == "cuda":
        slow_config, slow_renderer = replace(config, precision="float32"), per_object
        way = "the reference's way"
    else:
        config = replace(config, batch_size=SLOW_BATCH)
        slow_config, slow_renderer, way = config, plain_pytorch, "plain PyTorch splatting"
    with _trainer(config) as ours, _trainer(slow_config, slow_renderer) as slow:
        timings = _in_turns(ours, slow, max(1, repeats // 3), tf32=device.type == "cuda")
    ratio = timings[1].median / timings[0].median
    what = f"{name}, batch {config.batch_size}"
    return [
        Row("train", f"{what}, {way}", timings[1]),
        Row("train", what, timings[0], f"{ratio:.1f} x {way}"),
    ]


def _in_turns(ours: Trainer, slow: Trainer, repeats: int, tf32: bool) -> tuple[Timing, Timing]:
    """Both take the same steps, one after the other, after one each to warm up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + repeats):
        seconds[0].append(sum(_timed_step(ours).values()))
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if tf32 else before)
        try:
            seconds[1].append(sum(_timed_step(slow).values()))
        finally:
            torch.set_float32_matmul_precision(before)
    return Timing(tuple(seconds[0][1:])), Timing(tuple(seconds[1][1:]))


def _timed_step(trainer: Trainer) -> dict[str, float]:
    """Seconds of each phase of one step."""
    trainer.watch = Stopwatch(trainer.fabric.device, synchronize=True)
    trainer.train_step()
    spent = trainer.watch.read()
    return {phase: spent.get(phase, 0.0) for phase in PHASES}


@contextmanager
def _trainer(config: TrainConfig, renderer: Renderer = training_renderer) -> Iterator[Trainer]:
    torch.manual_seed(0)
    data = made_up_viewsets(max(_OBJECTS, config.batch_size), config.model.image_size)
    fabric = build_fabric(config.device, config.precision)
    with tempfile.TemporaryDirectory() as folder:
        yield Trainer(config, config.model.build(), fabric, Path(folder), data, renderer=renderer)
