"""Runs the benchmarks and prints one table."""

from __future__ import annotations

import json
import logging
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from sparsegen.benchmarking import cold, generate, network, splatting, training
from sparsegen.formats.files import atomic_path
from sparsegen.generation import choose_device
from sparsegen.tables import markdown_table
from sparsegen.timing import Row, matrix_rate

log = logging.getLogger(__name__)


@dataclass
class Measured:
    """Everything that one run of the benchmarks found. `rates` are matrix products in GFLOP/s."""

    machine: str
    rates: dict[str, float]
    repeats: int
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def measure(parts: tuple[str, ...], device_name: str, repeats: int, bfloat16: str = "auto") -> Measured:
    """Run the chosen `parts`. `bfloat16` "auto" times it where its matrix rate beats float32's."""
    device = choose_device(device_name)
    rates = {
        name: matrix_rate(dtype, device) / 1e9
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    measured = Measured(_machine(device), rates, repeats)
    if "splatting" in parts:
        log.info("timing splatting")
        measured.rows += splatting.measure(device, repeats)
    if "network" in parts:
        log.info("timing the network")
        use_bfloat16 = bfloat16 == "yes" or (bfloat16 == "auto" and rates["bfloat16"] > rates["float32"])
        rows, remarks = network.measure(device, repeats, use_bfloat16)
        measured.rows += rows
        measured.remarks += remarks
        if not use_bfloat16:
            measured.remarks.append(
                "network: bfloat16 not timed, this machine multiplies matrices no faster in it"
            )
    if "generate" in parts:
        log.info("timing generation")
        measured.rows += generate.measure(device, repeats)
    if "cold" in parts:
        log.info("timing the whole generate command in new processes")
        rows, remarks = cold.measure(device, repeats)
        measured.rows += rows
        measured.remarks += remarks
    if "train" in parts:
        log.info("timing training")
        rows, remarks = training.measure(device, repeats, rates)
        measured.rows += rows
        measured.remarks += remarks
    return measured


def text(measured: Measured) -> str:
    """The table, with the machine and its matrix rates above it."""
    rates = ", ".join(f"{name} {rate:,.1f} GFLOP/s" for name, rate in measured.rates.items())
    rows = [
        [
            row.part,
            row.what,
            *(f"{1000 * s:,.1f}" for s in (row.timing.median, *row.timing.spread)),
            row.ratio,
        ]
        for row in measured.rows
    ]
    lines = [
        measured.machine,
        f"matrix products: {rates}",
        f"milliseconds of {measured.repeats} interleaved runs after warm-up",
        "",
        markdown_table(["part", "what", "median", "fastest", "slowest", "times faster"], rows, left=2),
    ]
    if measured.remarks:
        lines += ["", *measured.remarks]
    return "\n".join(lines)


def write_json(measured: Measured, path: Path) -> None:
    """All the single runs, in seconds."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(measured), indent=2) + "\n")


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {capability}, {torch.get_num_threads()} threads, torch {torch.__version__}"
