"""Checkpoints of a run: written whole or not at all, the last few and the best kept."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path


class CheckpointFolder:
    """`step_00001234.pt` files, of which the newest `keep` stay, and `best.pt`."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"step_{step:08d}.pt"

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Write a checkpoint, then remove the oldest beyond `keep`."""
        path = self.path(step)
        with atomic_path(path) as temporary:
            _write(state, temporary)
        for old in self._steps()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def mark_best(self, path: Path) -> None:
        """Keep this checkpoint as `best.pt`: a hard link where the file system has them, else a copy."""
        with atomic_path(self.folder / "best.pt") as temporary:
            temporary.unlink(missing_ok=True)
            try:
                os.link(path, temporary)
            except OSError:
                shutil.copyfile(path, temporary)

    def latest(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        return next(iter(self._steps()[::-1]), None)

    def best(self) -> Path | None:
        """The best checkpoint by validation; the newest where nothing was validated."""
        path = self.folder / "best.pt"
        return path if path.exists() else self.latest()

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("step_????????.pt"))


def _write(state: Mapping[str, Any], path: Path) -> None:
    # Through a Python file, so that a full disk is an OSError, if behind an error of PyTorch's own.
    try:
        with path.open("wb") as file:
            torch.save(dict(state), file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; a file that is none is an `InputError`."""
    try:
        # Plain tensors, numbers and containers only: a checkpoint runs no code.
        return torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: not a readable checkpoint ({reason}); delete it to use the one before"
        ) from error
