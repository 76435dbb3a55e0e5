"""Published weights that come in no package: found where torch hub keeps them, and checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from sparsegen.errors import InputError


def published_weights(metric: str, name: str, sha256: str, path: Path | None = None) -> dict[str, Tensor]:
    """The entries of the file `name`, at `path` or in torch hub's cache folder, on the CPU.

    `sha256` starts the file's digest: no other network's number shall ever stand under the metric's name.
    Raises `InputError` where the file is missing or is another one.
    """
    path = path or Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise InputError(f"{metric} not computed: weights missing, put {name} at {short_path(path)}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256):
        raise InputError(
            f"{metric} not computed: {short_path(path)} is not the published {name} (its SHA-256 starts with "
            f"{digest[:8]}, expected {sha256}); put the published file there"
        )
    return torch.load(path, weights_only=True, map_location="cpu")


def short_path(path: Path) -> str:
    """The path with ~ for the home folder: reports travel, and say nothing of whose machine wrote them."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)
