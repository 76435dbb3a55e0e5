"""`sparsegen bench`: how fast the parts are on this machine, as ratios measured in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "measure how fast splatting, network, generation and training are on this machine"

PARTS = ("splatting", "network", "generate", "cold", "train")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of each candidate (default: 9)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (default: cpu)")
    parser.add_argument(
        "--bfloat16",
        choices=("auto", "yes", "no"),
        default="auto",
        help="also time the network in bfloat16 (default: where its matrix rate beats float32's)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the measurements to a file")


def run(args: argparse.Namespace) -> None:
    from sparsegen.benchmarking import report
    from sparsegen.formats.files import make_folder

    parts = _parts(args)
    if args.json is not None:
        make_folder(args.json.parent)  # nobody waits minutes to hear that it cannot be written
    measured = report.measure(parts, args.device, args.repeats, args.bfloat16)
    print(report.text(measured))
    if args.json is not None:
        report.write_json(measured, args.json)


def _parts(args: argparse.Namespace) -> tuple[str, ...]:
    from sparsegen.errors import InputError

    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        raise InputError(f"no benchmark {unknown[0]!r}: choose from {', '.join(PARTS)}")
    if args.repeats < 1:
        raise InputError(f"--repeats must be at least 1, got {args.repeats}")
    return tuple(args.parts) or PARTS
