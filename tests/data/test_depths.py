"""Depths against a box's closed form, and their file against another reader."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from safetensors import safe_open

from sparsegen.cameras import Cameras
from sparsegen.cli.main import main
from sparsegen.data.cars import cars, cars_named
from sparsegen.data.depths import load_depths, render_dataset, save_depths
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.data.render import LIGHTS, Light, normalize
from sparsegen.data.viewpoints import spiral_views
from sparsegen.errors import InputError

VIEWS, SIZE = 3, 24


@dataclass(frozen=True)
class Box:
    name: str
    extents: tuple[float, float, float]

    def scene(self) -> trimesh.Scene:
        return trimesh.Scene(trimesh.creation.box(self.extents))

    def lights(self) -> tuple[Light, ...]:
        return LIGHTS


BOXES = [Box("low", (1, 2, 0.5)), Box("high", (0.5, 0.6, 2))]


@pytest.fixture
def viewsets() -> Viewsets:
    cameras = spiral_views(VIEWS, SIZE).reshape(1, VIEWS).expand(2, VIEWS)
    return Viewsets(np.zeros((2, VIEWS, SIZE, SIZE, 4), np.uint8), cameras, ["low", "high"])


def _slabs(half: np.ndarray, camera: Cameras) -> np.ndarray:
    """Depth of a box around the origin by clipping each pixel's ray between three pairs of planes."""
    pose, K = camera.camera_to_world.double().numpy(), camera.Ks.double().numpy()
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    local = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    world, start = local @ pose[:3, :3].T, pose[:3, 3]
    one, other = (-half - start) / world, (half - start) / world
    near, far = np.minimum(one, other).max(axis=-1), np.maximum(one, other).min(axis=-1)
    return np.where(near <= far, near, 0)


def test_a_boxs_depth_is_that_of_its_planes(viewsets: Viewsets, tmp_path: Path) -> None:
    depths = render_dataset(viewsets, BOXES)
    save_depths(depths, viewsets.names, tmp_path / "boxes.depth")
    swapped = replace(viewsets, names=viewsets.names[::-1])
    found = load_depths(tmp_path / "boxes.depth", swapped)[::-1]
    for box, views in zip(BOXES, found, strict=True):
        half = np.array(normalize(box.scene()).bounds[1])
        for v, picture in enumerate(views):
            truth = _slabs(half, viewsets.cameras[0, v])
            assert (truth > 0).sum() > 50
            assert np.abs(picture - truth).max() < 1e-4  # the file's step
    with safe_open(tmp_path / "boxes.depth", "numpy") as file:
        assert json.loads(file.metadata()["names"]) == ["low", "high"]
        assert file.get_tensor("depths").dtype == np.uint16


def test_cars_are_known_by_their_names() -> None:
    some = cars(3, 2, "val")
    assert cars_named([car.name for car in some[1:]]) == some[1:]
    racers = cars(3, 2, "val", kind="racing")
    assert cars_named([car.name for car in racers]) == racers
    assert cars_named(["car-val-2", "chair-val-2-000001", "car-other-2-000001"]) == []


def test_what_does_not_fit_is_one_line(
    viewsets: Viewsets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_packed(viewsets, tmp_path / "boxes.pack")
    assert main(["data", "depth", str(tmp_path / "boxes.pack"), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no mesh of the object 'low' is known (2 of 2)" in line
    assert not (tmp_path / "out").exists()
    mesh = tmp_path / "low.ply"
    trimesh.creation.box((1, 1, 1)).export(mesh)
    for nowhere in (tmp_path, tmp_path / "boxes.pack" / "out"):  # said before the work, not after
        argv = ["data", "depth", str(tmp_path / "boxes.pack"), str(nowhere), "--meshes", str(mesh)]
        assert main(argv) == 2
        assert str(tmp_path) in capsys.readouterr().err
    path = tmp_path / "boxes.depth"
    save_depths(np.zeros((2, VIEWS, SIZE, SIZE), np.uint16), viewsets.names, path)
    with pytest.raises(InputError, match="holds no depth of 'round'"):
        load_depths(path, replace(viewsets, names=["low", "round"]))
    two = Viewsets(viewsets.images[:, :2], viewsets.cameras[:, :2], viewsets.names)
    with pytest.raises(InputError, match="holds 3 views of 24 x 24 pixels, the dataset 2 views"):
        load_depths(path, two)
    with pytest.raises(InputError, match="not a file of depths; make one"):
        load_depths(tmp_path / "boxes.pack", viewsets)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        load_depths(path, viewsets)
