"""The whole command on a small set with a small network."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from sparsegen import cameras
from sparsegen.cli.main import main
from sparsegen.data.depths import save_depths
from sparsegen.data.layouts.srn import save_srn
from sparsegen.data.layouts.transforms_json import save_transforms
from sparsegen.data.packed import Viewsets, load_packed, save_packed
from sparsegen.data.viewpoints import INPUT_VIEW
from sparsegen.evaluation import sheet
from sparsegen.evaluation.predictors import Generated
from sparsegen.evaluation.tasks import Task
from sparsegen.formats.images import save_image
from sparsegen.gaussians import Gaussians
from sparsegen.generation import Pipeline
from sparsegen.models import ModelConfig, SparseGen
from sparsegen.models.presets import tiny
from sparsegen.models.pretrained import save_pretrained
from sparsegen.splatting import render

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


def test_a_report_may_hold_a_metric_that_only_some_predictors_have(folder: Path, tmp_path: Path) -> None:
    """Depths are known of Gaussians, not of the baselines' pictures."""
    viewsets = load_packed(folder / "test.pack")
    save_depths(np.full(viewsets.images.shape[:-1], 20_000, np.uint16), viewsets.names, tmp_path / "depths")
    arguments = [f"--{name}={folder / path}" for name, path in (("data", "test.pack"), ("model", "model"))]
    arguments += [f"--gallery={folder / 'gallery.pack'}", f"--depth={tmp_path / 'depths'}"]
    assert main(["eval", *arguments, f"-o={tmp_path / 'report'}"]) == 0
    model, nearest, mean = _numbers(tmp_path / "report")
    assert "depth_error" in model
    assert "depth_error" not in nearest
    assert "depth_error" not in mean


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


def test_scores_do_not_depend_on_the_number_of_processes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}", "--queries", "2"]
    outputs = {name: tmp_path / name for name in ("one", "two", "torchrun")}
    assert main([*base, "--batch-size=1", f"-o={outputs['one']}"]) == 0
    assert main([*base, "--devices=2", f"-o={outputs['two']}"]) == 0
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "10":  # the first process, which gathers, here comes last
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main([*base, f"-o={outputs['torchrun']}"]) == 0
        assert (outputs["torchrun"] / "report.md").exists() == (rank == "0")
    for output in outputs.values():
        assert (output / "per_object.csv").read_bytes() == (outputs["one"] / "per_object.csv").read_bytes()
        assert _numbers(output) == _numbers(outputs["one"])  # to the last bit
        scaling = [json.loads((o / "metrics.json").read_text())["scaling"] for o in (output, outputs["one"])]
        # Each process has fewer threads, and matrix products of other numbers of threads round otherwise.
        assert scaling[0][0]["metrics"] == pytest.approx(scaling[1][0]["metrics"], abs=1e-6)
        assert len(list((output / "strips").iterdir())) == OBJECTS
        assert not list(output.glob("unfinished*"))


def test_a_lost_process_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsegen.evaluation.run._help", os._exit)  # it does not know its share
    arguments = [f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}", f"-o={tmp_path}"]
    assert main(["eval", *arguments, "--devices=2"]) == 2
    assert "a process of --devices 2 was lost" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "unfinished.jsonl").exists()  # what the first one scored is kept


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
    assert stored["cost"]["model"]["primitives"] == 8 * 4
    page = (tmp_path / "report.html").read_text()
    for title in ("Input-view bias", "Utilization", "Size and time", "Does the noise do anything?"):
        assert f"<h2>{title}</h2>" in page


def test_any_folder_of_posed_pictures(folder: Path, tmp_path: Path) -> None:
    few = _painted(1, seed=0)
    save_transforms(Viewsets(few.images[:, :4], few.cameras[:, :4], few.names), tmp_path / "shots")
    base = [
        "eval",
        f"--data={tmp_path / 'shots'}",
        f"--model={folder / 'model'}",
        f"-o={tmp_path / 'report'}",
    ]
    assert main([*base, "--input-views", "1", "3"]) == 0
    (predictor,) = json.loads((tmp_path / "report" / "metrics.json").read_text())["predictors"]
    assert (predictor["input_views"], predictor["target_views"]) == ([1, 3], [0, 2])


def test_scaling_with_queries(folder: Path, tmp_path: Path) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={folder / 'model'}", "--objects=1"]
    assert main([*base, "--queries", "8", "2", "2", f"-o={tmp_path}"]) == 0
    few, all_of_them = json.loads((tmp_path / "metrics.json").read_text())["scaling"]
    assert [point["cost"]["primitives"] for point in (few, all_of_them)] == [2 * 4, 8 * 4]
    assert few["cost"]["ply_kb"] < all_of_them["cost"]["ply_kb"]
    assert all_of_them["metrics"]["psnr"] == _numbers(tmp_path)[0]["psnr"]["mean"]
    # By hand: the pipeline with two queries, and scikit-image's PSNR.
    viewsets = load_packed(folder / "test.pack")
    judged = [view for view in range(VIEWS) if view != INPUT_VIEW]
    given = viewsets.views(torch.tensor([0]), torch.tensor([[INPUT_VIEW]]))
    gaussians = Pipeline.from_pretrained(folder / "model", "cpu").sample(0, given, queries=2)
    drawn = render(gaussians, viewsets.cameras[0][judged], depth=False).rgb.clamp(0, 1)
    truth = viewsets.views(torch.tensor([0]), torch.tensor([judged])).images[0]
    pairs = zip(truth.numpy(), drawn.numpy(), strict=True)
    by_hand = np.mean([peak_signal_noise_ratio(t, d, data_range=1) for t, d in pairs])
    assert few["metrics"]["psnr"] == pytest.approx(by_hand, abs=1e-4)
    report = (tmp_path / "report.md").read_text()
    figures = re.findall(r"\]\((.*?)\)", report.partition("## Scaling with queries")[2])
    assert any("anchor queries" in (tmp_path / file).read_text() for file in figures)


def test_models_beside_are_told_as_much_of_as_the_first(folder: Path, tmp_path: Path) -> None:
    base = ["eval", f"--data={folder / 'test.pack'}"]
    beside = [f"twin={folder / 'model'}", str(folder / "blind")]
    assert main([*base, f"--model={folder / 'model'}", "--beside", *beside, f"-o={tmp_path / 'all'}"]) == 0
    assert main([*base, f"--model={folder / 'blind'}", f"-o={tmp_path / 'alone'}"]) == 0
    first, twin, other = _numbers(tmp_path / "all")
    assert twin == first
    assert other == _numbers(tmp_path / "alone")[0]
    stored = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert stored["minus_first"]["twin"]["psnr"] == {"mean": 0, "low": 0, "high": 0}
    gain = other["psnr"]["mean"] - first["psnr"]["mean"]
    assert stored["minus_first"]["blind"]["psnr"]["mean"] == pytest.approx(gain, abs=1e-4)
    assert [stored["cost"][name]["primitives"] for name in ("model", "twin", "blind")] == [8 * 4] * 3
    # A strip of each object from each model, and those of twins are alike.
    rows = [
        [(tmp_path / "all" / file).read_bytes() for file in some.values()]
        for some in stored["strips"].values()
    ]
    assert rows[0] == rows[1] != rows[2]
    assert (tmp_path / "all" / "report.html").read_text().count("data:image/png;base64,") >= 3 * OBJECTS
    assert "Differences from model" in (tmp_path / "all" / "report.md").read_text()


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
        (["--objects=0"], "--objects must be at least 1, got 0"),
        (["--objects=-1"], "--objects must be at least 1, got -1"),
        (["--inputs=0"], "--inputs must be at least 1, got 0"),
        (["--queries", "4", "0"], "--queries must be at least 1, got 0"),
        (["--objects=99"], "cannot take 99 objects of a test set that has 3"),
        (["--batch-size=0"], "--batch-size must be at least 1, got 0"),
        (["--queries", "4", "9"], "--queries 9: expected 1 to 8, the model's number of queries"),
        (["--devices=0"], "--devices must be at least 1, got 0"),
        (["--protocol=gso"], "test.pack: protocol gso is defined on 128 pixels a side, found 32"),
        (["--protocol=co3d"], "no protocol is called 'co3d'; expected one of srn, spiral, co3d-hydrant"),
        (["--protocol=gso", "--inputs=2"], "protocol gso is defined for 1 input view, got 2"),
        (["--input-views", "25"], "needs view 25 and a view to judge, found 25 views"),
        (["--input-views", "2", "--protocol=gso"], "--input-views: not with --protocol"),
        (["--depth=test.depth"], "test.depth"),
        (["--beside", "{folder}/model"], "two models are called model: tell them apart with --beside NAME="),
        (["--beside", "other=nowhere"], "nowhere"),
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


def _lose_a_picture(folder: Path) -> None:
    (folder / "object-0-1" / "rgb" / "000003.png").unlink()


def _shrink_a_picture(folder: Path) -> None:
    save_image(folder / "object-0-1" / "rgb" / "000003.png", torch.ones(3, 16, 16))


def _shrink_an_object(folder: Path) -> None:
    shutil.rmtree(folder / "object-0-1")
    small = cameras.spiral(VIEWS, size=16).reshape(1, VIEWS)
    save_srn(Viewsets(np.zeros((1, VIEWS, 16, 16, 4), np.uint8), small, ["small"]), folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_lose_a_picture, "object-0-1: frame 000003 has no file in rgb/"),
        (_shrink_a_picture, "16 x 16 pixels, expected 32 x 32"),
        (_shrink_an_object, "small has 25 views of 16 x 16 pixels but object-0-0 has 25 views of 32 x 32"),
        (lambda folder: [shutil.rmtree(path) for path in folder.iterdir()], "holds no objects"),
    ],
)
def test_broken_test_sets_are_one_line(
    folder: Path,
    tmp_path: Path,
    spoil: Callable[[Path], object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_srn(_painted(2, seed=0), tmp_path / "cars")
    spoil(tmp_path / "cars")
    base = ["eval", f"--data={tmp_path / 'cars'}", f"--model={folder / 'model'}"]
    assert main([*base, f"-o={tmp_path / 'report'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "report" / "report.md").exists()


def test_a_model_that_draws_nan_has_no_scores(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SparseGen(_small_config())
    torch.nn.init.constant_(next(p for n, p in model.named_parameters() if n.endswith("weight")), torch.nan)
    save_pretrained(model, tmp_path / "broken")
    base = ["eval", f"--data={folder / 'test.pack'}", f"--model={tmp_path / 'broken'}"]
    assert main([*base, f"-o={tmp_path / 'report'}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "no object of the test set could be scored (object-0-0: NaN or infinity in the Gaussians)" in line


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
