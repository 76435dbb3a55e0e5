"""Steps that would spoil a run: noticed, skipped, and after too many of them kept for inspection."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch

from sparsegen.data.sampling import Batch
from sparsegen.formats.files import atomic_path

# The batch that ended a run, in its folder; every process keeps its own share.
BAD_BATCH = "bad_batch.pt"


def usable(loss: float, norm: float, running_loss: float, explosion: float) -> bool:
    """Whether a step with this loss and gradient norm may be taken.

    A loss above `explosion` times its running mean has exploded; while there is no mean (NaN), none has.
    """
    return math.isfinite(loss) and math.isfinite(norm) and not loss > explosion * running_loss


def save_bad_batch(batch: Batch, names: list[str], step: int, loss: float, folder: Path, rank: int) -> Path:
    """Write what the network saw and had to reconstruct, as plain tensors that `torch.load` reads."""
    path = folder / (BAD_BATCH if rank == 0 else f"bad_batch_rank{rank}.pt")
    content = {
        "step": step,
        "loss": loss,
        "objects": names,
        "clean": batch.clean,
        "times": batch.times.cpu(),
        "inputs": asdict(batch.inputs.to("cpu")),
        "targets": asdict(batch.targets.to("cpu")),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
    return path
