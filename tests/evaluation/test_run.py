"""The whole command on a small set with a small network."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen import cameras
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.evaluation import sheet
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.tasks import Task
from sparsegen.gaussians import Gaussians
from sparsegen.models import ModelConfig, SparseGen
from sparsegen.models.presets import tiny
from sparsegen.models.pretrained import save_pretrained

OBJECTS, VIEWS, SIZE = 3, 25, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test set, a gallery that holds its first object, and two models."""
    folder = tmp_path_factory.mktemp("evaluation")
    test, gallery = _painted(OBJECTS, seed=0), _painted(4, seed=1)
    gallery.images[2] = test.images[0]
    save_packed(test, folder / "test.pack")
    save_packed(gallery, folder / "gallery.pack")
    for seed, name in enumerate(("model", "blind")):
        torch.manual_seed(seed)
        save_pretrained(SparseGen(_small_config()), folder / name)
    return folder


def _painted(count: int, seed: int) -> Viewsets:
    images = np.zeros((count, VIEWS, SIZE, SIZE, 4), np.uint8)
    images[:, :, 8:24, 8:24, :3] = np.random.default_rng(seed).integers(0, 255, (count, VIEWS, 16, 16, 3))
    images[:, :, 8:24, 8:24, 3] = 255
    path = cameras.spiral(VIEWS, size=SIZE).reshape(1, VIEWS).expand(count, VIEWS)
    return Viewsets(images, path, [f"object-{seed}-{n}" for n in range(count)])


def _small_config() -> ModelConfig:
    config = tiny()
    return replace(
        config,
        image_size=SIZE,
        num_queries=8,
        expansion=4,
        width=32,
        heads=2,
        feed_forward=32,
        decoder_layers=2,
        detail_width=8,
        image_encoder=replace(config.image_encoder, width=32, depth=1, heads=2, patch_size=8),
    )


def _numbers(path: Path) -> list[dict[str, dict[str, float]]]:
    return [p["metrics"] for p in json.loads((path / "metrics.json").read_text())["predictors"]]


def test_everything_is_scored_by_the_same_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"--{name}={folder / path}" for name, path in (("data", "test.pack"), ("model", "model"))]
    arguments += [f"--gallery={folder / 'gallery.pack'}", f"--blind={folder / 'blind'}", f"-o={tmp_path}"]
    assert main(["eval", *arguments]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "model",
        "input-blind model, shuffled inputs",
        "nearest of 4 training objects",
        "mean of 4 training objects",
    ]
    model, _, nearest, mean = _numbers(tmp_path)
    assert 0 <= model["dead_share"]["mean"] <= 1
    assert mean["input_gap"]["mean"] == 0
    assert float(nearest["psnr"]["mean"]) == math.inf  # one of the test objects is in the gallery
    with (tmp_path / "per_object.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * OBJECTS
    columns = 1 + 2 * sheet.NOVEL_VIEWS
    with Image.open(tmp_path / "objects.png") as picture:
        assert picture.width >= columns * SIZE
        assert picture.height >= OBJECTS * SIZE
    assert (tmp_path / "report.html").read_text().count("data:image/png;base64,") >= OBJECTS
    assert not (tmp_path / "unfinished.jsonl").exists()
    report = (tmp_path / "report.md").read_text()
    assert "24 novel views judged" in report
    assert "LPIPS (VGG) not computed: weights missing" in report
    assert "FID and KID not computed: weights missing" in report


def test_a_models_scores_do_not_depend_on_the_batch_size(folder: Path, tmp_path: Path) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}", "--steps=2"]
    for size in (1, 8):
        assert main([*base, f"--batch-size={size}", f"-o={tmp_path / str(size)}"]) == 0
    (one,), (eight,) = _numbers(tmp_path / "1"), _numbers(tmp_path / "8")
    assert one == eight  # to the last bit


def test_a_model_called_blind_scores_as_the_model_with_shuffled_inputs(folder: Path, tmp_path: Path) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}"]
    assert main([*base, f"--blind={folder / 'model'}", f"-o={tmp_path / 'both'}"]) == 0
    assert main([*base, "--shuffled-inputs", f"-o={tmp_path / 'shuffled'}"]) == 0
    assert _numbers(tmp_path / "both")[1] == _numbers(tmp_path / "shuffled")[0]
    assert _numbers(tmp_path / "both")[0]["psnr"] != _numbers(tmp_path / "both")[1]["psnr"]


def test_two_input_views_and_the_noise_study(folder: Path, tmp_path: Path) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}", "--objects=2"]
    assert main([*base, "--inputs=2", "--noise-study", f"-o={tmp_path}"]) == 0
    assert "23 novel views judged" in (tmp_path / "report.md").read_text()
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert [row["steps"] for row in stored["noise_study"]] == [1, 2, 4, 8, 16]
    assert all(row["best_psnr"] >= row["psnr"] - 1e-4 for row in stored["noise_study"])
    assert stored["cost"]["primitives"] == 8 * 4
    page = (tmp_path / "report.html").read_text()
    for title in ("Input-view bias", "Utilization", "Size and time", "Does the noise do anything?"):
        assert f"<h2>{title}</h2>" in page


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}", "--batch-size=1"]
    assert main([*base, f"-o={tmp_path / 'whole'}"]) == 0
    generate, calls = Generated.generate, []

    def stopping(self: Generated, task: Task) -> Gaussians:
        calls.append(task)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return generate(self, task)

    monkeypatch.setattr(Generated, "generate", stopping)
    assert main([*base, f"-o={tmp_path / 'stopped'}"]) == 130
    assert not (tmp_path / "stopped" / "report.md").exists()
    assert main([*base, f"-o={tmp_path / 'stopped'}"]) == 0
    csv_files = [(tmp_path / name / "per_object.csv").read_bytes() for name in ("whole", "stopped")]
    assert csv_files[0] == csv_files[1]
    strips = [sorted(p.name for p in (tmp_path / name / "strips").iterdir()) for name in ("whole", "stopped")]
    assert strips[0] == strips[1]
    assert len(strips[0]) == OBJECTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data=missing.pack"], "missing.pack"),
        (["--model=nowhere"], "nowhere"),
        (["--inputs=3"], "defined for 1 or 2 input views, got 3"),
        (["--objects=99"], "cannot take 99 objects of a test set that has 3"),
        (["--batch-size=0"], "--batch-size must be at least 1, got 0"),
        (["--steps=0"], "--steps must be at least 1, got 0"),
        (["--lpips-weights=vgg.pth"], "weights missing, put vgg16-397923af.pth at vgg.pth"),
        (["--fid-weights=fid.pth"], "weights missing, put pt_inception-2015-12-05-6726825d.pth at fid.pth"),
        (["--device=abacus"], "device 'abacus' cannot be used here"),
        (["-o={folder}/test.pack/report"], "choose another path"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path,
    tmp_path: Path,
    change: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}"]
    assert main([*base, *(c.format(folder=folder) for c in change)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(tmp_path.glob("report/*"))


def test_a_model_for_another_resolution_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more_viewsets: Callable[..., Viewsets]
) -> None:
    small = more_viewsets(3)
    path = cameras.spiral(25, size=24).reshape(1, 25).expand(3, 25)
    save_packed(Viewsets(small.images.repeat(5, axis=1), path, small.names), tmp_path / "small.pack")
    assert (
        main(["eval", f"--data={tmp_path / 'small.pack'}", f"--model={folder / 'model'}", f"-o={tmp_path}"])
        == 2
    )
    assert "32 x 32 pixels, got 24 x 24" in capsys.readouterr().err
