"""`sparsegen foreground`: train a model's foreground network."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "train the foreground network of a model, which cuts objects out of photographs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="packed file or folder of pictures with alpha")
    parser.add_argument(
        "--backgrounds",
        type=Path,
        metavar="FOLDER",
        help="photographs without such objects: every second background",
    )
    parser.add_argument("--val", type=Path, metavar="DATA", help="held-out pictures to score the network on")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MODEL", help="model folder that gets the network"
    )
    parser.add_argument("--init", type=Path, metavar="MODEL", help="go on from the network of this model")
    parser.add_argument("--steps", type=int, default=4000, help="steps of 24 pictures (default: 4000)")
    parser.add_argument("--max-time", metavar="DURATION", help="end earlier, as after 30m")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> None:
    from sparsegen.data.loading import load_viewsets
    from sparsegen.errors import InputError
    from sparsegen.models.pretrained import FOREGROUND, load_config, load_foreground_net, save_pretrained
    from sparsegen.training.config import seconds
    from sparsegen.training.foreground import (
        ForegroundTraining,
        load_photographs,
        overlaps,
        train_foreground,
    )

    if args.steps < 1:
        raise InputError(f"--steps: expected at least 1, found {args.steps}")
    max_seconds = seconds("--max-time", args.max_time)
    load_config(args.output)  # a network without its model would never be found
    start = None if args.init is None else load_foreground_net(args.init)
    if args.init is not None and start is None:
        raise InputError(f"--init {args.init}: holds no foreground network; leave --init out to begin anew")
    photographs = [] if args.backgrounds is None else load_photographs(args.backgrounds)
    sets = [load_viewsets(path) for path in (args.data, args.val) if path is not None]
    for path, viewsets in zip((args.data, args.val), sets, strict=False):
        if not viewsets.has_alpha:
            raise InputError(f"{path}: its pictures have no alpha; the network needs cut-out objects")
    recipe = ForegroundTraining(steps=args.steps, seed=args.seed)
    net = train_foreground(sets[0], recipe, photographs, max_seconds, start)
    save_pretrained(net, args.output / FOREGROUND)
    print(args.output / FOREGROUND)
    for viewsets in sets[1:]:
        found = overlaps(net, viewsets)
        print(
            f"{len(found)} pictures of held-out objects before drawn backgrounds: intersection over union "
            f"{found.median():.3f} (median), above 0.9 for {(found > 0.9).float().mean():.0%}"
        )
