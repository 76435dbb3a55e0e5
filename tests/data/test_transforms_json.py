"""NeRF's transforms.json: OpenGL axes, per-frame intrinsics, files as others write them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen.cameras import look_at
from sparsegen.data.layouts.transforms_json import load_transforms, read_transforms, save_transforms
from sparsegen.data.loading import iterate_folder, load_viewsets
from sparsegen.errors import InputError


def test_round_trip_with_intrinsics_of_each_frame(make_viewsets, tmp_path):
    viewsets = make_viewsets()
    rng = torch.Generator().manual_seed(0)
    Ks = viewsets.cameras.Ks.clone()
    Ks[..., :2, 2] += torch.rand(2, 3, 2, generator=rng)
    Ks[..., 0, 0] *= 1 + torch.rand(2, 3, generator=rng)
    viewsets = replace(viewsets, cameras=replace(viewsets.cameras, Ks=Ks))
    save_transforms(viewsets, tmp_path / "set")
    back = load_viewsets(tmp_path / "set")
    assert back.names == ["a", "b"]
    assert np.array_equal(back.images, viewsets.images)
    assert torch.equal(back.cameras.Ks, Ks)
    torch.testing.assert_close(back.cameras.viewmats, viewsets.cameras.viewmats, atol=1e-6, rtol=0)


def test_pictures_without_transparency(make_viewsets, tmp_path):
    viewsets = make_viewsets(has_alpha=False)
    save_transforms(viewsets, tmp_path)
    back = load_transforms(tmp_path)
    assert not back.has_alpha
    assert np.array_equal(back.images, viewsets.images)


def test_axes_are_those_of_opengl(make_viewsets, tmp_path):
    """A camera at (1.3, 0, 0) that looks at the origin: right +Y, up +Z, back +X."""
    viewsets = make_viewsets(names=("car",), views=1)
    cameras = look_at(torch.tensor([[1.3, 0.0, 0.0]]), size=8, focal=8.2).reshape(1, 1)
    save_transforms(replace(viewsets, cameras=cameras), tmp_path)
    content = json.loads((tmp_path / "car/transforms.json").read_text())
    expected = [[0, 0, 1, 1.3], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(content["frames"][0]["transform_matrix"], expected, atol=1e-6)
    assert content["camera_angle_x"] == pytest.approx(2 * math.atan(4 / 8.2))


POSE = [[0.0, 0, 1, 4], [1, 0, 0, 0], [0, 1, 0, 0.5], [0, 0, 0, 1]]


@pytest.fixture
def lego(tmp_path):
    """A scene as NeRF's synthetic ones are: a file a split, `.png` left out, one field of view."""
    folder = tmp_path / "lego"
    (folder / "train").mkdir(parents=True)
    pixels = np.zeros((6, 10, 4), np.uint8)
    pixels[2:4, 3:5] = [10, 20, 30, 128]
    Image.fromarray(pixels).save(folder / "train" / "r_0.png")
    write(folder, {"camera_angle_x": 0.7, "frames": [{"file_path": "./train/r_0", "transform_matrix": POSE}]})
    return folder


def write(folder, content) -> None:
    (folder / "transforms_train.json").write_text(json.dumps(content))


def test_a_synthetic_scene_is_read(lego):
    path = lego / "transforms_train.json"
    viewsets = load_viewsets(path)
    assert iterate_folder(path)[0] == viewsets.names == ["lego"]
    assert viewsets.has_alpha
    assert viewsets.images[0, 0, 3, 4].tolist() == [10, 20, 30, 128]
    camera = viewsets.cameras[0, 0]
    assert (camera.width, camera.height) == (10, 6)
    focal = 5 / math.tan(0.35)
    torch.testing.assert_close(camera.Ks, torch.tensor([[focal, 0, 5], [0, focal, 3], [0, 0, 1]]))
    # One to the right of the camera's axis (+Y) and half above (+Z), four away.
    pixels, depth = camera.project(torch.tensor([[0.0, 1, 1.0]]))
    torch.testing.assert_close(pixels, torch.tensor([[5 + focal / 4, 3 - focal / 8]]))
    torch.testing.assert_close(depth, torch.tensor([4.0]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": []}, "frames is empty"),
        ({"frames": None}, "not a NeRF transforms file"),
        ({"frames": [{"transform_matrix": POSE}]}, "lacks 'file_path'"),
        ({"frames": [{"file_path": "train/r_0"}]}, "lacks 'transform_matrix'"),
        ({"frames": [{"file_path": "train/r_0", "transform_matrix": POSE[:3]}]}, "4 x 4"),
        ({"frames": [{"file_path": "train/r_0", "transform_matrix": "none"}]}, "not a NeRF"),
        ({"frames": [{"file_path": "train/r_0", "transform_matrix": [[math.nan] * 4] * 4}]}, "finite"),
        ({"frames": [{"file_path": "train/r_1", "transform_matrix": POSE}]}, "r_1.png: no such picture"),
        ({"camera_angle_x": None}, "not a NeRF transforms file"),
        ({"camera_angle_x": 0}, "not a NeRF transforms file"),
        ({"fl_x": -3}, "not positive"),
        ({"cx": math.inf}, "finite"),
        ({"w": 20, "h": 20}, "r_0.png: 10 x 6 pixels, expected 20 x 20"),
    ],
)
def test_damage_is_named(lego, change, words):
    path = lego / "transforms_train.json"
    write(lego, {**json.loads(path.read_text()), **change})
    with pytest.raises(InputError) as caught:
        load_transforms(path)
    assert words in str(caught.value)
    assert "lego" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"3", b"\xff\xfe\x00", b'{"frames": [7]}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "transforms.json").write_bytes(content)
    for path in (tmp_path, tmp_path / "transforms.json"):
        with pytest.raises(InputError, match=r"transforms\.json: "):
            load_viewsets(path)


def test_missing_files_are_named(tmp_path, lego):
    with pytest.raises(InputError, match=r"nosuch\.json: no such file"):
        load_viewsets(tmp_path / "nosuch.json")
    with pytest.raises(InputError, match=r"lego: holds no transforms\.json"):
        load_transforms(lego)
    (lego / "train" / "r_0.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"r_0\.png: not a readable picture"):
        load_transforms(lego / "transforms_train.json")


def test_pictures_are_not_needed_for_cameras(lego):
    content = json.loads((lego / "transforms_train.json").read_text())
    write(lego, {**content, "w": 10, "h": 6, "fl_x": 7, "fl_y": 8, "cx": 4, "cy": 3.5})
    (lego / "train" / "r_0.png").unlink()
    transforms = read_transforms(lego / "transforms_train.json")
    assert transforms.cameras.Ks[0].tolist() == [[7, 0, 4], [0, 8, 3.5], [0, 0, 1]]
    assert [path.name for path in transforms.pictures] == ["r_0.png"]
