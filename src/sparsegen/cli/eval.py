"""`sparsegen eval`: scores on held-out objects, beside what any model must beat."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "score a model on held-out objects, beside baselines; compare two reports"

_EXAMPLES = """\
examples:
  sparsegen eval --data cars_test.pack --objects 50
  sparsegen eval --model runs/cars/weights --data cars_test.pack --gallery cars_gallery.pack -o report
  sparsegen eval --model weights --blind weights_blind --data cars_test.pack --inputs 2
  sparsegen eval --data cars_test.pack --beside runs/pixel/weights
  sparsegen eval compare report_before report_after

Writes report.html, report.md, metrics.json, per_object.csv, objects.png and a strip of pictures for every
object. The same command goes on where an interrupted one was.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("--data", type=Path, help="test set: a packed file or a folder of posed pictures")
    add("--model", type=Path, help="model folder or the reference's model.pth (default: shipped weights)")
    add("--gallery", type=Path, help="training objects seen by the test cameras, for the two baselines")
    add("--blind", type=Path, metavar="MODEL", help="a model trained with shuffled inputs, tested likewise")
    add(
        "--beside",
        type=Path,
        nargs="+",
        default=(),
        metavar="MODEL",
        help="other models, each a line of the same tables, such as a pixel-aligned one",
    )
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
    add("--fid-weights", type=Path, metavar="FILE", help="Inception weights (default: torch hub's cache)")
    add("--noise-study", action="store_true", help="also ask what the noise does, over 1, 2, 4 and 8 steps")
    add("-o", "--output", type=Path, default=Path("report"), help="folder (default: report)")
    verbs = parser.add_subparsers(dest="eval_verb", metavar="compare", required=False)
    compare = verbs.add_parser("compare", help="compare two reports' folders")
    compare.add_argument("a", type=Path, metavar="A", help="folder of a report")
    compare.add_argument("b", type=Path, metavar="B", help="folder of another one on the same objects")
    compare.add_argument(
        "-o", "--output", type=Path, default=Path("comparison.html"), help="page (default: comparison.html)"
    )


def run(args: argparse.Namespace) -> None:
    (_compare if args.eval_verb == "compare" else _evaluate)(args)


def _evaluate(args: argparse.Namespace) -> None:
    from sparsegen.errors import InputError
    from sparsegen.evaluation import report
    from sparsegen.evaluation.contestants import Settings
    from sparsegen.evaluation.run import run as run_evaluation

    if args.data is None:
        raise InputError("the following arguments are required: --data; see sparsegen eval --help")
    for name in ("steps", "batch_size"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    settings = Settings(**{k: v for k, v in vars(args).items() if k in Settings.__dataclass_fields__})
    result = run_evaluation(settings)
    print("\n".join([report.table(result), *result.notes, *report.problems(result)]))
    print(f"wrote {settings.output}")


def _compare(args: argparse.Namespace) -> None:
    from sparsegen.evaluation import comparison
    from sparsegen.evaluation.document import to_html, to_markdown
    from sparsegen.formats.files import write_bytes

    document = comparison.document(comparison.load(args.a), comparison.load(args.b))
    write_bytes(args.output, to_html(document).encode())
    print(to_markdown(document))
    print(f"wrote {args.output}")
