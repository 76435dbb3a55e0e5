"""`sparsegen data` as a person meets it: rendering, continuing, packing, looking, and mistakes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen.cli.main import main
from sparsegen.data.layouts.srn import load_srn
from sparsegen.data.packed import load_packed

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("mitsuba")

TINY = ["--size", "16", "--views", "2", "--jobs", "1"]


def boxes(folder, *names) -> None:
    folder.mkdir()
    for i, name in enumerate(names):
        trimesh.creation.box((1, 1 + i, 2)).export(folder / name)


def test_cars_land_in_the_srn_layout_and_are_not_rendered_twice(tmp_path):
    arguments = ["data", "cars", str(tmp_path), "-n", "2", *TINY]
    assert main(arguments) == 0
    first = load_srn(tmp_path / "train")
    assert first.names == ["car-train-0-000000", "car-train-0-000001"]
    assert first.images.shape == (2, 2, 16, 16, 4)
    assert (first.images[..., 3].max(axis=(2, 3)) == 255).all()
    kept, lost = (tmp_path / "train" / name for name in first.names)
    marked = kept / "rgb" / "000000.png"
    Image.new("RGB", (16, 16), "red").save(marked)  # rendering again would paint over it
    for path in sorted(lost.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    lost.rmdir()
    assert main(arguments) == 0
    again = load_srn(tmp_path / "train")
    np.testing.assert_array_equal(again.images[1], first.images[1])
    with Image.open(marked) as picture:
        assert picture.getpixel((8, 8)) == (255, 0, 0)


def test_packing_a_folder_is_rendering_to_a_packed_file(tmp_path):
    cars = ["-n", "2", "--split", "test", *TINY]
    assert main(["data", "cars", str(tmp_path / "cars"), *cars]) == 0
    assert main(["data", "pack", str(tmp_path / "cars" / "test"), str(tmp_path / "a.safetensors")]) == 0
    assert main(["data", "cars", str(tmp_path / "b.safetensors"), "--pack", *cars]) == 0
    folder, direct = load_packed(tmp_path / "a.safetensors"), load_packed(tmp_path / "b.safetensors")
    assert folder.names == direct.names
    np.testing.assert_allclose(folder.cameras.viewmats, direct.cameras.viewmats, atol=1e-6)
    np.testing.assert_array_equal(folder.images[..., 3], direct.images[..., 3])
    objects, views = torch.arange(2), torch.tensor([[0, 1], [0, 1]])
    pictures = [v.views(objects, views).images for v in (folder, direct)]
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1.01 / 255)
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.slow
def test_processes_do_not_change_the_pictures(tmp_path):
    for jobs in ("1", "2"):
        out = str(tmp_path / f"{jobs}.safetensors")
        options = ["-n", "3", "--size", "16", "--views", "2", "--jobs", jobs]
        assert main(["data", "cars", out, "--pack", *options]) == 0
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_test_cameras_are_the_same_for_all_and_training_cameras_are_not(tmp_path):
    for split, same in (("train", False), ("val", True)):
        out = tmp_path / f"{split}.safetensors"
        assert main(["data", "cars", str(out), "--pack", "-n", "2", "--split", split, *TINY]) == 0
        first, second = load_packed(out).cameras.viewmats
        assert bool((first == second).all()) is same


def test_a_stopped_run_continues_from_its_parts(tmp_path):
    out = tmp_path / "cars.safetensors"
    assert main(["data", "cars", str(out), "--pack", "-n", "1", *TINY]) == 0
    whole = load_packed(out).images[0].copy()
    parts = tmp_path / "more.safetensors.parts"
    parts.mkdir()
    marked = np.full_like(whole, 7)
    cameras = load_packed(out).cameras[0]
    np.savez(
        parts / "car-train-0-000000.npz",
        images=marked,
        viewmats=cameras.viewmats.numpy(),
        Ks=cameras.Ks.numpy(),
    )
    assert main(["data", "cars", str(tmp_path / "more.safetensors"), "--pack", "-n", "2", *TINY]) == 0
    images = load_packed(tmp_path / "more.safetensors").images
    np.testing.assert_array_equal(images[0], marked)
    assert images[1].shape == whole.shape
    assert not parts.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGKILL, 1), (signal.SIGINT, 1), (signal.SIGINT, 2)])
def test_rendering_killed_half_way_leaves_nothing_half_and_goes_on(tmp_path, number, jobs):
    out, parts = tmp_path / "cars.pack", tmp_path / "cars.pack.parts"
    arguments = ["data", "cars", str(out), "--pack", "-n", "12", *TINY[:-1], str(jobs)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsegen", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        # a shell lets its background jobs ignore SIGINT, and what they start inherits that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(parts.glob("car-*.npz")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(number)
    complaint = process.communicate()[1]
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in complaint
    assert not out.exists()
    done = list(parts.glob("car-*.npz"))
    assert 1 <= len(done) < 12
    if number == signal.SIGINT:
        assert complaint.endswith(f"interrupted; {len(done)} of 12 are kept; the same command goes on\n")
    for path in done:
        with np.load(path) as arrays:
            assert arrays["images"].shape == (2, 16, 16, 4)
    assert main(arguments) == 0
    assert main([*arguments[:2], str(tmp_path / "whole.pack"), *arguments[3:]]) == 0
    assert out.read_bytes() == (tmp_path / "whole.pack").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".parts"] == []


def test_ctrl_c_tells_how_many_objects_are_kept(tmp_path, capsys, monkeypatch):
    from sparsegen.data import rendering

    real, calls = rendering._run, []

    def interrupted_at_the_third(task):
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(rendering, "_run", interrupted_at_the_third)
    assert main(["data", "cars", str(tmp_path), "-n", "4", *TINY]) == 130
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "sparsegen: interrupted; 2 of 4 are kept; the same command goes on"
    assert main(["data", "cars", str(tmp_path), "-n", "4", *TINY]) == 0
    assert len(calls) == 5
    assert len(load_srn(tmp_path / "train").names) == 4


def test_meshes_of_a_folder_become_objects(tmp_path):
    boxes(tmp_path / "meshes", "a.ply", "b.stl", "c.glb")
    assert main(["data", "render", str(tmp_path / "meshes"), str(tmp_path / "out"), *TINY]) == 0
    assert load_srn(tmp_path / "out").names == ["a", "b", "c"]
    assert main(["data", "sheet", str(tmp_path / "out"), str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 2 * 16
        assert sheet.height > 3 * 16


def test_one_broken_mesh_does_not_stop_the_others(tmp_path, capsys):
    boxes(tmp_path / "meshes", "a.ply", "c.ply")
    (tmp_path / "meshes" / "b.ply").write_text("ply\n")
    assert main(["data", "render", str(tmp_path / "meshes"), str(tmp_path / "out"), *TINY]) == 2
    assert "b.ply" in capsys.readouterr().err.splitlines()[-1]
    assert load_srn(tmp_path / "out").names == ["a", "c"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["render", "none.glb", "out"], "none.glb: no such file or folder"),
        (["render", "notes.txt", "out"], "notes.txt: unknown kind of mesh"),
        (["render", "empty", "out"], "empty: holds no meshes"),
        (["render", "points.obj", "out", "--jobs", "1"], "points.obj: has no faces"),
        (["render", "points.obj", "out", "--seed", "-1"], "--seed: expected"),
        (["cars", "out", "-n", "0"], "-n: expected 1 to"),
        (["cars", "out", "-n", "1", "--views", "0"], "--views: expected at least 1"),
        (["cars", "out", "-n", "1", "--split", "tests"], "invalid choice: 'tests'"),
        (["cars", "out", "-n", "1", "--kind", "racing", *TINY], "add --pack, or give one --distance"),
        (["cars", "out", "-n", "1", "--distance", "2", "1", *TINY], "one focal length an object"),
        (["cars", "notes.txt", "-n", "1", *TINY], "cannot be written"),
        (["cars", "notes.txt", "--pack", "-n", "1", *TINY], "notes.txt: "),
        (["pack", "empty", "out.safetensors"], "empty: "),
        (["pack", "nowhere", "out.safetensors"], "nowhere: "),
        (["sheet", "notes.txt", "out.png"], "notes.txt: not a packed dataset"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\n")
    assert main(["data", *arguments]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("sparsegen: ")
    assert words in last
    assert not list(tmp_path.glob("out*"))


def test_cameras_stand_as_far_away_as_asked(tmp_path, capsys):
    """Once on the spiral, at one distance; once at random, between two; with lenses that make up for it."""
    ball = str(tmp_path / "ball.ply")
    trimesh.creation.icosphere(radius=0.5).export(ball)
    usual, far, range_ = (tmp_path / name for name in ("usual.pack", "far.pack", "range.pack"))
    spiral = ["data", "render", ball, "--pack", "--spiral", "--size", "64", "--views", "4", "--jobs", "1"]
    assert main([*spiral, str(usual)]) == 0
    assert main([*spiral, str(far), "--distance", "2.5"]) == 0
    assert main(["data", "render", ball, str(range_), "--pack", *TINY, "--distance", "3", "2"]) == 0
    near, distant, between = (load_packed(path) for path in (usual, far, range_))
    torch.testing.assert_close(distant.cameras.centers.norm(dim=-1), torch.full((1, 4), 2.5))
    assert ((between.cameras.centers.norm(dim=-1) - 2.5).abs() <= 0.5).all()
    across = [(v.images[..., 3] > 127).sum((2, 3)).mean() for v in (near, distant)]
    # Of a sphere more is seen from afar, and it looks smaller: its outline is at a tangent.
    radius = 0.5 / 3**0.5  # in a unit-diagonal cube
    expected = [1 / (1 - (radius / d) ** 2) for d in (1.3, 2.5)]
    assert across[1] / across[0] == pytest.approx(expected[1] / expected[0], abs=0.02)
    capsys.readouterr()
    assert main([*spiral, str(far), "--distance", "0.3"]) == 2
    assert "--distance: expected one or two numbers from 0.6" in capsys.readouterr().err


def test_an_object_with_other_cameras_is_not_overwritten(tmp_path, capsys):
    out = tmp_path / "cars"
    assert main(["data", "cars", str(out), "-n", "1", *TINY]) == 0
    before = (out / "train" / "car-train-0-000000" / "rgb" / "000000.png").read_bytes()
    assert main(["data", "cars", str(out), "-n", "1", "--spiral", *TINY]) == 2
    assert "seen by other cameras" in capsys.readouterr().err
    assert (out / "train" / "car-train-0-000000" / "rgb" / "000000.png").read_bytes() == before


@pytest.mark.parametrize("module", ["trimesh", "mitsuba"])
def test_what_is_not_installed_is_named_with_the_cure(tmp_path, capsys, monkeypatch, module):
    from sparsegen.data import render

    boxes(tmp_path / "meshes", "a.ply")
    render._mitsuba.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["data", "render", str(tmp_path / "meshes"), str(tmp_path / "out"), *TINY]) == 2
    assert "pip install 'sparsegen[data]'" in capsys.readouterr().err.splitlines()[-1]
