"""Checks that verbs share."""

from __future__ import annotations

import argparse
import math

from sparsegen.errors import InputError

# Far above any screen; a picture of this side takes a gigabyte while it is drawn.
_LARGEST_SIZE = 4096
# Samples hardly differ after a few, and are ranked two by two.
_MOST_SAMPLES = 64


def given(args: argparse.Namespace, *names: str) -> str:
    """Those of the options that were given, whose default is None or off, as they are written."""
    values = {name: getattr(args, name) for name in names}
    return ", ".join(
        f"--{name.replace('_', '-')}"
        for name, value in values.items()
        if value is not None and value is not False
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse counts, sizes and angles that are out of range, by the name of their option."""
    for option in ("samples", "steps", "size", "frames"):
        value = getattr(args, option, 1)
        if value is not None and value < 1:
            raise InputError(f"--{option}: expected at least 1, found {value}")
    if getattr(args, "samples", 1) > _MOST_SAMPLES:
        raise InputError(f"--samples: expected at most {_MOST_SAMPLES}, found {args.samples}")
    if args.size > _LARGEST_SIZE:
        raise InputError(f"--size: expected at most {_LARGEST_SIZE} pixels, found {args.size}")
    for option in ("azimuth", "elevation"):
        value = getattr(args, option)
        if value is not None and not math.isfinite(value):
            raise InputError(f"--{option}: expected an angle in degrees, found {value}")
    if args.elevation is not None and abs(args.elevation) > 90:
        raise InputError(f"--elevation: expected -90 (below) to 90 degrees (above), found {args.elevation:g}")
