"""`sparsegen train`: train a model, continue a run, or export its weights."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

SUMMARY = "train on a viewset dataset, continue a run, or export its weights"

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

The same command again continues the run of that name. Ctrl-C ends it with a checkpoint.
"""

_EXIT_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of the run")
    parser.add_argument("--settings", action="store_true", help="print the settings as YAML and stop")
    parser.add_argument("--export", type=Path, metavar="RUN", help="write the weights of a run and stop")
    parser.add_argument("-o", "--output", type=Path, help="folder for --export (default: RUN/weights)")


def run(args: argparse.Namespace) -> int:
    if args.export is not None:
        from sparsegen.training.run import export_weights

        print(export_weights(args.export, args.output))
        return 0
    from sparsegen.training.config import compose_config, config_text

    if args.settings:
        print(config_text(args.overrides), end="")
        return 0
    config = compose_config(args.overrides)
    from sparsegen.training.run import train

    status = _EXIT_STATUS.get(train(config), 0)
    # The other processes of a run end well: their failure would count as the first one's.
    return status if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0" else 0
