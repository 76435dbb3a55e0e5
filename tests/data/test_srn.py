"""The SRN layout, ours and as others wrote it."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen.cameras import look_at
from sparsegen.data.layouts.srn import load_srn, read_srn_object, save_srn, srn_names
from sparsegen.data.loading import load_viewsets
from sparsegen.errors import InputError


def over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def test_round_trip(make_viewsets, tmp_path):
    viewsets = make_viewsets()
    save_srn(viewsets, tmp_path / "set")
    back = load_viewsets(tmp_path / "set")
    assert back.names == ["a", "b"]
    assert back.has_alpha
    assert np.array_equal(back.images[..., 3], viewsets.images[..., 3])
    opaque = viewsets.images[..., 3] == 255
    assert np.array_equal(back.images[opaque], viewsets.images[opaque])
    # Elsewhere the file holds colours over white, to a byte.
    assert np.abs(over_white(back.images) - over_white(viewsets.images)).max() <= 1.001
    torch.testing.assert_close(back.cameras.viewmats, viewsets.cameras.viewmats, atol=1e-6, rtol=0)
    assert torch.equal(back.cameras.Ks, viewsets.cameras.Ks)


def test_written_a_second_time_nothing_changes(make_viewsets, tmp_path):
    save_srn(make_viewsets(), tmp_path / "one")
    save_srn(load_srn(tmp_path / "one"), tmp_path / "two")
    for picture in (tmp_path / "one").rglob("*.png"):
        assert picture.read_bytes() == (tmp_path / "two" / picture.relative_to(tmp_path / "one")).read_bytes()


def test_files_are_what_the_format_says(make_viewsets, tmp_path):
    """One camera at (1.3, 0, 0) that looks at the origin with +Z up, in numbers."""
    viewsets = make_viewsets(names=("car",), views=1)
    cameras = look_at(torch.tensor([[1.3, 0.0, 0.0]]), size=8, focal=8.2).reshape(1, 1)
    save_srn(replace(viewsets, cameras=cameras), tmp_path)
    pose = np.array((tmp_path / "car/pose/000000.txt").read_text().split(), float)
    # Columns: right (+Y), down (-Z), forward (-X), position.
    expected = [[0, 0, -1, 1.3], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(pose.reshape(4, 4), expected, atol=1e-6)
    lines = (tmp_path / "car/intrinsics.txt").read_text().splitlines()
    assert [float(word) for word in lines[0].split()] == pytest.approx([8.2, 4, 4, 0])
    assert lines[1:] == ["0. 0. 0.", "1.", "8 8"]
    with (
        Image.open(tmp_path / "car/rgb/000000.png") as rgb,
        Image.open(tmp_path / "car/opc/000000.png") as opc,
    ):
        assert (rgb.mode, opc.mode) == ("RGB", "L")
        assert np.array_equal(np.asarray(opc), viewsets.images[0, 0, ..., 3])


@pytest.fixture
def original(tmp_path):
    """One object as the original SRN archives have it: no opc/, RGBA pictures, an odd intrinsics file."""
    folder = tmp_path / "cars_test" / "1a2b3c"
    for name in ("rgb", "pose"):
        (folder / name).mkdir(parents=True)
    (folder / "intrinsics.txt").write_text("131.250000 64.000000 64.000000 0.\n0. 0. 0.\n1.\n128 128\n")
    for i, angle in enumerate((0.3, 1.1)):
        c, s = math.cos(angle), math.sin(angle)
        # On a circle of radius 1.3, as above: right, down, forward, position.
        rows = [[-s, 0, -c, 1.3 * c], [c, 0, -s, 1.3 * s], [0, -1, 0, 0], [0, 0, 0, 1]]
        text = " ".join(f"{value:.15f}" for row in rows for value in row)
        (folder / "pose" / f"{i:06d}.txt").write_text(text)
        pixels = np.full((128, 128, 4), 255, np.uint8)
        pixels[60:70, 50:90, :3] = [10 * i, 20, 30]
        Image.fromarray(pixels).save(folder / "rgb" / f"{i:06d}.png")
    return folder


def test_the_original_dataset_is_read(original):
    viewsets = load_srn(original.parent)
    assert viewsets.names == ["1a2b3c"]
    assert not viewsets.has_alpha
    assert viewsets.images.shape == (1, 2, 128, 128, 4)
    assert viewsets.images[0, 1, 65, 60].tolist() == [10, 20, 30, 255]
    expected = [[1.3 * math.cos(a), 1.3 * math.sin(a), 0] for a in (0.3, 1.1)]
    torch.testing.assert_close(viewsets.cameras.centers[0], torch.tensor(expected))
    K = viewsets.cameras.Ks[0, 0]
    assert K.tolist() == [[131.25, 0, 64], [0, 131.25, 64], [0, 0, 1]]
    # The origin is in the middle of every picture, and +Z is up.
    pixels, depth = viewsets.cameras[0].project(torch.tensor([[0.0, 0, 0], [0, 0, 0.4]]).expand(2, 2, 3))
    torch.testing.assert_close(depth, torch.full((2, 2), 1.3))
    torch.testing.assert_close(pixels[:, 0], torch.full((2, 2), 64.0))
    torch.testing.assert_close(pixels[:, 1, 1], torch.full((2,), 64 - 131.25 * 0.4 / 1.3))


def test_a_single_object_has_its_own_name(original, monkeypatch):
    assert srn_names(original) == ["1a2b3c"]
    monkeypatch.chdir(original)
    assert load_srn(".").names == srn_names(".") == ["1a2b3c"]


def damage(folder, what: str) -> None:
    match what:
        case "a pose with 15 numbers":
            (folder / "pose/000001.txt").write_text("1 " * 15)
        case "a pose of words":
            (folder / "pose/000001.txt").write_text("<html>not found")
        case "a pose with nan":
            (folder / "pose/000001.txt").write_text("nan " * 16)
        case "no pose":
            (folder / "pose/000001.txt").unlink()
        case "no poses":
            shutil.rmtree(folder / "pose")
        case "no picture":
            (folder / "rgb/000001.png").unlink()
        case "a cut picture":
            path = folder / "rgb/000001.png"
            path.write_bytes(path.read_bytes()[:100])
        case "a picture of another size":
            Image.new("RGB", (64, 128)).save(folder / "rgb/000001.png")
        case "empty intrinsics":
            (folder / "intrinsics.txt").write_text("")
        case "intrinsics without size":
            (folder / "intrinsics.txt").write_text("131.25 64. 64. 0.\n0. 0. 0.\n1.\n")


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("a pose with 15 numbers", "pose/000001.txt: expected 16 finite numbers"),
        ("a pose of words", "pose/000001.txt: expected numbers only"),
        ("a pose with nan", "pose/000001.txt: expected 16 finite numbers"),
        ("no pose", "1a2b3c: frame 000001 has no file in pose/"),
        ("no poses", "1a2b3c/pose: holds no"),
        ("no picture", "1a2b3c: frame 000001 has no file in rgb/"),
        ("a cut picture", "rgb/000001.png: not a readable picture"),
        ("a picture of another size", "rgb/000001.png: 64 x 128 pixels, expected 128 x 128"),
        ("empty intrinsics", "intrinsics.txt: expected 'f cx cy 0.'"),
        ("intrinsics without size", "intrinsics.txt: expected 'f cx cy 0.'"),
    ],
)
def test_damage_is_named(original, what, file):
    damage(original, what)
    with pytest.raises(InputError) as caught:
        read_srn_object(original)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_objects(tmp_path, original):
    with pytest.raises(InputError, match="no such folder"):
        load_srn(tmp_path / "nosuch")
    with pytest.raises(InputError, match=r"did you mean .*cars_test\?"):
        load_srn(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no objects"):
        load_srn(tmp_path / "empty")


def test_one_focal_length_an_object(make_viewsets, tmp_path):
    viewsets = make_viewsets()
    Ks = viewsets.cameras.Ks.clone()
    Ks[0, 1, :2, :2] *= 2
    viewsets = replace(viewsets, cameras=replace(viewsets.cameras, Ks=Ks))
    with pytest.raises(InputError, match=r"a: .*one focal length"):
        save_srn(viewsets, tmp_path / "set")
    assert not (tmp_path / "set").exists()
