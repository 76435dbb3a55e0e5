"""`sparsegen eval`: scores on held-out objects, beside what any model must beat."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "score a model on held-out objects, beside baselines"

_EXAMPLES = """\
examples:
  sparsegen eval --data cars_test.pack --objects 50
  sparsegen eval --model runs/cars/weights --data cars_test.pack --gallery cars_gallery.pack -o report
  sparsegen eval --model weights --blind weights_blind --data cars_test.pack --inputs 2

Writes report.md, metrics.json, per_object.csv and objects.png.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--data", type=Path, required=True, help="test set: a packed file or a folder in the SRN layout")
    add("--model", type=Path, help="model folder or the reference's model.pth (default: shipped weights)")
    add("--gallery", type=Path, help="training objects seen by the test cameras, for the two baselines")
    add("--blind", type=Path, metavar="MODEL", help="a model trained with shuffled inputs, tested likewise")
    add("--shuffled-inputs", action="store_true", help="give --model other objects' pictures")
    add("--inputs", type=int, default=1, help="number of input views (default: 1)")
    add("--objects", type=int, metavar="N", help="only the first N objects")
    add("--steps", type=int, default=1, help="Euler steps of the flow (default: 1)")
    add("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    add(
        "--batch-size", type=int, default=8, help="objects at a time; does not change the scores (default: 8)"
    )
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add("--lpips-weights", type=Path, metavar="FILE", help="VGG16 weights (default: torch hub's cache)")
    add("-o", "--output", type=Path, default=Path("report"), help="folder (default: report)")


def run(args: argparse.Namespace) -> None:
    from sparsegen.errors import InputError
    from sparsegen.evaluation import report
    from sparsegen.evaluation.run import Settings
    from sparsegen.evaluation.run import run as run_evaluation

    for name in ("steps", "batch_size"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    settings = Settings(**{k: v for k, v in vars(args).items() if k in Settings.__dataclass_fields__})
    result = run_evaluation(settings)
    print("\n".join([report.table(result), *result.notes, *report.problems(result)]))
    print(f"wrote {settings.output}")
