from __future__ import annotations

import pytest
import torch

from sparsegen.errors import InputError
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint


def test_the_newest_and_the_best_stay(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    assert folder.latest() is None
    for step in (5, 10, 20):
        path = folder.save({"step": step}, step)
        if step == 10:
            folder.mark_best(path)
    for step in (30, 40):
        folder.save({"step": step}, step)
    names = sorted(p.name for p in folder.folder.iterdir())
    assert names == ["best.pt", "step_00000030.pt", "step_00000040.pt"]
    latest, best = folder.latest(), folder.best()
    assert latest is not None
    assert best is not None
    assert load_checkpoint(latest)["step"] == 40
    assert load_checkpoint(best)["step"] == 10  # whole, though the step's own file is gone


def test_a_better_checkpoint_replaces_the_best(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=1)
    for step in (1, 2):
        folder.mark_best(folder.save({"step": step}, step))
    assert load_checkpoint(tmp_path / "best.pt")["step"] == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_damaged_checkpoints_are_named(tmp_path, damage):
    path = CheckpointFolder(tmp_path).save({"weights": torch.zeros(1000)}, 1)
    content = {"cut": path.read_bytes()[:900], "empty": b"", "other": b"\x89PNG not a checkpoint"}[damage]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"step_00000001\.pt: not a readable checkpoint") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    path = tmp_path / "evil.pt"
    torch.save({"x": Evil()}, path)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "made").exists()


def test_a_failed_write_leaves_the_old_files(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=1)
    folder.save({"step": 1}, 1)
    with pytest.raises(AttributeError):
        folder.save({"step": lambda: 2}, 2)  # cannot be pickled
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001.pt"]
