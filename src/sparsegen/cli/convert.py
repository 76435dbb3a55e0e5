"""`sparsegen convert`: the same Gaussians in another file format."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "convert Gaussian files: PLY, compressed PLY, splat, SPZ, glTF"

_UPS = ("z", "y", "-y")
_EXAMPLES = """\
examples:
  sparsegen convert car.ply car.glb
  sparsegen convert car.ply car.spz --spz-version 4
  sparsegen convert scan.ply scan.compressed.ply --from-up=-y

formats, by suffix (the axis that points up in the file):
  .ply (z)  .compressed.ply (-y)  .splat (-y)  .spz (y)  .glb (y)  .gltf (y)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("source", type=Path, metavar="A", help="Gaussian file; its content tells the format")
    add("target", type=Path, metavar="B", help="file to write; its suffix tells the format")
    add("--from-up", choices=_UPS, help="axis that points up in A (default: its format's)")
    add("--to-up", choices=_UPS, help="axis that shall point up in B (default: its format's)")
    add(
        "--spz-version",
        type=int,
        choices=(3, 4),
        default=3,
        help="3 (default) or 4, the newest",
    )


def run(args: argparse.Namespace) -> None:
    from sparsegen.formats.gaussian_files import format_of_suffix, load_gaussians, save_gaussians

    format_of_suffix(args.target)  # a wrong name is told before anything is read
    gaussians = load_gaussians(args.source, args.from_up)
    save_gaussians(args.target, gaussians, args.to_up, args.spz_version)
    print(f"{args.target}: {gaussians.count:,} Gaussians, {args.target.stat().st_size:,} bytes")
