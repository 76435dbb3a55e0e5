"""What a hand-over costs: a run goes on from its checkpoint, and from what `train --shrink` leaves of it.

    python benchmarks/handover_cost.py runs/base --steps 200 --bits 42 21 17

--bits: how much may be carried, in bits a weight; `base` in 60 MiB has 21. All go on with the same batches.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from sparsegen.data.loading import load_viewsets
from sparsegen.data.packed import Viewsets
from sparsegen.tables import markdown_table
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import TrainConfig, load_config
from sparsegen.training.devices import build_fabric
from sparsegen.training.handover import MIB, restore, shrink
from sparsegen.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--bits", type=float, nargs="+", default=[42, 21, 17])
    args = parser.parse_args()
    config = load_config(args.run / "config.yaml")
    assert config.data.val is not None
    data = load_viewsets(config.data.train), load_viewsets(config.data.val)
    path = CheckpointFolder(args.run / "checkpoints").latest()
    assert path is not None
    count = sum(weights.numel() for weights in load_checkpoint(path)["model"].values())
    besides = sum((args.run / name).stat().st_size for name in ("config.yaml", "log.jsonl")) + MIB // 4
    rows = [["the checkpoint itself", *scores(config, path, data, args.steps)]]
    for bits in args.bits:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            written = shrink(args.run, out / "handover", (bits * count / 8 + besides) / MIB)
            path = restore(out / "handover", out / "run")
            carried = ", ".join(f"{name} {bits}" for name, bits in written.bits.items() if bits)
            rows.append([carried, *scores(config, path, data, args.steps)])
    header = ["bits carried of", "PSNR at once", "input gap", f"PSNR after {args.steps} steps", "input gap"]
    print(markdown_table(header, rows))


def scores(config: TrainConfig, path: Path, data: tuple[Viewsets, Viewsets], steps: int) -> list[str]:
    """PSNR and input gap of the averaged weights, at once and some steps later."""
    torch.manual_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        fabric = build_fabric(config.device, config.precision)
        trainer = Trainer(config, config.model.build(), fabric, Path(folder), *data)
        assert trainer.validator is not None
        trainer.resume(path)
        found = [trainer.validator.scores(trainer.ema.model, trainer.renderer)]
        trainer.fit(steps=steps)
        found.append(trainer.validator.scores(trainer.ema.model, trainer.renderer))
    return [f"{value:.2f}" for score in found for value in (score.psnr, score.gap)]


if __name__ == "__main__":
    main()
