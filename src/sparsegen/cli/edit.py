"""`sparsegen edit`: change a Gaussian file by its anchor queries."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sparsegen.gaussians import Gaussians

SUMMARY = "edit a Gaussian file by query: delete, move, scale, recolor or swap a part"

_EXAMPLES = """\
examples:
  sparsegen edit car.ply --sphere 0.25,0.17,-0.1,0.08 --list             which queries are there
  sparsegen edit car.ply --nearest 0.25,0.17,-0.1 --grow 0.08 --delete -o no_wheel.ply
  sparsegen edit car.ply --nearest 0.25,0.17,-0.1 --picture car.png --grow-alike 9 --delete -o bare.ply
  sparsegen edit car.ply --box=-0.2,-0.2,0.03,0.2,0.2,0.2 --recolor 0.8,0.1,0.1 -o red_roof.ply
  sparsegen edit car.ply --box 0,-1,-1,1,1,1 --swap other.ply -o half_and_half.ply

Selections add up; then they grow, shrink and are turned around; then the selected queries are swapped,
scaled, moved, recolored and deleted, in this order. Growing by distance takes what lies near; growing alike
takes what attends to the rest of the object in the same way, often the same part on the other side: the
network looks at the picture again for it. Points are x,y,z in world units: the object faces +X,
+Z is up, its bounding box has a diagonal of about 1. Write --option=-1,... where a list starts with a minus.
PLY files that sparsegen wrote know their queries; for other files --expansion says how many Gaussians in a
row belong to one query (1 where it is left out).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="Gaussian file of any format")
    add("-o", "--output", type=Path, metavar="FILE", help="file to write; its suffix tells the format")
    add("--expansion", type=int, metavar="K", help="Gaussians for each query (default: as the file says)")
    select = parser.add_argument_group("selecting").add_argument
    select("--ids", metavar="I,J,...", help="queries by number, ranges as 10-20")
    select("--box", metavar="X,Y,Z,X,Y,Z", help="queries between two corners")
    select("--sphere", metavar="X,Y,Z,R", help="queries within R of a point")
    select("--nearest", metavar="X,Y,Z", help="the query nearest to a point")
    select("--grow", type=float, metavar="D", help="also what lies within D of the selection")
    select("--shrink", type=float, metavar="D", help="without what lies within D of the rest")
    select("--grow-alike", type=int, metavar="N", help="also the N queries that attend most alike")
    select("--shrink-alike", type=int, metavar="N", help="without the N that attend least alike")
    select("--picture", type=Path, metavar="FILE", help="what the object was made from, for growing alike")
    select("--model", type=Path, help="the model it was made with (default: shipped weights)")
    select("--invert", action="store_true", help="everything else")
    change = parser.add_argument_group("changing").add_argument
    change("--swap", type=Path, metavar="FILE", help="take the queries from another object of the same model")
    change("--scale", type=float, metavar="FACTOR", help="make larger or smaller, around its centre")
    change("--move", metavar="X,Y,Z", help="move, in world units")
    change("--recolor", metavar="R,G,B", help="a color, 0 to 1; light and dark places stay")
    change("--delete", action="store_true", help="remove")
    change("--list", action="store_true", help="print the numbers of the selected queries")


def run(args: argparse.Namespace) -> None:
    from sparsegen import editing
    from sparsegen.errors import InputError
    from sparsegen.formats.gaussian_files import format_of_suffix, save_gaussians

    _check(args)
    if args.output is not None:
        format_of_suffix(args.output)  # a wrong name is told before anything is read
    gaussians = _load(args.file, args.expansion)
    selection = _selection(args, gaussians)
    if not selection.any():
        raise InputError(f"{args.file}: the selection holds no query; choose a larger one")
    if args.list:
        print(",".join(str(i) for i in selection.nonzero()[:, 0].tolist()))
    if args.output is not None:
        edited = _change(args, gaussians, selection)
        save_gaussians(args.output, edited)
        print(
            f"{args.output}: {edited.count:,} Gaussians; {int(selection.sum()):,} of "
            f"{editing.query_count(gaussians):,} queries were selected"
        )


def _check(args: argparse.Namespace) -> None:
    from sparsegen.cli._options import given
    from sparsegen.errors import InputError

    for option in ("grow", "shrink", "grow_alike", "shrink_alike"):
        value = getattr(args, option)
        if value is not None and not 0 <= value < float("inf"):
            raise InputError(f"--{option.replace('_', '-')}: expected at least 0, found {value}")
    if args.output is None and (changes := given(args, "swap", "scale", "move", "recolor", "delete")):
        raise InputError(f"no output for {changes}: name one with -o")
    if args.output is None and not args.list:
        raise InputError("no output: name one with -o, or use --list to see what is selected")
    looks = given(args, "picture", "model")
    if looks and not given(args, "grow_alike", "shrink_alike"):
        raise InputError(
            f"{looks}: only for --grow-alike and --shrink-alike; add one of these, or leave it out"
        )


def _load(path: Path, expansion: int | None) -> Gaussians:
    from dataclasses import replace

    from sparsegen.errors import InputError
    from sparsegen.formats.gaussian_files import load_gaussians

    gaussians = load_gaussians(path)
    if expansion is None:
        return gaussians
    if expansion < 1 or gaussians.count % expansion:
        raise InputError(
            f"--expansion: expected a number that divides the {gaussians.count:,} Gaussians of {path}, "
            f"found {expansion}"
        )
    return replace(gaussians, expansion=expansion)


def _selection(args: argparse.Namespace, gaussians: Gaussians) -> Tensor:
    from sparsegen import editing
    from sparsegen.errors import InputError

    parts = []
    if args.ids is not None:
        parts.append(editing.select_ids(gaussians, _ids(args.ids, editing.query_count(gaussians))))
    if args.box is not None:
        corners = _numbers("box", args.box, 6)
        parts.append(editing.select_box(gaussians, corners[:3], corners[3:]))
    if args.sphere is not None:
        *center, radius = _numbers("sphere", args.sphere, 4)
        parts.append(editing.select_sphere(gaussians, center, radius))
    if args.nearest is not None:
        parts.append(editing.select_nearest(gaussians, _numbers("nearest", args.nearest, 3)))
    if not parts:
        raise InputError("nothing is selected; use --ids, --box, --sphere or --nearest")
    selection = sum(parts[1:], parts[0])
    if args.grow is not None:
        selection = editing.grow(gaussians, selection, args.grow)
    if args.shrink is not None:
        selection = editing.shrink(gaussians, selection, args.shrink)
    if args.grow_alike is not None or args.shrink_alike is not None:
        likeness = _likeness(args, editing.query_count(gaussians))
        selection = editing.grow_alike(selection, likeness, args.grow_alike or 0)
        selection = editing.shrink_alike(selection, likeness, args.shrink_alike or 0)
    return ~selection if args.invert else selection


def _likeness(args: argparse.Namespace, count: int) -> Tensor:
    """How alike the object's queries attend when the network looks at its picture."""
    from sparsegen.editing import attention_likeness
    from sparsegen.errors import InputError
    from sparsegen.generation import Pipeline
    from sparsegen.photos import open_photo
    from sparsegen.pose import estimate_camera, view_from

    if args.picture is None:
        raise InputError("--picture is missing: name the picture that the object was made from")
    pipeline = Pipeline.from_pretrained(args.model)
    most = pipeline.model.config.num_queries
    if count > most:
        raise InputError(f"{args.file}: has {count:,} queries, the model {most:,}; --model names its own")
    photo = open_photo(args.picture, model=args.model)
    camera = estimate_camera(pipeline, photo.rgba)[0]
    views = view_from(pipeline, photo.rgba, camera.azimuth, camera.elevation, photo.focal_length)
    return attention_likeness(pipeline, views, count)


def _change(args: argparse.Namespace, gaussians: Gaussians, selection: Tensor) -> Gaussians:
    from sparsegen import editing
    from sparsegen.errors import InputError

    edited = gaussians
    if args.swap is not None:
        edited = editing.swap(edited, selection, _load(args.swap, args.expansion))
    if args.scale is not None:
        edited = editing.scale(edited, selection, args.scale)
    if args.move is not None:
        edited = editing.move(edited, selection, _numbers("move", args.move, 3))
    if args.recolor is not None:
        edited = editing.recolor(edited, selection, _numbers("recolor", args.recolor, 3))
    if args.delete:
        edited = editing.delete(edited, selection)
    if edited is gaussians:
        raise InputError("no change asked for; use --delete, --move, --scale, --recolor or --swap")
    return edited


def _numbers(option: str, text: str, count: int) -> list[float]:
    from math import isfinite

    from sparsegen.errors import InputError

    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(isfinite, numbers)):
        raise InputError(f"--{option}: expected {count} numbers with commas between them, found {text!r}")
    return numbers


def _ids(text: str, count: int) -> list[int]:
    from sparsegen.errors import InputError

    ids: list[int] = []
    for word in text.split(","):
        first, _, last = word.partition("-")
        if not first.strip().isdecimal() or not (last or first).strip().isdecimal():
            raise InputError(f"--ids: expected numbers and ranges as in 3,10-20, found {text!r}")
        if last and int(last) < int(first):
            raise InputError(f"--ids: the range {word.strip()} runs backwards; write {last}-{first}")
        # No range is longer than the object has queries, plus one that is then told to be missing.
        ids.extend(range(int(first), min(int(last or first), count) + 1) or [int(first)])
    return ids
