"""Every reader of files against damage: bits flipped, files cut short, random bytes, pieces moved.

A damaged file either still reads or is refused as `InputError`, in one line; nothing else may escape. The
counts in docs/formats.md are of SPARSEGEN_DAMAGED=500.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gaussian_samples import recorded
from sparsegen.batches import read_table
from sparsegen.data.layouts.transforms_json import read_transforms
from sparsegen.data.meshes import load_scene
from sparsegen.data.packed import load_packed
from sparsegen.errors import InputError
from sparsegen.formats.gaussian_files import FORMATS, load_gaussians, save_gaussians
from sparsegen.formats.images import load_focal_length, load_image
from sparsegen.formats.meshes import save_mesh
from sparsegen.mesh import Mesh

FILES = int(os.environ.get("SPARSEGEN_DAMAGED", "30"))
GAUSSIANS = [f"gaussians{form.suffix}" for form in FORMATS]
PICTURES = ["picture.png", "picture.jpg", "picture.webp", "picture.gif", "picture.bmp", "picture.tiff"]
MESHES = ["mesh.glb", "mesh.gltf", "mesh.obj", "mesh.ply", "mesh.stl"]
TEXTS = ["table.csv", "transforms.json"]


def damaged(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    random = np.random.default_rng(seed)
    for number in range(count):
        changed = bytearray(data)
        # Half of the damage hits the beginning, where the headers are.
        reach = len(data) if number % 2 else min(len(data), 400)
        start = int(random.integers(reach))
        match number % 6:
            case 0 | 1:
                for place in random.integers(reach, size=random.integers(1, 4)):
                    changed[place] ^= 1 << int(random.integers(8))
            case 2:
                changed = changed[:start]
            case 3:
                changed[start : start + 16] = random.bytes(16)
            case 4:
                changed[start:start] = changed[: int(random.integers(1, 64))]
            case 5:
                changed = bytearray(data[: int(random.integers(16))] + random.bytes(200))
        yield bytes(changed)


def read_picture(path: Path) -> None:
    load_image(path)
    load_focal_length(path)


def whole(folder: Path, name: str) -> tuple[Path, Callable[[Path], object]]:
    """A sound file, and what reads it."""
    path = folder / name
    if name in GAUSSIANS:
        save_gaussians(path, recorded())
        return path, load_gaussians
    if name in PICTURES:
        Image.effect_mandelbrot((24, 16), (-2, -1, 1, 1), 20).convert("RGB").save(path)
        return path, read_picture
    if name in MESHES:
        trimesh = pytest.importorskip("trimesh")
        box = trimesh.creation.box()
        if name in ("mesh.ply", "mesh.stl"):
            box.export(path)
        else:
            save_mesh(
                path, Mesh(np.array(box.vertices, np.float32), np.array(box.faces), np.ones((8, 3)) / 2)
            )
        return path, load_scene
    if name == "table.csv":
        Image.new("RGB", (2, 2)).save(folder / "a.png")
        path.write_text("picture,azimuth,elevation\na.png,30,10\na.png,-20.5,\n")
        return path, read_table
    matrix = torch.eye(4).tolist()
    frame = f'{{"file_path": "a.png", "transform_matrix": {matrix}}}'
    path.write_text(f'{{"camera_angle_x": 0.7, "w": 8, "h": 8, "frames": [{frame}, {frame}]}}')
    return path, read_transforms


def complaint(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""


def assert_sound(name: str, complaints: list[str]) -> None:
    assert not any("\n" in words for words in complaints)
    refused = sum(map(bool, complaints))
    assert refused > FILES / 20  # noise is not taken for a file
    print(f"{name}: {FILES} damaged, {refused} refused, the others read")


@pytest.mark.parametrize("name", [*GAUSSIANS, *PICTURES, *MESHES, *TEXTS])
def test_damage_is_read_or_refused_in_one_line(tmp_path, name):
    path, read = whole(tmp_path, name)
    data = path.read_bytes()
    read(path)
    complaints = []
    for changed in damaged(data, FILES, seed=len(name)):
        path.write_bytes(changed)
        complaints.append(complaint(read, path))
    assert_sound(name, complaints)


def test_damaged_datasets_are_read_or_refused_in_one_line(tmp_path):
    from sparsegen.cameras import orbit, stack
    from sparsegen.data.packed import Viewsets, save_packed

    pictures = np.full((1, 3, 4, 4, 4), 200, np.uint8)
    save_packed(Viewsets(pictures, stack([orbit(3, size=4)]), ["one"]), tmp_path / "a.pack")
    data = (tmp_path / "a.pack").read_bytes()
    complaints = []
    for number, changed in enumerate(damaged(data, FILES, seed=1)):
        path = tmp_path / f"{number}.pack"  # a mapped file must not change
        path.write_bytes(changed)
        complaints.append(complaint(lambda path: load_packed(path).images.sum(), path))
        path.unlink()
    assert_sound("packed viewset", complaints)
