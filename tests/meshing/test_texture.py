"""Textures: the layout against closed forms, and whole files as trimesh reads them."""

import struct
import sys

import numpy as np
import pytest
import torch

from sparsegen.errors import InputError
from sparsegen.formats.meshes import encode_gltf, save_mesh
from sparsegen.gaussians import Gaussians
from sparsegen.mesh import Mesh
from sparsegen.meshing import extract_mesh
from sparsegen.meshing.texture import _cover, bake

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")
pytest.importorskip("xatlas")


def ramp(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
    """Red grows along x, green along z; blue is the side that a point looks to."""
    return torch.stack([points[:, 0] + 0.5, points[:, 2] + 0.5, normals[:, 1] / 2 + 0.5], dim=-1).clamp(0, 1)


@pytest.fixture(scope="module")
def textured() -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.45)
    colors = np.zeros((len(ball.vertices), 3))  # black: what is not black below came from the texture
    return bake(Mesh(np.array(ball.vertices, np.float32), np.array(ball.faces), colors), 256, ramp)


def test_two_triangles_cover_each_texel_of_their_square_once():
    size = 16
    square = np.array([[0, 0], [size, 0], [size, size], [0, size]]) + np.array([1e-3, 2e-3])
    face, weights, texels = _cover(square[[[0, 1, 2], [0, 2, 3]]], size)
    assert sorted(texels.tolist()) == list(range(size * size))
    found = np.einsum("tk,tkc->tc", weights, square[np.array([[0, 1, 2], [0, 2, 3]])[face]])
    np.testing.assert_allclose(found, np.stack([texels % size, texels // size], axis=-1) + 0.5)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_triangles_without_area_or_beside_the_picture_cover_nothing():
    flat = np.array([[[1.0, 1], [5, 5], [3, 3]], [[-9, -9], [-3, -9], [-9, -3]]])
    assert not len(_cover(flat, 8)[0])


@pytest.mark.parametrize("name", ["ball.glb", "ball.gltf", "ball.obj"])
def test_another_reader_finds_the_colors_where_they_belong(tmp_path, textured, name):
    save_mesh(tmp_path / name, textured)
    read = trimesh.load(tmp_path / name, force="mesh", process=False)
    picture = read.visual.material.baseColorTexture if "gl" in name else read.visual.material.image
    assert picture.size == (256, 256)
    # Inside of every face, in the file's axes (y, z, x).
    points, faces = trimesh.sample.sample_surface(read, 3000, seed=0)
    weights = trimesh.triangles.points_to_barycentric(read.triangles[faces], points)
    uv = np.einsum("pk,pkc->pc", weights, read.visual.uv[read.faces[faces]])  # v from the bottom upward
    column, row = (np.clip(x, 0, 255).astype(int) for x in (uv[:, 0] * 256, (1 - uv[:, 1]) * 256))
    found = np.asarray(picture.convert("RGB"))[row, column] / 255
    world = torch.from_numpy(points[:, [2, 0, 1]]).float()
    expected = ramp(world, torch.nn.functional.normalize(world, dim=-1)).numpy()
    assert np.abs(found - expected).mean() < 0.006
    assert np.abs(found - expected).max() < 0.04  # a texel or two


def test_chunks_of_a_binary_file_are_aligned(textured):
    """Khronos' validator refuses others; a PNG is of any length."""
    data = encode_gltf(textured)
    start, chunks = 12, []
    while start < len(data):
        length, kind = struct.unpack_from("<I4s", data, start)
        chunks.append((length % 4, kind))
        start += 8 + length
    assert (start, chunks) == (len(data), [(0, b"JSON"), (0, b"BIN\0")])


def test_an_obj_stays_closed_and_names_its_picture(tmp_path, textured):
    """Seams are in the texture's places, not in the surface."""
    save_mesh(tmp_path / "ball.obj", textured)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ball.mtl", "ball.obj", "ball_texture.png"]
    lines = (tmp_path / "ball.obj").read_text().splitlines()
    assert "mtllib ball.mtl" in lines
    assert "map_Kd ball_texture.png" in (tmp_path / "ball.mtl").read_text().splitlines()
    corners = [[c.split("/") for c in line.split()[1:]] for line in lines if line.startswith("f ")]
    faces = np.array([[int(vertex) - 1 for vertex, _, _ in face] for face in corners])
    assert trimesh.Trimesh(textured.vertices, faces, process=False).is_watertight


def test_no_texel_is_left_empty(textured):
    """Between charts the nearest color goes on: no dark seams when the picture is shrunk."""
    assert textured.texture is not None
    assert textured.texture.image.shape == (256, 256, 3)
    surface = ramp(torch.from_numpy(textured.vertices), torch.from_numpy(textured.normals)).numpy()
    low, high = surface.min(axis=0) - 0.02, surface.max(axis=0) + 0.02
    assert ((textured.texture.image >= low) & (textured.texture.image <= high)).all()


def test_the_texture_of_an_object_shows_its_gaussians():
    """A red ball of Gaussians: its texture is red wherever a triangle lies, and between."""
    mesh = extract_mesh(ball_of_gaussians(), resolution=20, views=12, texture=64)
    assert mesh.texture is not None
    error = np.abs(mesh.texture.image - np.array([0.8, 0.2, 0.1]))
    assert error.max() < 0.03


def ball_of_gaussians(count: int = 1500) -> Gaussians:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    means = 0.3 * torch.nn.functional.normalize(points, dim=-1)
    return Gaussians(
        means,
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count, 3), 0.02),
        torch.full((count,), 0.95),
        torch.tensor([0.8, 0.2, 0.1]).repeat(count, 1),
    )


def test_what_cannot_be_baked_is_said(monkeypatch, textured):
    with pytest.raises(InputError, match="--texture: expected 64 to 8192 texels on a side, found 8"):
        bake(textured, 8, ramp)
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with pytest.raises(InputError, match=r"pip install 'sparsegen\[mesh\]'"):
        bake(textured, 64, ramp)
