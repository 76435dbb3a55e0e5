"""Several short runs that differ in one switch each: what does every part of the method buy?

The paper's Table 3, and networks of fewer anchor queries beside the prefixes of a larger one.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsegen.data.loading import load_viewsets
from sparsegen.errors import InputError
from sparsegen.models import ModelConfig
from sparsegen.models.pretrained import load_state
from sparsegen.tables import markdown_table
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import TrainConfig, compose_config, load_config
from sparsegen.training.objective import training_renderer
from sparsegen.training.run import train
from sparsegen.training.validation import Validator

logger = logging.getLogger(__name__)

FULL = "full"
# Every variant is the full network with one switch.
SWITCHES = {
    FULL: (),
    "flow=off": ("flow=off",),
    "position_encoding=off": ("position_encoding=off",),
    "anchors=fixed_random": ("anchors=fixed_random",),
    "anchor_sampling=off": ("anchor_sampling=off",),
    "symmetric=off": ("model.symmetric=false",),
    "corrections=off": ("model.corrections=0",),
    "feedback=off": ("model.feedback=false", "model.slopes=false"),
    "slopes=off": ("model.slopes=false",),
    "registers=off": ("model.registers=0",),
}
# PSNR of the paper's Table 3, on ShapeNet-SRN cars, as far as its figures are known to us.
PAPER = {FULL: 24.02, "flow=off": 23.07}
# Validations of a run: with the last one, how the order of the variants came about.
_VALIDATIONS = 4


@dataclass(frozen=True)
class Run:
    """One run of the table. `queries` is set where it is a network of so many anchor queries."""

    variant: str
    seed: int
    config: TrainConfig
    queries: int | None = None

    @property
    def folder(self) -> Path:
        return Path(self.config.runs) / self.config.name

    def history(self) -> list[dict[str, float]]:
        """The validations so far, oldest first."""
        path = self.folder / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be half-written
        return [entry for entry in whole if entry["event"] == "validation"]

    def scores(self) -> dict[str, float] | None:
        """The validation after the last step, once the run is finished."""
        history = self.history()
        return history[-1] if history and history[-1]["step"] == self.config.max_steps else None


def plan(
    overrides: Sequence[str], folder: Path, steps: int, seeds: int, queries: Sequence[int] = ()
) -> list[Run]:
    """Every variant with every seed, one seed after the other, and then networks of `queries` queries.

    Those are trained for their number of queries alone. `overrides` are settings of all runs.
    """
    common = [*overrides, f"runs={folder}", f"max_steps={steps}"]
    common.append(f"validation.every_steps={max(1, steps // _VALIDATIONS)}")

    def run(variant: str, switches: Sequence[str], seed: int, count: int | None = None) -> Run:
        name = f"{variant.replace('=', '_')}_{seed}"
        return Run(variant, seed, compose_config([*common, *switches, f"seed={seed}", f"name={name}"]), count)

    runs = [run(name, switches, seed) for seed in range(seeds) for name, switches in SWITCHES.items()]
    for count in queries:
        switches = (f"num_queries={count}", "elastic_probability=0")
        runs.append(run(f"num_queries={count}", switches, 0, count))
    return runs


def carry_out(runs: Sequence[Run]) -> None:
    """Train what is not finished; an interrupted run goes on where it was.

    `KeyboardInterrupt` where a signal ends a run; `InputError` where a folder holds a run of other settings.
    A run that fails is told and left out: it costs its own line of the table only.
    """
    for number, run in enumerate(runs, 1):
        kept = run.folder / "config.yaml"
        if kept.exists() and load_config(kept) != run.config:
            raise InputError(
                f"{run.folder}: holds a run of other settings; choose another folder, or remove it"
            )
        if run.scores() is not None:
            continue
        logger.info("run %d of %d: %s, seed %d", number, len(runs), run.variant, run.seed)
        try:
            ended = train(run.config)
        except InputError as error:
            logger.warning("%s, seed %d: %s", run.variant, run.seed, error)
            continue
        if ended != "finished":
            raise KeyboardInterrupt(ended)


def ablation_table(runs: Sequence[Run]) -> str:
    """A line for each variant: means over the seeds that are finished, and standard deviations.

    "Against full" is the mean of the differences to the full network with the same seed.
    """
    full = {run.seed: scores for run, scores in _finished(runs) if run.variant == FULL}
    rows = []
    for variant in SWITCHES:
        some = {run.seed: scores for run, scores in _finished(runs) if run.variant == variant}
        loss = [some[seed]["psnr"] - full[seed]["psnr"] for seed in some if seed in full]
        psnr = PAPER.get(variant)
        rows.append([
            variant, str(len(some)),
            _spread([s["psnr"] for s in some.values()]),
            _spread(loss, sign="+") if variant != FULL else "",
            _spread([s["gap"] for s in some.values() if "gap" in s]),
            "not known" if psnr is None else f"{psnr:.2f}",
        ])  # fmt: skip
    header = ["variant", "seeds", "PSNR", "against full", "input gap", "paper's PSNR"]
    return markdown_table(header, rows)


def ordering(runs: Sequence[Run]) -> str:
    """The variants by PSNR, best first, and whose distance to the full network is within the seeds' chance.

    Chance: less than two standard errors of the paired differences.
    """
    scores: dict[str, dict[int, float]] = {}
    for run, found in _finished(runs):
        if run.queries is None:
            scores.setdefault(run.variant, {})[run.seed] = found["psnr"]
    order = sorted(scores, key=lambda name: -statistics.mean(scores[name].values()))
    full, unclear = scores.get(FULL, {}), []
    for name in order:
        loss = [value - full[seed] for seed, value in scores[name].items() if seed in full]
        if name == FULL:
            continue
        if len(loss) < 2 or abs(statistics.mean(loss)) < 2 * statistics.stdev(loss) / len(loss) ** 0.5:
            unclear.append(name)
    text = " > ".join(order) or "nothing is finished"
    return f"{text}. Not told apart from full: {', '.join(unclear) or 'none'}."


def query_table(runs: Sequence[Run]) -> str:
    """Networks trained with fewer anchor queries, and the same prefixes of the full network with seed 0.

    Both have seen the same objects in the same number of steps.
    """
    separate = {run.queries: scores["psnr"] for run, scores in _finished(runs) if run.queries is not None}
    full = next((run for run, _ in _finished(runs) if run.variant == FULL and run.seed == 0), None)
    network = None if full is None else full.config.model
    most = network.num_queries if isinstance(network, ModelConfig) else 0
    counts = sorted({run.queries for run in runs if run.queries is not None})
    prefixes = {} if full is None else prefix_psnr(full, [count for count in counts if count <= most])

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    rows = [[str(count), cell(prefixes.get(count)), cell(separate.get(count))] for count in counts]
    return markdown_table(["queries", f"prefix of {most}", "trained separately"], rows, left=0)


def prefix_psnr(run: Run, counts: Sequence[int]) -> dict[int, float]:
    """PSNR of one view with only the first queries of a finished run's last averaged weights."""
    path = CheckpointFolder(run.folder / "checkpoints").latest()
    if path is None or run.config.data.val is None or not counts:
        return {}
    model = run.config.model.build().eval()
    load_state(model, load_checkpoint(path)["ema"]["model"], path)
    validator = Validator(load_viewsets(run.config.data.val), run.config.validation)
    return {count: validator.scores(model, training_renderer, count).psnr for count in counts}


def record(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Every run with all its validations, for a file."""
    return [{"variant": run.variant, "seed": run.seed, "validations": run.history()} for run in runs]


def _finished(runs: Sequence[Run]) -> Iterator[tuple[Run, dict[str, float]]]:
    for run in runs:
        scores = run.scores()
        if scores is not None:
            yield run, scores


def _spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):{sign}.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean
