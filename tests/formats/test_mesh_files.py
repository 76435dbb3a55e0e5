"""Mesh files, judged by trimesh."""

import json

import numpy as np
import pytest

from sparsegen.data.meshes import load_scene
from sparsegen.data.surfaces import linear_to_srgb, surfaces
from sparsegen.errors import InputError
from sparsegen.formats.meshes import save_mesh
from sparsegen.mesh import Mesh

trimesh = pytest.importorskip("trimesh")

# A tetrahedron that differs along every axis: 0.6 to the front (+X), 0.3 to the left (+Y), 0.2 up (+Z).
VERTICES = np.array([[0, 0, 0], [0.6, 0, 0], [0, 0.3, 0], [0, 0, 0.2]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
COLORS = np.array([[0, 0, 0], [0.8, 0.1, 0.05], [0.2, 0.7, 0.3], [1, 1, 0.5]], np.float32)
MESH = Mesh(VERTICES, FACES, COLORS)


@pytest.mark.parametrize("suffix", [".glb", ".gltf", ".obj"])
def test_trimesh_reads_it(tmp_path, suffix):
    save_mesh(tmp_path / f"a{suffix}", MESH)
    mesh = trimesh.load(tmp_path / f"a{suffix}", force="mesh", process=False)
    # +Y up, the front at +Z.
    np.testing.assert_allclose(mesh.bounds[1], [0.3, 0.2, 0.6], atol=1e-6)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.6 * 0.3 * 0.2 / 6, rel=1e-5)


@pytest.mark.parametrize("suffix", [".glb", ".gltf", ".obj"])
def test_our_own_reader_for_rendering_gets_the_same_object(tmp_path, suffix):
    save_mesh(tmp_path / f"a{suffix}", MESH)
    (surface,) = surfaces(load_scene(tmp_path / f"a{suffix}"))
    corners = [np.linalg.norm(surface.vertices - v, axis=1) < 1e-5 for v in VERTICES]
    assert np.sum(corners, axis=0).tolist() == [1] * len(surface.vertices)
    for corner, color in zip(corners, COLORS, strict=True):
        displayed = linear_to_srgb(surface.colors[corner])
        np.testing.assert_allclose(displayed, np.broadcast_to(color, displayed.shape), atol=0.01)


def test_gltf_follows_the_specification(tmp_path):
    save_mesh(tmp_path / "a.gltf", MESH)
    document = json.loads((tmp_path / "a.gltf").read_text())
    (primitive,) = document["meshes"][0]["primitives"]
    accessors = document["accessors"]
    color = accessors[primitive["attributes"]["COLOR_0"]]
    assert (color["componentType"], color["normalized"], color["type"]) == (5123, True, "VEC4")
    assert accessors[primitive["indices"]]["count"] == FACES.size
    # Every attribute starts on a multiple of four bytes, and positions tell their range.
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
    np.testing.assert_allclose(
        accessors[primitive["attributes"]["POSITION"]]["max"], [0.3, 0.2, 0.6], rtol=1e-6
    )
    normals = MESH.normals
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, rtol=1e-6)
    assert normals[1, 0] > 0.3  # the tip in front looks to the front


def test_mistakes(tmp_path):
    with pytest.raises(InputError, match=r"a\.stl: no mesh format by that name"):
        save_mesh(tmp_path / "a.stl", MESH)
    with pytest.raises(InputError, match="no faces"):
        save_mesh(tmp_path / "a.obj", Mesh(VERTICES, FACES[:0], COLORS))
    assert list(tmp_path.iterdir()) == []
