"""Several processes that share a batch do what one does, and end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import one_rank
import pytest
import torch
from balls import ball_viewsets
from small import NETWORK

from sparsegen.cli.main import main
from sparsegen.data.packed import save_packed
from sparsegen.errors import InputError
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import DataConfig, save_config
from sparsegen.training.devices import build_fabric

LR = 1e-4
# A constant learning rate, and no chance in the layers.
SETTINGS = [
    *NETWORK, "batch_size=4", "device=cpu", "precision=float32", "log_every=1", f"lr={LR}", "final=1",
    "warmup_steps=1",
]  # fmt: skip


@pytest.fixture
def pack(tmp_path) -> Path:
    path = tmp_path / "balls.pack"
    save_packed(ball_viewsets(torch.rand(6, 3)), path)
    return path


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
# Seconds after which processes that wait for each other for ever are given up, and that they have to end in.
PATIENCE, GRACE = 300, 40


@contextmanager
def started(program: list[str], env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process; where its test fails or has waited too long, it is ended with those that it started."""
    with subprocess.Popen(
        program, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        except BaseException:
            if process.poll() is None:
                process.terminate()  # `torchrun` then ends its ranks, which are in sessions of their own
                time.sleep(GRACE)
                os.killpg(process.pid, signal.SIGKILL)
            raise


def errors_of(process: subprocess.Popen[str]) -> str:
    """What a process says on the way to its end, which it must come to."""
    return process.communicate(timeout=PATIENCE)[1]


def succeeds(program: list[str]) -> str:
    with started(program) as process:
        errors = errors_of(process)
    assert process.returncode == 0, errors
    return errors


def wait_for_a_checkpoint(process: subprocess.Popen[str], checkpoints: CheckpointFolder) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and checkpoints.latest() is None:
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def two_ranks(program: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes of one run, with the environment that `torchrun` gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {
        "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
    }  # fmt: skip
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                started(
                    [sys.executable, *program],
                    os.environ | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                )
            )
            for rank in range(2)
        ]


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "intermediate"), [("ddp", 0.3), ("ddp", 0.0), ("fsdp", 0.0)])
def test_two_halves_of_a_batch_give_the_gradients_of_the_whole(
    tiny_config, pack, tmp_path, strategy, intermediate
):
    """With layers that no loss looks at, heads of their own, prefixes of the queries, and no noised view."""
    config = replace(
        tiny_config,
        batch_size=4,
        strategy=strategy,
        data=DataConfig(train=str(pack)),
        elastic_probability=0.5,
        loss=replace(tiny_config.loss, intermediate=intermediate),
        model=replace(tiny_config.model, dropout=0.0, head=replace(tiny_config.model.head, shared=False)),
    )
    save_config(config, tmp_path / "config.yaml")
    program = [one_rank.__file__, str(tmp_path / "config.yaml"), str(tmp_path / "gradients.pt")]
    succeeds([*TORCHRUN, *program])
    halves = torch.load(tmp_path / "gradients.pt")
    whole = one_rank.gradients(replace(config, strategy="auto"), tmp_path)
    for of_halves, of_whole in zip(halves, whole, strict=True):
        assert of_halves.keys() == of_whole.keys()
        for name, expected in of_whole.items():
            scale = expected.abs().max().item()
            torch.testing.assert_close(of_halves[name], expected, atol=1e-4 * scale + 1e-9, rtol=1e-3)
    assert not torch.equal(whole[0]["unit_anchors"], whole[1]["unit_anchors"])


@pytest.mark.slow
def test_a_run_goes_on_with_more_processes_and_with_fewer(pack):
    command = ["train", f"data.train={pack}", f"data.val={pack}", f"runs={pack.parent}", *SETTINGS]
    assert main([*command, "name=one", "max_steps=8"]) == 0
    assert main([*command, "name=changing", "max_steps=2"]) == 0
    two = [[sys.executable, "-m", "sparsegen", *command, "devices=2", "strategy=ddp"]]
    two.append([*TORCHRUN, "-m", "sparsegen", *command, "strategy=fsdp"])
    for program, steps in zip(two, (4, 6), strict=True):
        settings = ["name=changing", f"max_steps={steps}"]
        said = succeeds([*program, *settings])
        assert said.count("resumed from") == 1  # one process speaks for both
        middle = load_checkpoint(pack.parent / "changing" / "checkpoints" / f"step_{steps:08d}.pt")
        assert len(middle["rng"]) == 2
    assert main([*command, "name=changing", "max_steps=8"]) == 0
    one, changing = (
        load_checkpoint(pack.parent / name / "checkpoints" / "step_00000008.pt")
        for name in ("one", "changing")
    )
    assert (changing["step"], changing["samples"]) == (8, 32)
    assert changing["running_loss"] == pytest.approx(one["running_loss"], rel=1e-4)
    for name, weights in one["model"].items():
        assert (changing["model"][name] - weights).abs().mean() < 0.1 * LR, name
    log = (pack.parent / "changing" / "log.jsonl").read_text().splitlines()
    assert sum('"event": "train"' in line for line in log) == 8


@pytest.mark.slow
def test_processes_that_share_the_matrices_move_them_as_one_does(pack):
    """And momentum is whole in their checkpoint: one process goes on from it as if it had been alone."""
    large = ["model.width=64", "model.feed_forward=128", "model.image_encoder.width=64", "matrices=muon"]
    command = ["train", f"data.train={pack}", f"runs={pack.parent}", *SETTINGS, *large]
    assert main([*command, "name=one", "max_steps=6"]) == 0
    program = [sys.executable, "-m", "sparsegen", *command, "devices=2", "strategy=ddp"]
    succeeds([*program, "name=two", "max_steps=3"])
    assert main([*command, "name=two", "max_steps=6"]) == 0
    one, two = (
        load_checkpoint(pack.parent / name / "checkpoints" / "step_00000006.pt") for name in ("one", "two")
    )
    momenta, shared = (
        {i: e["momentum_buffer"] for i, e in run["optimizer"]["state"].items() if "momentum_buffer" in e}
        for run in (one, two)
    )
    assert len(momenta) > 10
    for index, alone in momenta.items():  # rounding moves those of tiny gradients by a hundredth or two
        assert (shared[index] - alone).norm() < 0.2 * alone.norm(), index
    for name, weights in one["model"].items():
        assert (two["model"][name] - weights).abs().mean() < 0.2 * LR, name


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_the_checkpoint_is_whole(pack):
    command = ["train", f"data.train={pack}", f"runs={pack.parent}", *SETTINGS, "name=killed"]
    program = ["-m", "sparsegen", *command, "max_time=1h", "checkpoint_every=0s"]
    checkpoints = CheckpointFolder(pack.parent / "killed" / "checkpoints")
    with two_ranks(program) as (first, second):
        wait_for_a_checkpoint(first, checkpoints)
        second.kill()
        errors = errors_of(first)
    assert first.returncode == 2, errors
    assert "Traceback" not in errors
    assert "killed: another process of this run has ended (this is process 0 of 2)" in errors.splitlines()[-1]
    latest = checkpoints.latest()
    assert latest is not None
    assert load_checkpoint(latest)["step"] >= 1
    assert not [path for path in checkpoints.folder.iterdir() if ".part" in path.name]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_torchrun_ends_when_a_process_is_killed_and_goes_on_when_it_is_run_again(pack):
    command = ["-m", "sparsegen", "train", f"data.train={pack}", f"runs={pack.parent}", *SETTINGS]
    endless = [*TORCHRUN, *command, "name=killed", "max_time=1h", "checkpoint_every=0s"]
    checkpoints = CheckpointFolder(pack.parent / "killed" / "checkpoints")
    with started(endless) as agent:
        wait_for_a_checkpoint(agent, checkpoints)
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        ranks = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in children}
        victim = next(int(pid) for pid, environment in ranks.items() if b"RANK=1" in environment)
        os.kill(victim, signal.SIGKILL)
        errors = errors_of(agent)
    assert agent.returncode != 0
    assert "SIGKILL" in errors
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    latest = checkpoints.latest()
    assert latest is not None
    step = load_checkpoint(latest)["step"]
    assert not [path for path in checkpoints.folder.iterdir() if ".part" in path.name]
    again = [*TORCHRUN, *command, "name=killed", f"max_steps={step + 2}"]
    succeeds(again)
    assert load_checkpoint(checkpoints.path(step + 2))["samples"] == 4 * (step + 2)


@pytest.mark.parametrize(
    ("settings", "environment", "expected"),
    [
        ({"strategy": "dpp"}, {}, "strategy=dpp: expected auto, ddp or fsdp"),
        ({"devices": 0}, {}, "devices=0 nodes=1: expected at least 1"),
        (
            {"devices": 4},
            {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"},
            "devices=4: torchrun has started 2 processes here",
        ),
    ],
)
def test_impossible_worlds_are_refused(monkeypatch, settings, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=expected):
        build_fabric("cpu", **settings)
