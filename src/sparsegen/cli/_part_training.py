"""What the commands share that train one part of a model on cut-out objects."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sparsegen.data.packed import Viewsets
    from sparsegen.training.scenes import Scenery

Part = TypeVar("Part")


def add_training_arguments(parser: argparse.ArgumentParser, part: str, steps: int, batch: int) -> None:
    """`part` is what it is called for short; by default there are so many steps of `batch` pictures."""
    add = parser.add_argument
    add(
        "--backgrounds",
        type=Path,
        metavar="FOLDER",
        help="photographs without such objects: two of three backgrounds",
    )
    add(
        "--clutter",
        type=Path,
        metavar="FOLDER",
        help="cut-out pictures of other things, which lie about behind the objects and before them",
    )
    add("--val", type=Path, metavar="DATA", help=f"held-out pictures to score the {part} on")
    gets = f"model folder that gets the {part}"
    add("-o", "--output", type=Path, required=True, metavar="MODEL", help=gets)
    add("--init", type=Path, metavar="MODEL", help=f"go on from the {part} of this model")
    add("--steps", type=int, default=steps, help=f"steps of {batch} pictures (default: {steps})")
    add("--max-time", metavar="DURATION", help="end earlier, as after 30m")
    add("--seed", type=int, default=0)


def begin(
    args: argparse.Namespace, part: str, load: Callable[[Path], Part | None]
) -> tuple[Scenery, Viewsets | None, Part | None, float | None]:
    """What pictures are made of, the held-out data, the part to go on from, and the seconds that it may take.

    `load` finds the part of a model folder. Raises `InputError`.
    """
    from sparsegen.data.loading import load_viewsets
    from sparsegen.errors import InputError
    from sparsegen.models.pretrained import load_config
    from sparsegen.training.config import seconds
    from sparsegen.training.scenes import load_scenery

    if args.steps < 1:
        raise InputError(f"--steps: expected at least 1, found {args.steps}")
    max_seconds = seconds("--max-time", args.max_time)
    load_config(args.output)  # a part without its model would never be found
    start = None if args.init is None else load(args.init)
    if args.init is not None and start is None:
        raise InputError(f"--init {args.init}: holds no {part}; leave --init out to begin anew")
    data = load_viewsets(args.data)
    held_out = None if args.val is None else load_viewsets(args.val)
    for path, viewsets in ((args.data, data), (args.val, held_out)):
        if viewsets is not None and not viewsets.has_alpha:
            raise InputError(f"{path}: its pictures have no alpha; the {part} needs cut-out objects")
    return load_scenery(data, args.backgrounds, args.clutter), held_out, start, max_seconds
