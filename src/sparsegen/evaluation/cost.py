"""What one object costs: primitives, bytes as stored, and time from pictures to Gaussians."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sparsegen.data.packed import Viewsets
from sparsegen.data.protocols import Protocol
from sparsegen.evaluation.document import Bullets, Section, Table
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.tasks import make_task
from sparsegen.formats.gaussian_files import save_gaussians
from sparsegen.gaussians import Gaussians
from sparsegen.timing import interleaved

REPEATS, WARMUP = 9, 2
# Objects whose files are measured: only SPZ, which is compressed, differs between them.
OBJECTS = 5
# means, quats, scales, opacity and color
_FLOATS = 3 + 4 + 3 + 1 + 3
_KILOBYTE = 1024

NOTES = (
    f"KB: 1024 bytes; float32: {_FLOATS} numbers a Gaussian; files: medians over at most {OBJECTS} objects",
    "milliseconds: one object alone, from its pictures to its Gaussians; "
    f"median of {REPEATS} runs after {WARMUP} to warm up",
)


@dataclass(frozen=True)
class Cost:
    """Sizes in KB of 1024 bytes, medians over objects; seconds of a single object, median of repeats.

    `queries` is the number of anchor queries that the primitives came from, 0 for a network without any.
    """

    queries: int
    primitives: int
    float32_kb: float
    ply_kb: float
    spz_kb: float
    seconds: float
    device: str


def measure(
    predictors: Mapping[str, Generated],
    viewsets: Viewsets,
    protocol: Protocol,
    ids: Sequence[int],
    seed: int,
) -> dict[str, Cost]:
    """Costs of the objects `ids`, of which the first is timed, by all predictors in turns, and the first few
    are stored."""
    tasks = [make_task(viewsets, protocol, [i], [i], seed) for i in ids[:OBJECTS]]
    candidates = {name: partial(predictor.generate, tasks[0]) for name, predictor in predictors.items()}
    timings = interleaved(candidates, REPEATS, WARMUP)
    found = {}
    for name, predictor in predictors.items():
        objects = [predictor.generate(task)[0] for task in tasks]
        found[name] = Cost(
            queries=objects[0].count // objects[0].expansion if predictor.pipeline.model.num_queries else 0,
            primitives=objects[0].count,
            float32_kb=objects[0].count * _FLOATS * 4 / _KILOBYTE,
            ply_kb=statistics.median(_stored(gaussians, ".ply") for gaussians in objects),
            spz_kb=statistics.median(_stored(gaussians, ".spz") for gaussians in objects),
            seconds=timings[name].median,
            device=predictor.pipeline.device.type,
        )
    return found


def section(costs: Mapping[str, Cost]) -> Section:
    """The paper's columns of tables 1, 2, 4 and 8 beside quality, a line for each model."""
    device = next(iter(costs.values())).device
    table = Table(["", *header(device)], [[name, *cells(cost)] for name, cost in costs.items()])
    return Section("Size and time", [table, Bullets(NOTES)])


def header(device: str) -> list[str]:
    """What `cells` are."""
    return ["primitives", "float32, KB", "PLY, KB", "SPZ, KB", f"milliseconds ({device})"]


def cells(cost: Cost) -> list[str]:
    sizes = (f"{kb:.1f}" for kb in (cost.float32_kb, cost.ply_kb, cost.spz_kb))
    return [f"{cost.primitives}", *sizes, f"{1000 * cost.seconds:.0f}"]


def _stored(gaussians: Gaussians, suffix: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"object{suffix}"
        save_gaussians(path, gaussians)
        return path.stat().st_size / _KILOBYTE
