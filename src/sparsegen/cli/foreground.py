"""`sparsegen foreground`: train a model's foreground network."""

from __future__ import annotations

import argparse
from pathlib import Path

from sparsegen.cli._part_training import add_training_arguments, begin

SUMMARY = "train the foreground network of a model, which cuts objects out of photographs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="packed file or folder of pictures with alpha")
    add_training_arguments(parser, "network", steps=4000, batch=16)


def run(args: argparse.Namespace) -> None:
    from sparsegen.models.pretrained import FOREGROUND, load_foreground_net, save_pretrained
    from sparsegen.training.foreground import ForegroundTraining, overlaps, train_foreground

    scenery, held_out, start, max_seconds = begin(args, "foreground network", load_foreground_net)
    net = train_foreground(scenery, ForegroundTraining(steps=args.steps, seed=args.seed), max_seconds, start)
    save_pretrained(net, args.output / FOREGROUND)
    print(args.output / FOREGROUND)
    if held_out is not None:
        found = overlaps(net, held_out)
        print(
            f"{len(found)} pictures of held-out objects before drawn backgrounds: intersection over union "
            f"{found.median():.3f} (median), above 0.9 for {(found > 0.9).float().mean():.0%}"
        )
