"""`sparsegen render`: moving pictures, and folders of views that are what their cameras see."""

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import commands
from gaussian_samples import recorded
from sparsegen.data.layouts.transforms_json import read_transforms_object
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians
from sparsegen.turntable import orbit_around, render_rgba


@pytest.fixture
def ply(tmp_path):
    save_gaussians(tmp_path / "object.ply", recorded())
    return tmp_path / "object.ply"


def run(*words) -> int | None:
    return commands.run("render", *words)


def test_a_video_a_picture_or_a_folder(tmp_path, ply):
    for output, more in {"turn.mp4": ["--frames", 4], "front.png": [], "views": ["--frames", 4]}.items():
        assert not run(ply, "-o", tmp_path / output, "--size", 32, *more)
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "turn.mp4")[0] == 4
    with Image.open(tmp_path / "front.png") as picture:
        assert picture.size == (32, 32)
    with Image.open(tmp_path / "views" / "images" / "000003.png") as view:
        assert view.mode == "RGBA"
    assert len(read_transforms_object(tmp_path / "views").images) == 4


@pytest.mark.parametrize("path", ["orbit", "spiral", "sphere"])
def test_the_cameras_of_a_folder_see_its_pictures(tmp_path, ply, path):
    assert not run(ply, "--views", 5, "--path", path, "--size", 24, "-o", tmp_path / "views")
    viewset = read_transforms_object(tmp_path / "views")
    assert viewset.has_alpha
    assert viewset.images.shape == (5, 24, 24, 4)
    again = render_rgba(load_gaussians(ply), viewset.cameras)
    # The matrices went through their inverse: a level of 255 may fall to the other side.
    np.testing.assert_allclose(again[..., 3].astype(int), viewset.images[..., 3].astype(int), atol=1)
    solid = viewset.images[..., 3] > 16
    assert solid.any(axis=(1, 2)).all()
    np.testing.assert_allclose(again[solid].astype(int), viewset.images[solid].astype(int), atol=2)


def test_an_orbit_starts_at_its_azimuth_and_names_its_folder(tmp_path, ply, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not run(ply, "--views", 4, "--size", 16, "--azimuth", 90, "--elevation", 0)
    cameras = read_transforms_object(tmp_path / "object_views").cameras
    expected = orbit_around(load_gaussians(ply), 4, 16, 0.0, torch.pi / 2)
    torch.testing.assert_close(cameras.viewmats, expected.viewmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.Ks, expected.Ks)
    position = cameras.centers[0] / cameras.centers[0].norm()
    torch.testing.assert_close(position, torch.tensor([0.0, 1.0, 0.0]), atol=0.2, rtol=0)


def test_a_format_of_two_suffixes_and_a_name_with_dots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, folder in {"a.compressed.ply": "a_views", "v1.2.spz": "v1.2_views"}.items():
        save_gaussians(name, recorded())
        assert not run(name, "--views", 2, "--size", 16)
        assert (tmp_path / folder / "transforms.json").exists()
    assert not run("a.compressed.ply", "--frames", 2, "--size", 16)
    assert (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_turntables_that_pages_show(tmp_path, ply, suffix):
    output = tmp_path / f"turn{suffix}"
    assert not run(ply, "-o", output, "--size", 32, "--frames", 6, "--fps", 12)
    with Image.open(output) as image:
        assert image.size == (32, 32)
        assert sum(1 for _ in ImageSequence.Iterator(image)) == 6


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--views", "0"], "--views: expected at least 1"),
        (["--views", "3", "-o", "turn.gif"], "turn.gif: --views writes a folder"),
        (["--fps", "0"], "--fps: expected 0.01 to 1000"),
        (["--fps", "0.001", "-o", "turn.gif"], "--fps: expected 0.01 to 1000"),
        (["--fps", "100", "--frames", "3", "-o", "turn.gif"], "turn.gif: GIF shows at most 50"),
        (["--path", "spiral"], "--path: not for a turntable"),
        (["--azimuth", "0", "-o", "turn.gif"], "--azimuth: not for a turntable"),
        (["--frames", "3", "--fps", "9", "-o", "a.png"], "--frames, --fps: not for one picture"),
        (["--background", "1", "--views", "3"], "--background: not for a folder of views"),
        (["--frames", "3", "--views", "3"], "--frames: --views says how many"),
        (["--views", "3", "--path", "sphere", "--elevation", "0"], "--elevation: --path sphere knows"),
        (["-o", "object.ply/turn.mp4"], "object.ply/turn.mp4"),
        (["--size", "100000"], "--size"),
        (["--elevation", "inf"], "--elevation"),
        (["--elevation", "91"], "--elevation"),
        (["--background", "2"], "--background"),
        (["-o", "turn.avi"], "turn.avi: cannot write .avi; give .mp4, .gif, .webp, .png or a folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, ply, capsys, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    assert run(ply, "--size", 16, *argv) == 2
    assert words in commands.one_line(capsys)
    assert commands.files(tmp_path) == ["object.ply"]


def test_a_folder_without_a_name_is_refused_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(".") == 2
    assert "this is a folder" in commands.one_line(capsys)
