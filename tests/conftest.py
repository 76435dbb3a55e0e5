"""What holds for all tests, and faults of the world that several parts must survive."""

from pathlib import Path

import pytest
import torch

from sparsegen.formats import files


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture
def full_disk(monkeypatch):
    """Every output is written to a device that answers each write with "No space left on device"."""
    name_beside = files._temporary_sibling

    def on_a_full_device(final: Path) -> Path:
        temporary = name_beside(final)
        temporary.symlink_to("/dev/full")
        return temporary

    monkeypatch.setattr(files, "_temporary_sibling", on_a_full_device)
