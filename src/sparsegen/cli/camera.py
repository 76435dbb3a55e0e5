"""`sparsegen camera`: train a model's camera head."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "train the camera head of a model, which says where a picture was taken from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="packed file or folder of posed pictures with alpha")
    parser.add_argument("--val", type=Path, metavar="DATA", help="held-out pictures to score the head on")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MODEL", help="model folder that gets the head"
    )
    parser.add_argument("--init", type=Path, metavar="MODEL", help="go on from the head of this model")
    parser.add_argument("--steps", type=int, default=5000, help="steps of 64 pictures (default: 5000)")
    parser.add_argument("--max-time", metavar="DURATION", help="end earlier, as after 30m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="learn from mirror images too, right for objects that are their own (default: yes)",
    )


def run(args: argparse.Namespace) -> None:
    from sparsegen.data.loading import load_viewsets
    from sparsegen.errors import InputError
    from sparsegen.models.pretrained import CAMERA_HEAD, load_camera_head, load_config, save_pretrained
    from sparsegen.training.camera_head import (
        CameraHeadTraining,
        direction_errors,
        framing_errors,
        train_camera_head,
    )
    from sparsegen.training.config import seconds

    if args.steps < 1:
        raise InputError(f"--steps: expected at least 1, found {args.steps}")
    max_seconds = seconds("--max-time", args.max_time)
    load_config(args.output)  # a head without its model would never be found
    start = None if args.init is None else load_camera_head(args.init)
    if args.init is not None and start is None:
        raise InputError(f"--init {args.init}: holds no camera head; leave --init out to begin anew")
    sets = [load_viewsets(path) for path in (args.data, args.val) if path is not None]
    for path, viewsets in zip((args.data, args.val), sets, strict=False):
        if not viewsets.has_alpha:
            raise InputError(f"{path}: its pictures have no alpha; the camera head needs cut-out objects")
    recipe = CameraHeadTraining(steps=args.steps, seed=args.seed, mirrored=args.mirrored)
    head = train_camera_head(sets[0], recipe, max_seconds, start)
    save_pretrained(head, args.output / CAMERA_HEAD)
    print(args.output / CAMERA_HEAD)
    for viewsets in sets[1:]:
        turns, rises = direction_errors(head, viewsets)
        near = (turns < 30).float().mean()
        found, typical = (errors.flatten(0, 1).median(0).values for errors in framing_errors(head, viewsets))
        print(
            f"{turns.numel()} pictures of {len(viewsets)} held-out objects: azimuth {turns.median():.0f} "
            f"degrees off (median), {near:.0%} within 30 degrees; elevation {rises.median():.0f} degrees, "
            f"size {found[0]:.1%}, distance {found[3]:.1%} off ({typical[0]:.1%}, {typical[3]:.1%} were all "
            "objects typical)"
        )
