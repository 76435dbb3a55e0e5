"""`sparsegen train`: train a model, continue a run, and what can be done with a run's folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "train on a viewset dataset, continue a run, export or carry it, draw its curves"

_EXAMPLES = """\
examples:
  sparsegen train data.train=cars_train.pack data.val=cars_val.pack model=tiny max_time=30m
  sparsegen train ... lr=3e-4 loss.ssim=0.1 model.num_queries=256      any setting is KEY=VALUE
  sparsegen train ... devices=2 strategy=ddp                           two processes share each batch
  torchrun --nproc-per-node=8 -m sparsegen train ...                   the same, on any number of machines
  sparsegen train ... flow=off                                         ablations: position_encoding=off,
                          anchors=fixed_random, num_queries=256, anchor_sampling=off
  sparsegen train ... model=pixel_aligned_tiny                         a pixel-aligned network, to compare
  sparsegen train --settings model=base                                show them all, and stop
  sparsegen train --export runs/run -o weights                         averaged weights as a model folder
  sparsegen train --export runs/run --last --start-share 0.15          of its end, and a little of init
  sparsegen train --curves runs/a runs/b -o curves.svg                 learning curves as one picture
  sparsegen train --shrink runs/run -o handover                        a run in files of at most 15 MiB, 60 in
  sparsegen train --restore handover -o runs/run                       all, to go on with it elsewhere

The same command again continues the run of that name. Ctrl-C ends it with a checkpoint.
"""

# What stands behind the verbs, and which of them an option goes with.
_NAMES = {"export": "RUN", "curves": "RUN", "shrink": "RUN", "restore": "FOLDER"}
_GO_WITH = {
    "last": ("export",),
    "start_share": ("export",),
    "axis": ("curves",),
    "mib": ("shrink",),
    "output": tuple(_NAMES),
}
_EXIT_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of the run")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--settings", action="store_true", help="print the settings as YAML and stop")
    instead.add_argument("--export", type=Path, metavar="RUN", help="write the weights of a run and stop")
    instead.add_argument(
        "--curves", type=Path, nargs="+", metavar="RUN", help="draw the validations of runs as SVG and stop"
    )
    instead.add_argument("--shrink", type=Path, metavar="RUN", help="write a run in small files and stop")
    instead.add_argument("--restore", type=Path, metavar="FOLDER", help="make a run of such files and stop")
    parser.add_argument(
        "--last", action="store_true", help="of --export: the newest checkpoint (default: the best)"
    )
    parser.add_argument(
        "--start-share",
        type=float,
        metavar="SHARE",
        help="of --export: so much of every weight is init's (default: 0)",
    )
    parser.add_argument("--axis", help="of --curves: minutes or objects (default: minutes)")
    parser.add_argument("--mib", type=float, help="of --shrink: at most so much (default: 60)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="of --export (default: RUN/weights), --curves (curves.svg), --shrink (handover), --restore",
    )


def run(args: argparse.Namespace) -> int:
    _check(args)
    for name, act in _ON_RUNS.items():
        if getattr(args, name) is not None:
            print(act(args))
            return 0
    from sparsegen.training.config import compose_config

    if args.settings:
        print(_settings(args.overrides), end="")
        return 0
    config = compose_config(args.overrides)
    from sparsegen.training.run import train

    status = _EXIT_STATUS.get(train(config), 0)
    # The other processes of a run end well: their failure would count as the first one's.
    return status if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0" else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options of one verb without it."""
    from sparsegen.cli._options import given
    from sparsegen.errors import InputError

    for option, verbs in _GO_WITH.items():
        if given(args, option) and not given(args, *verbs):
            written = "-o" if option == "output" else f"--{option.replace('_', '-')}"
            cure = ", ".join(f"--{verb} {_NAMES[verb]}" for verb in verbs)
            raise InputError(f"{written} goes with {cure}; add that, or leave it out")


def _settings(overrides: Sequence[str]) -> str:
    """All settings as YAML; durations that are none are told, as training would."""
    import yaml

    from sparsegen.training.config import config_text, seconds

    text = config_text(overrides)
    settings = yaml.safe_load(text)
    for name in ("max_time", "sitting", "checkpoint_every"):
        seconds(name, settings[name])
    return text


def _export(args: argparse.Namespace) -> object:
    from sparsegen.training.run import export_weights

    return export_weights(args.export, args.output, args.last, args.start_share or 0.0)


def _curves(args: argparse.Namespace) -> object:
    from sparsegen.evaluation.curves import write_curves

    path = args.output or Path("curves.svg")
    write_curves(args.curves, path, args.axis or "minutes")
    return path


def _shrink(args: argparse.Namespace) -> object:
    from sparsegen.training.handover import shrink

    folder = args.output or Path("handover")
    return f"{folder}: {shrink(args.shrink, folder, 60 if args.mib is None else args.mib)}"


def _restore(args: argparse.Namespace) -> object:
    from sparsegen.errors import InputError
    from sparsegen.training.handover import restore

    if args.output is None:
        raise InputError("--restore: name the run to make of it, as in -o runs/run")
    return restore(args.restore, args.output)


# What is done with the folder of a run instead of training.
_ON_RUNS = {"export": _export, "curves": _curves, "shrink": _shrink, "restore": _restore}
