"""What is carried from one machine to the next, and what that loses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from sparsegen.errors import InputError
from sparsegen.models import SparseGen
from sparsegen.training import optimization
from sparsegen.training.checkpoints import CheckpointFolder, load_checkpoint
from sparsegen.training.config import save_config
from sparsegen.training.devices import build_fabric
from sparsegen.training.handover import restore, shrink
from sparsegen.training.trainer import Trainer


def trainer_of(config, data, folder: Path) -> Trainer:
    torch.manual_seed(0)
    return Trainer(config, SparseGen(config.model), build_fabric("cpu", "float32"), folder, data)


@pytest.fixture
def run(tiny_config, two_balls, tmp_path) -> Path:
    """A run of eight steps."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_config(tiny_config, folder / "config.yaml")
    trainer_of(tiny_config, two_balls, folder).fit()
    return folder


def newest(run: Path) -> dict:
    path = CheckpointFolder(run / "checkpoints").latest()
    assert path is not None
    return load_checkpoint(path)


def flat(weights: dict) -> torch.Tensor:
    return torch.cat([w.flatten() for w in weights.values()])


def moments(state: dict, name: str) -> torch.Tensor:
    return torch.cat([entry[name].flatten() for entry in state["optimizer"]["state"].values()])


def test_with_room_everything_is_carried_in_8_bits(run, tmp_path):
    written = shrink(run, tmp_path / "out")
    assert written.bits == {"weights": 16, "average": 8, "second": 8, "first": 8}
    restore(tmp_path / "out", tmp_path / "again")
    before, after = newest(run), newest(tmp_path / "again")
    assert (after["step"], after["samples"], after["seconds_used"]) == (8, 16, before["seconds_used"])
    assert after["warm_from"] == 0
    torch.testing.assert_close(flat(after["model"]), flat(before["model"]), atol=1e-6, rtol=2**-11)
    assert list(after["model"]) == list(before["model"])
    # The distance between the averaged weights and the weights is kept to a hundredth of itself.
    distance = flat(before["ema"]["model"]) - flat(before["model"])
    lost = flat(after["ema"]["model"]) - flat(before["ema"]["model"])
    assert lost.square().mean() < 1e-4 * distance.square().mean()
    assert after["ema"]["updates"] == before["ema"]["updates"] == 8
    second, first = (moments(before, name) for name in ("exp_avg_sq", "exp_avg"))
    ratio = moments(after, "exp_avg_sq").clamp_min(1e-20) / second.clamp_min(1e-20)
    assert (ratio.log2().abs() < 0.2).all()  # whatever their size: none becomes zero
    assert (moments(after, "exp_avg") - first).abs().max() < 0.01 * first.abs().max()
    assert (run / "log.jsonl").read_text() == (tmp_path / "again" / "log.jsonl").read_text()


def test_the_pieces_are_one_safetensors_file(run, tmp_path):
    shrink(run, tmp_path / "out", piece_mib=0.05)
    pieces = sorted(tmp_path.glob("out/state.*"), key=lambda path: int(path.suffix[1:]))
    assert len(pieces) > 2
    assert all(path.stat().st_size <= 0.05 * 2**20 for path in pieces)
    whole = load(b"".join(path.read_bytes() for path in pieces))
    assert torch.equal(whole["weights"], flat(newest(run)["model"]).half())
    restore(tmp_path / "out", tmp_path / "again")


@pytest.mark.parametrize(
    ("bits_a_number", "expected"),
    [
        (28, (16, 8, 0, 0)),
        (22, (16, 4, 0, 0)),
        (26.5, (16, 8, 0, 0)),
        (36, (16, 8, 8, 0)),
        (17, (16, 0, 0, 0)),
    ],
)
def test_what_does_not_fit_is_left_out_by_its_worth(run, tmp_path, bits_a_number, expected):
    count = len(flat(newest(run)["model"]))
    besides = sum((run / name).stat().st_size for name in ("config.yaml", "log.jsonl"))
    mib = (bits_a_number * count / 8 + besides) / 2**20 + 0.25
    written = shrink(run, tmp_path / "out", mib)
    assert tuple(written.bits.values()) == expected
    on_disk = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert written.bytes == on_disk <= mib * 2**20


def test_4_bits_keep_the_averaged_weights_and_the_second_moments(run, tmp_path):
    from sparsegen.training.handover import _from_linear, _from_logarithmic, _linear, _logarithmic

    second = moments(newest(run), "exp_avg_sq")
    ratio = _from_logarithmic(*_logarithmic(second, 4), 4)[: len(second)] / second.clamp_min(1e-20)
    assert ratio.log2().abs().median() < 0.5
    noise = torch.randn(1000) * 1e-7
    kept = _from_linear(*_linear(noise, 4), 4)[:1000]
    assert (kept - noise).square().mean() < 0.03 * noise.square().mean()


def test_without_second_moments_the_learning_rate_warms_up_again(run, tiny_config, two_balls, tmp_path):
    count = len(flat(newest(run)["model"]))
    shrink(run, tmp_path / "out", 17 * count / 8 / 2**20 + 0.3)
    checkpoint = restore(tmp_path / "out", tmp_path / "again")
    longer = replace(tiny_config, max_steps=40)
    rates = {}
    for name, path in (("carried", checkpoint), ("whole", CheckpointFolder(run / "checkpoints").latest())):
        trainer = trainer_of(longer, two_balls, tmp_path / name)
        assert path is not None
        trainer.resume(path)
        rates[name] = []
        trainer.fit(steps=0)
        for _ in range(4):
            trainer.train_step()
            rates[name].append(trainer.optimizer.param_groups[0]["lr"])
    # The warm-up of this configuration takes three steps.
    shares = [a / b for a, b in zip(rates["carried"], rates["whole"], strict=True)]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1, 1], rel=1e-3)


@pytest.mark.parametrize("damage", ["missing", "changed", "index"])
def test_damaged_pieces_are_named(run, tmp_path, damage):
    out = tmp_path / "out"
    shrink(run, out, piece_mib=0.05)
    piece = out / "state.1"
    if damage == "missing":
        piece.unlink()
    elif damage == "changed":
        piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    else:
        piece = out / "handover.json"
        piece.write_text('{"format": "another"}')
    with pytest.raises(InputError) as caught:
        restore(out, tmp_path / "again")
    assert str(caught.value).startswith(str(piece))
    assert not (tmp_path / "again").exists()


def test_a_damaged_index_is_named(run, tmp_path):
    shrink(run, tmp_path / "out")
    path = tmp_path / "out" / "handover.json"
    whole = json.loads(path.read_text())
    emptied: dict[str, object] = {"bits": {}, "plain": {}, "pieces": []}
    damages = [({name: value}, "does not fit the pieces") for name, value in emptied.items()]
    damages += [({name: None}, f"'{name}' is missing or damaged") for name in whole if name != "format"]
    for damage, expected in damages:
        path.write_text(json.dumps(whole | damage))
        with pytest.raises(InputError, match=expected) as caught:
            restore(tmp_path / "out", tmp_path / "again")
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "again").exists()


def test_a_folder_without_an_index_is_no_hand_over(tmp_path):
    with pytest.raises(InputError, match=r"^\S+: no hand-over; expected a folder that `sparsegen train --sh"):
        restore(tmp_path, tmp_path / "again")


def test_nothing_is_overwritten_and_too_little_room_is_said(run, tmp_path):
    with pytest.raises(InputError, match=r"weights alone take more than 0\.3 MiB"):
        shrink(run, tmp_path / "out", 0.3)
    assert not (tmp_path / "out").exists()
    shrink(run, tmp_path / "out")
    with pytest.raises(InputError, match="out: cannot be written"):
        shrink(run, tmp_path / "out")
    with pytest.raises(InputError, match="holds a run already"):
        restore(tmp_path / "out", run)
    with pytest.raises(InputError, match="not a training run with a checkpoint"):
        shrink(tmp_path / "nothing", tmp_path / "other")


def test_a_run_with_muon_goes_on_without_its_momentum(tiny_config, two_balls, tmp_path, monkeypatch):
    monkeypatch.setattr(optimization, "_LEAST_SIDE", 16)
    config = replace(tiny_config, optimizer=replace(tiny_config.optimizer, matrices="muon"))
    folder = tmp_path / "muon"
    folder.mkdir()
    save_config(config, folder / "config.yaml")
    trainer_of(config, two_balls, folder).fit()
    assert any("momentum_buffer" in entry for entry in newest(folder)["optimizer"]["state"].values())
    shrink(folder, tmp_path / "out")
    checkpoint = restore(tmp_path / "out", tmp_path / "again")
    trainer = trainer_of(replace(config, max_steps=10), two_balls, tmp_path / "again")
    trainer.resume(checkpoint)
    assert trainer.fit() == "finished"
    assert trainer.step == 10
