"""`sparsegen train` as a user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparsegen.cameras import on_sphere
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.models.pretrained import load_pretrained
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint

SIZE = 32
SMALL = [
    f"model.image_size={SIZE}", f"model.image_encoder.input_size={SIZE}", "model.image_encoder.table_size=4",
    "model.image_encoder.patch_size=8", "model.image_encoder.width=32", "model.image_encoder.heads=2",
    "model.width=32", "model.heads=2", "model.feed_forward=64", "model.num_queries=16", "model.expansion=4",
    "batch_size=2", "device=cpu", "log_every=1",
]  # fmt: skip


@pytest.fixture
def pack(tmp_path) -> Path:
    """Two flat discs of one color each, from eight sides."""
    images = np.zeros((2, 8, SIZE, SIZE, 4), np.uint8)
    row, column = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    images[..., 3] = 255 * (row**2 + column**2 < 100)
    images[0, ..., 0] = images[1, ..., 2] = 200
    azimuth = torch.arange(8) * 0.7
    cameras = on_sphere(azimuth, 0 * azimuth + 0.4, size=SIZE).expand(2, 8)
    path = tmp_path / "discs.pack"
    save_packed(Viewsets(images, cameras, ["red", "blue"]), path)
    return path


def arguments(pack: Path, *more: str) -> list[str]:
    runs = pack.parent / "runs"
    return ["train", f"data.train={pack}", f"data.val={pack}", f"runs={runs}", *SMALL, *more]


def test_a_run_leaves_weights_that_load(pack, capsys):
    assert main(arguments(pack, "max_steps=4", "name=a")) == 0
    run = pack.parent / "runs" / "a"
    model = load_pretrained(run / "weights")
    state = load_checkpoint(CheckpointFolder(run / "checkpoints").best())  # type: ignore[arg-type]
    for name, value in state["ema"]["model"].items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-3, rtol=1e-3)  # half precision
    config = json.loads((run / "weights" / "config.json").read_text())
    assert config["training"]["samples"] == config["training"]["step"] * 2
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [event.step for event in board.Scalars("validation/gap")] == [4]

    # The same command goes on where it ended; weights can be exported again and started from.
    assert main(arguments(pack, "max_steps=6", "name=a")) == 0
    latest = CheckpointFolder(run / "checkpoints").latest()
    assert latest is not None
    assert latest.name == "step_00000006.pt"
    out = pack.parent / "exported"
    assert main(["train", "--export", str(run), "-o", str(out)]) == 0
    assert main(arguments(pack, "max_steps=1", "name=b", f"init={out}")) == 0


def test_exported_weights_keep_a_share_of_those_that_the_run_began_with(pack, capsys):
    """Grown as they were then, from a smaller network: growing draws random numbers."""
    runs = pack.parent / "runs"
    common = ["model.detail_blocks=1", "optimizer.warmup_steps=0"]
    wide = ["model.width=64", "model.heads=4", "model.feed_forward=128", "seed=3"]
    wide.append(f"init={runs / 'small' / 'weights'}")
    assert main(arguments(pack, *common, "max_steps=1", "name=small")) == 0
    assert main(arguments(pack, *common, *wide, "max_steps=1", "name=begun", "lr=1e-9")) == 0
    assert main(arguments(pack, *common, *wide, "max_steps=4", "name=wide", "lr=1e-2", "ema_decay=0.1")) == 0
    states = {}
    for name, more in {"start": [], "end": [], "kept": ["--last", "--start-share", "0.25"]}.items():
        run, out = runs / ("begun" if name == "start" else "wide"), pack.parent / name
        assert main(["train", "--export", str(run), "-o", str(out), *more]) == 0
        states[name] = load_pretrained(out).state_dict()
    moved = 0.0
    for name, kept in states["kept"].items():
        start, end = states["start"][name], states["end"][name]
        moved = max(moved, float((end - start).abs().max()))
        torch.testing.assert_close(kept, 0.75 * end + 0.25 * start, atol=2e-3, rtol=2e-3)
    assert moved > 0.02

    capsys.readouterr()
    assert main(["train", "--export", str(runs / "small"), "--start-share", "0.1"]) == 2
    assert "began with fresh weights" in capsys.readouterr().err
    assert main(["train", "--export", str(runs / "wide"), "--start-share", "1.5"]) == 2
    assert "--start-share 1.5: expected a share" in capsys.readouterr().err


def test_a_run_goes_on_elsewhere_from_small_files(pack, capsys):
    assert main(arguments(pack, "max_steps=2", "name=here")) == 0
    runs, carried = pack.parent / "runs", pack.parent / "carried"
    capsys.readouterr()
    assert main(["train", "--shrink", str(runs / "here"), "-o", str(carried)]) == 0
    assert capsys.readouterr().out.startswith(f"{carried}: step 2, ")
    assert main(["train", "--restore", str(carried), "-o", str(runs / "there")]) == 0
    assert main(arguments(pack, "max_steps=4", "name=there")) == 0
    state = load_checkpoint(runs / "there" / "checkpoints" / "step_00000004.pt")
    assert state["samples"] == 8
    curves = pack.parent / "curves.svg"
    assert main(["train", "--curves", str(runs / "there"), "-o", str(curves)]) == 0
    drawn = curves.read_text()
    assert drawn.count("<title>there: ") == 2 * drawn.count("<polyline") > 0  # validated at both places


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_ended_run_leaves_a_whole_checkpoint(pack, number, status):
    program = "from sparsegen.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", program, *arguments(pack, "max_time=10m", "name=long")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    run = pack.parent / "runs" / "long"
    log = run / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 2):
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith(f"{number.name} at step")
    latest = CheckpointFolder(run / "checkpoints").latest()
    assert latest is not None
    assert load_checkpoint(latest)["step"] >= 2
    assert unfinished(run) == []


# A limit on the size of files stands for a disk that fills up: 60 kB are less than a checkpoint.
FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
from sparsegen.cli.main import main
raise SystemExit(main())
"""


def test_a_full_disk_is_one_line(pack):
    command = [sys.executable, "-c", FULL_DISK, *arguments(pack, "max_steps=2", "name=full")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    run = pack.parent / "runs" / "full"
    assert done.stderr.splitlines()[-1].startswith(f"sparsegen: {run}")
    assert "cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert list(run.rglob("*.pt")) == []
    assert unfinished(run) == []


def test_a_run_folder_that_cannot_be_made_is_one_line(pack, capsys):
    (pack.parent / "runs").write_text("a file where the folder of runs should be")
    assert main(arguments(pack, "max_steps=1")) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "a part of the path is a file" in errors


def unfinished(folder: Path) -> list[Path]:
    """Temporary files of outputs that never became whole."""
    return [path for path in folder.rglob("*") if ".part" in path.name]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data.train=nowhere.pack", "max_steps=1"], "nowhere.pack: no such"),
        (["max_steps=1"], "data.train is not set"),
        (["data.train=a", "max_steps=1", "model.widht=3"], "model.widht: no such setting"),
        (["--export", "nowhere"], "nowhere: not a training run"),
        (["--shrink", "nowhere"], "nowhere: not a training run"),
        (["--restore", "nowhere", "-o", "run"], "nowhere: no hand-over"),
        (["--restore", "nowhere"], "--restore: name the run"),
        (["--curves", "nowhere"], "nowhere/log.jsonl: not found"),
        (["--last", "max_steps=1"], "--last goes with --export RUN"),
        (["--start-share", "0.0", "--shrink", "a"], "--start-share goes with --export RUN"),
        (["--mib", "3", "--export", "a"], "--mib goes with --shrink RUN"),
        (["--axis", "objects"], "--axis goes with --curves RUN"),
        (["max_steps=1", "-o", "out"], "-o goes with --export RUN, --curves RUN"),
        (["--settings", "max_time=never"], "max_time=never: expected a duration"),
    ],
)
def test_mistakes_end_with_one_line(arguments, expected, capsys):
    assert main(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert expected in captured.err


def test_a_set_of_another_size_is_refused(pack, capsys):
    assert main(arguments(pack, "max_steps=1", "model.image_size=64")) == 2
    error = capsys.readouterr().err
    assert "discs.pack: pictures of 32 x 32 pixels, but the model takes 64 x 64" in error


def test_an_existing_run_is_not_overwritten(pack, capsys):
    assert main(arguments(pack, "max_steps=1", "name=a")) == 0
    capsys.readouterr()
    assert main(arguments(pack, "max_steps=1", "name=a", "resume=false")) == 2
    assert "holds a run already" in capsys.readouterr().err
    # Neither does a network of another shape go on from its checkpoint.
    assert main(arguments(pack, "max_steps=2", "name=a", "model.num_queries=8")) == 2
    assert "unit_anchors" in capsys.readouterr().err


def test_settings_are_printed_as_yaml(capsys):
    assert main(["train", "--settings", "model=base"]) == 0
    assert "num_queries: 512" in capsys.readouterr().out
