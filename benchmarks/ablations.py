"""What every part of the method buys: short runs that differ in one switch each, with several seeds.

    python benchmarks/ablations.py data.train=cars_train.pack data.val=cars_val.pack --seeds 3 --steps 1500
    ... --size 64 model.image_size=64 model.image_encoder.input_size=64 model.width=96     smaller and faster

Finished runs are skipped and an interrupted one goes on, so the same command continues. It ends with the
tables, in the terminal, and in --doc between its two marks. --collect writes them from what is finished.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from sparsegen.data.loading import load_viewsets
from sparsegen.data.reducing import write_reduced
from sparsegen.errors import InputError
from sparsegen.formats.files import write_bytes
from sparsegen.training.ablations import Run, ablation_table, carry_out, ordering, plan, query_table, record

_BEGIN, _END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="settings of all runs")
    parser.add_argument("--steps", type=int, default=1500, help="of every run (default: 1500)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every variant (default: 3)")
    parser.add_argument("--queries", type=int, nargs="*", default=[], help="networks of so many queries, too")
    parser.add_argument("--size", type=int, help="average the pictures to so many pixels first")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="folder of the runs")
    parser.add_argument("--doc", type=Path, help="page whose tables are replaced; a .json appears beside it")
    parser.add_argument("--collect", action="store_true", help="train nothing: tables of what is finished")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        runs = plan(_with_size(args), args.out, args.steps, args.seeds, args.queries)
        if not args.collect:
            carry_out(runs)
        text = _text(args, runs)
        print(text)
        if args.doc is not None:
            _write(args.doc, text, runs)
    except InputError as error:
        print(f"ablations: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ablations: interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


def _with_size(args: argparse.Namespace) -> list[str]:
    """The settings, with data sets averaged to --size in the folder of the runs."""
    if args.size is None:
        return args.overrides
    overrides = []
    for override in args.overrides:
        key, _, value = override.partition("=")
        if key in ("data.train", "data.val"):
            reduced = args.out / f"{key.partition('.')[2]}_{args.size}.pack"
            if not reduced.exists():
                write_reduced(load_viewsets(value), args.size, reduced)
            override = f"{key}={reduced}"
        overrides.append(override)
    return overrides


def _text(args: argparse.Namespace, runs: list[Run]) -> str:
    done = sum(run.scores() is not None for run in runs)
    parts = [
        f"{done} of {len(runs)} runs of {args.steps} steps are finished: `{_command(args)}`",
        ablation_table(runs),
        f"By PSNR: {ordering(runs)}",
    ]
    if args.queries:
        parts.append(query_table(runs))
    return "\n\n".join(parts)


def _command(args: argparse.Namespace) -> str:
    """The command without the places of files, which are another's."""
    settings = []
    for override in args.overrides:
        key, _, value = override.partition("=")
        settings.append(f"{key}={Path(value).name}" if key.startswith("data.") else override)
    options = ["--seeds", str(args.seeds), "--steps", str(args.steps)]
    if args.size:
        options += ["--size", str(args.size)]
    if args.queries:
        options += ["--queries", *map(str, args.queries)]
    return " ".join(["python benchmarks/ablations.py", *settings, *options])


def _write(doc: Path, text: str, runs: list[Run]) -> None:
    page = doc.read_text() if doc.exists() else f"# Ablations\n\n{_BEGIN}{_END}"
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(f"{doc}: has no {_BEGIN.strip()} ... {_END.strip()} for the tables; add these lines")
    write_bytes(doc, f"{before}{begin}\n{text}\n\n{end}{after}".encode())
    write_bytes(doc.with_suffix(".json"), (json.dumps(record(runs), indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
