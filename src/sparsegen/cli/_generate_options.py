"""Checks of what `sparsegen generate` is asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sparsegen.cli._options import check_options, given
from sparsegen.errors import InputError

if TYPE_CHECKING:
    from sparsegen.generation import Pipeline

# `sparsegen.detail.STEPS`, which would cost `--help` the time that PyTorch needs to start.
DETAIL_STEPS = 60
# PyTorch's generators take seeds of 64 bits.
_SEEDS = 2**63
# Options that say something of pictures.
_OF_PICTURES = (
    *("cameras", "together", "detail", "refine", "mask", "box", "matting"),
    *("azimuth", "elevation", "roll", "focal_length", "framed"),
)


def check_generate(args: argparse.Namespace) -> None:
    """Refuse what is out of range and what contradicts itself; fill in the steps of refinement."""
    check_options(args)
    if args.unconditional and (options := given(args, *_OF_PICTURES)):
        raise InputError(f"--unconditional has no picture for {options}; leave one of the two out")
    if args.refine is None:
        args.refine = DETAIL_STEPS if args.detail else 0
    if args.refine < 0:
        raise InputError(f"--refine: expected at least 0 steps, found {args.refine}")
    if args.detail and not args.refine:
        raise InputError("--refine 0: --detail takes steps against the pictures; leave one of the two out")
    if abs(args.seed) >= _SEEDS:
        raise InputError(f"--seed: expected an integer of less than 64 bits, found {args.seed}")
    if args.focal_length is not None and not 5 <= args.focal_length <= 3000:
        raise InputError(f"--focal-length: expected 5 to 3000 millimetres, found {args.focal_length:g}")
    if args.unconditional == bool(args.pictures):
        raise InputError(
            "--unconditional takes no pictures; leave one of the two out"
            if args.unconditional
            else "no picture given; name one, or use --unconditional to generate from noise"
        )
    if args.mask and args.box:
        raise InputError("--mask says what is object, also in a box; leave --mask or --box out")
    one_object = "--cameras" if args.cameras else "--together" if args.together else None
    if args.cameras and args.together:
        raise InputError("--together finds the cameras that --cameras gives; leave one of the two out")
    if one_object and args.framed:
        raise InputError(f"--framed is for single pictures; leave it or {one_object} out")
    if args.focal_length and (args.cameras or args.framed):
        other = "--cameras" if args.cameras else "--framed"
        raise InputError(f"--focal-length is of no use with {other}; leave one of the two out")
    if args.roll is not None:
        if args.cameras or args.together or args.framed:
            other = one_object or "--framed"
            raise InputError(f"--roll is of no use with {other}; leave one of the two out")
        if not abs(args.roll) <= 90:
            raise InputError(f"--roll: expected -90 to 90 degrees clockwise, found {args.roll:g}")
    if one_object and (args.azimuth is not None or args.elevation is not None):
        raise InputError(
            f"{one_object} is for pictures from several places; leave --azimuth, --elevation out"
        )


def check_queries(args: argparse.Namespace, pipeline: Pipeline) -> None:
    """Refuse more anchor queries than the model has."""
    most = pipeline.model.num_queries
    if args.queries is None or 1 <= args.queries <= most:
        return
    if not most:
        raise InputError(f"--queries {args.queries}: this model has no anchor queries; leave it out")
    raise InputError(f"--queries: expected 1 to {most}, as many as the model has, found {args.queries}")
