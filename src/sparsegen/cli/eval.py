"""`sparsegen eval`: scores on held-out objects, beside what any model must beat."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "score a model on held-out objects, beside baselines; compare two reports"

_EXAMPLES = """\
examples:
  sparsegen eval --data cars_test.pack --objects 50
  sparsegen eval --model runs/cars/weights --data cars_test.pack --gallery cars_gallery.pack -o report
  sparsegen eval --model weights --blind weights_blind --data cars_test.pack --inputs 2
  sparsegen eval --data cars_test.pack --queries 16 32 64 128
  torchrun --nproc-per-node=8 -m sparsegen eval --data cars_test.pack
  sparsegen eval --data cars_test.pack --beside runs/pixel/weights small=runs/run-2/weights
  sparsegen eval compare report_before report_after
  sparsegen eval compare full=report_a full=report_b small=report_c

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
        nargs="+",
        default=(),
        metavar="[NAME=]MODEL",
        help="other models, each a line of the same tables, and how they differ from the model",
    )
    add("--shuffled-inputs", action="store_true", help="give --model other objects' pictures")
    add("--inputs", type=int, default=1, help="number of input views (default: 1)")
    add(
        "--protocol",
        metavar="NAME",
        help="srn, spiral, co3d-hydrant, co3d-teddybear or gso (default: by views)",
    )
    add("--input-views", type=int, nargs="+", metavar="VIEW", help="instead: show these, judge all others")
    add("--objects", type=int, metavar="N", help="only the first N objects")
    add("--steps", type=int, default=1, help="Euler steps of the flow (default: 1)")
    add("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    add(
        "--batch-size", type=int, default=8, help="objects at a time; does not change the scores (default: 8)"
    )
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add("--devices", type=int, default=1, metavar="N", help="processes that share the objects (default: 1)")
    add("--lpips-weights", type=Path, metavar="FILE", help="VGG16 weights (default: torch hub's cache)")
    add("--lpips-alex-weights", type=Path, metavar="FILE", help="AlexNet weights (default: likewise)")
    add("--fid-weights", type=Path, metavar="FILE", help="Inception weights (default: torch hub's cache)")
    add("--noise-study", action="store_true", help="also ask what the noise does, over 1 to 16 steps")
    add("--depth", type=Path, metavar="FILE", help="true depths, written by `sparsegen data depth`")
    add("--queries", type=int, nargs="+", metavar="N", help="also with only so many of the model's queries")
    add("-o", "--output", type=Path, default=Path("report"), help="folder (default: report)")
    verbs = parser.add_subparsers(dest="eval_verb", metavar="compare", required=False)
    compare = verbs.add_parser("compare", help="compare reports: two in detail, or more in one table")
    compare.add_argument(
        "reports",
        nargs="+",
        metavar="[NAME=]REPORT",
        help="folders of reports on the same objects; those of one name are runs of one model",
    )
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
    for name in ("steps", "batch_size", "objects", "inputs", "devices", "queries"):
        value = getattr(args, name)
        least = min(value) if isinstance(value, list) else value
        if least is not None and least < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {least}")
    given = {k: v for k, v in vars(args).items() if k in Settings.__dataclass_fields__}
    settings = Settings(
        **{**given, "queries": tuple(args.queries or ()), "input_views": tuple(args.input_views or ())}
    )
    result = run_evaluation(settings)
    if result is None:  # the first process tells
        return
    print("\n".join([report.table(result), *result.notes, *report.problems(result)]))
    print(f"wrote {settings.output}")


def _compare(args: argparse.Namespace) -> None:
    from sparsegen.errors import InputError
    from sparsegen.evaluation import comparison
    from sparsegen.evaluation.contestants import name_and_path
    from sparsegen.evaluation.document import to_html, to_markdown
    from sparsegen.formats.files import write_bytes

    named = [name_and_path(text) for text in args.reports]
    folders = [folder for _, folder in named]
    if len(folders) < 2:
        raise InputError(f"compare: expected two reports or more, got only {args.reports[0]}")
    if len(folders) > 2:
        _write_table([name for name, _ in named], folders, args.output)
        return
    document = comparison.document(*map(comparison.load, folders))
    write_bytes(args.output, to_html(document).encode())
    print(to_markdown(document))
    print(f"wrote {args.output}")


def _write_table(names: Sequence[str], folders: Sequence[Path], page: Path) -> None:
    from sparsegen.evaluation import ablation, comparison
    from sparsegen.evaluation.document import to_markdown

    runs = ablation.group(names, [comparison.load(folder) for folder in folders])
    print(to_markdown(ablation.write(runs, page.parent, page.stem)))
    print(f"wrote {page.with_suffix('.html')}, .md and .json")
