"""`sparsegen camera`: train a model's camera head."""

from __future__ import annotations

import argparse
from pathlib import Path

from sparsegen.cli._part_training import add_training_arguments, begin

SUMMARY = "train the camera head of a model, which says where a picture was taken from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="packed file or folder of posed pictures with alpha")
    add_training_arguments(parser, "head", steps=5000, batch=64)
    parser.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="learn from mirror images too, right for objects that are their own (default: yes)",
    )


def run(args: argparse.Namespace) -> None:
    from sparsegen.models.pretrained import (
        CAMERA_HEAD,
        load_camera_head,
        load_foreground_net,
        save_pretrained,
    )
    from sparsegen.training.camera_head import (
        CameraHeadTraining,
        direction_errors,
        framing_errors,
        roll_errors,
        train_camera_head,
    )

    scenery, held_out, start, max_seconds = begin(args, "camera head", load_camera_head)
    recipe = CameraHeadTraining(steps=args.steps, seed=args.seed, mirrored=args.mirrored)
    foreground = load_foreground_net(args.output)
    head = train_camera_head(scenery, recipe, foreground, max_seconds, start)
    save_pretrained(head, args.output / CAMERA_HEAD)
    print(args.output / CAMERA_HEAD)
    if held_out is not None:
        turns, rises = direction_errors(head, held_out)
        near = (turns < 30).float().mean()
        found, typical = (errors.flatten(0, 1).median(0).values for errors in framing_errors(head, held_out))
        print(
            f"{turns.numel()} pictures of {len(held_out)} held-out objects: azimuth {turns.median():.0f} "
            f"degrees off (median), {near:.0%} within 30 degrees; elevation {rises.median():.0f} degrees, "
            f"tilts {roll_errors(head, held_out).median():.1f} degrees, size {found[0]:.1%}, distance "
            f"{found[3]:.1%} off ({typical[0]:.1%}, {typical[3]:.1%} were all objects typical)"
        )
