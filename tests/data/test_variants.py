"""Variants of meshes: other shapes and colors, the same front, the same symmetry."""

import colorsys

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from sparsegen.cli.main import main
from sparsegen.data.meshes import MeshFile
from sparsegen.data.packed import load_packed
from sparsegen.data.render import LIGHTS
from sparsegen.data.variants import _Paint, variants, varied

MIRRORED = np.array([1, -1, 1])


def half_and_half(seed: int) -> trimesh.Scene:
    """Random triangles and their mirror images in y, around a place that is not the origin."""
    points = np.random.default_rng(seed).uniform(-1, 1, (30, 3)) * [2, 0.8, 0.5]
    half = [points, points * MIRRORED]
    faces = np.arange(60).reshape(-1, 3)
    return trimesh.Scene(trimesh.Trimesh(np.concatenate(half) + np.array([3, 1, 5]), faces, process=False))


def vertices(scene: trimesh.Scene) -> np.ndarray:
    return np.concatenate([mesh.vertices for mesh in scene.geometry.values()])


@pytest.mark.parametrize("seed", range(5))
def test_symmetry_and_the_order_from_back_to_front_stay(seed):
    before = half_and_half(seed)
    after = varied(before, np.random.default_rng(seed))
    points, moved = vertices(before), vertices(after)
    np.testing.assert_allclose(moved[:30] * MIRRORED, moved[30:], atol=1e-9)
    assert (np.argsort(points[:30, 0]) == np.argsort(moved[:30, 0])).all()
    assert (np.sign(points[:, 1] - 1) == np.sign(moved[:, 1])).all()
    lengths = [np.ptp(p, axis=0) / np.ptp(p, axis=0)[0] for p in (points, moved)]
    assert np.abs(lengths[0] - lengths[1]).max() > 0.01


def test_paint_is_what_colorsys_makes_of_it():
    paint = _Paint(hue=70, saturation=0.8, gain=0.9, tint=np.array([0.9, 0.5, 0.3]))
    rgb = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    expected = np.empty(rgb.shape)
    for index in np.ndindex(20, 20):
        hue, saturation, value = colorsys.rgb_to_hsv(*(rgb[index] / 255))
        color = np.array(colorsys.hsv_to_rgb((hue + 70 / 256) % 1, 0.8 * saturation, value)) * 0.9
        expected[index] = 255 * color * (paint.tint if saturation < 0.2196 and value > 0.4196 else 1)
    errors = np.abs(paint.over(rgb) - expected)
    assert errors.max() < 10  # hue and saturation in 8 bits
    assert errors.mean() < 1


def test_textures_stay_shared_and_colors_of_all_kinds_change(tmp_path):
    red = Image.new("RGB", (4, 4), (200, 30, 30))
    shared = PBRMaterial(baseColorTexture=red, metallicFactor=0.0)
    visuals = [
        TextureVisuals(uv=np.zeros((8, 2)), material=shared),
        TextureVisuals(uv=np.zeros((8, 2)), material=shared),
        TextureVisuals(material=PBRMaterial(baseColorFactor=(200, 30, 30, 128))),
        TextureVisuals(material=SimpleMaterial(diffuse=(200, 30, 30, 255))),
    ]
    scene = trimesh.Scene()
    for visual in visuals:
        box = trimesh.creation.box()
        box.visual = visual
        scene.add_geometry(box)
    painted = trimesh.creation.box()
    painted.visual = ColorVisuals(vertex_colors=[(200, 30, 30, 77)] * 8)
    scene.add_geometry(painted)
    materials = [mesh.visual for mesh in varied(scene, np.random.default_rng(1)).geometry.values()]
    first, second, third, fourth = (visual.material for visual in materials[:4])
    assert first is second
    assert first is not shared
    assert np.abs(np.array(first.baseColorTexture)[0, 0] - [200, 30, 30]).max() > 20
    assert third.baseColorFactor[3] == 128
    assert np.abs(third.baseColorFactor[:3] - [200, 30, 30]).max() > 20
    assert np.abs(fourth.diffuse[:3].astype(int) - [200, 30, 30]).max() > 20
    assert (materials[4].vertex_colors[:, 3] == 77).all()
    assert np.abs(materials[4].vertex_colors[0, :3].astype(int) - [200, 30, 30]).max() > 20
    assert shared.baseColorTexture is red


def test_a_mesh_keeps_its_variants_when_others_are_added(tmp_path):
    half_and_half(0).export(tmp_path / "a.glb")
    mesh = MeshFile("a", tmp_path / "a.glb")
    alone, beside = variants([mesh], 3), variants([MeshFile("0", tmp_path / "0.glb"), mesh], 3)[3:]
    for first, second in zip(alone, beside, strict=True):
        points = [vertices(one.scene()) for one in (first, second)]
        np.testing.assert_array_equal(points[0], points[1])
        assert first.lights() == second.lights()
    np.testing.assert_array_equal(vertices(alone[0].scene()), vertices(mesh.scene()))
    assert alone[0].lights() == LIGHTS
    assert alone[1].lights() != LIGHTS


def test_variants_are_rendered_from_a_folder(tmp_path, capsys):
    box = trimesh.creation.box((0.8, 0.4, 0.3))
    colors = np.random.default_rng(0).integers(0, 256, (12, 4)) | [0, 0, 0, 255]
    box.visual = ColorVisuals(face_colors=colors)
    box.export(tmp_path / "box.ply")
    command = ["data", "render", str(tmp_path / "box.ply"), str(tmp_path / "boxes.pack"), "--pack"]
    command += ["--views", "2", "--size", "32", "--spiral", "--jobs", "1", "--variants"]
    assert main([*command, "3"]) == 0
    packed = load_packed(tmp_path / "boxes.pack")
    assert list(packed.names) == ["box-0", "box-1", "box-2"]
    images = packed.views(np.arange(3), np.array([[0]] * 3)).images
    assert all(float((images[0] - images[i]).abs().mean()) > 0.01 for i in (1, 2))
    assert main([*command, "0"]) == 2
    assert "--variants: expected at least 1, found 0" in capsys.readouterr().err
