"""Mesh files of every format: which side is where, in which colour; and files that are no meshes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen.cameras import on_sphere
from sparsegen.data.meshes import find_meshes, load_scene
from sparsegen.data.render import Light, normalize, render_views
from sparsegen.data.surfaces import DEFAULT_ROUGHNESS, UNPAINTED, srgb_to_linear
from sparsegen.errors import InputError

trimesh = pytest.importorskip("trimesh")

# A lamp over each side of a box.
AXES = np.concatenate([np.eye(3), -np.eye(3)])
LAMPS = tuple(Light((-x, -y, -z), 2.0) for x, y, z in AXES)
# The sides (+X, +Y, +Z, -X, -Y, -Z) of our world, where a file has +Y up and +Z in front.
FROM_Y_UP = [2, 0, 1, 5, 3, 4]


def look_around(scene) -> np.ndarray:
    """The linear colours of the six sides, each seen and lit from straight ahead, all of one gloss."""
    for mesh in scene.geometry.values():
        if hasattr(getattr(mesh.visual, "material", None), "roughnessFactor"):
            mesh.visual.material.roughnessFactor = DEFAULT_ROUGHNESS
    azimuth = torch.tensor([0, 90, 0, 180, 270, 0]).deg2rad()
    elevation = torch.tensor([0, 0, 90, 0, 0, -90]).deg2rad()
    pictures = render_views(normalize(scene), on_sphere(azimuth, elevation, size=16), lights=LAMPS)
    middle = pictures[:, 6:10, 6:10]
    assert (middle[..., 3] == 255).all()
    return srgb_to_linear(middle[..., :3] / 255).mean(axis=(1, 2))


@pytest.fixture(scope="module")
def black_and_white() -> np.ndarray:
    """What `look_around` sees of black and of white sides: every other colour lies between them."""

    def painted(level: int) -> np.ndarray:
        cube = trimesh.creation.box()
        cube.visual.face_colors = [level, level, level, 255]
        return look_around(trimesh.Scene(cube)).mean()

    return np.array([painted(0), painted(255)])


def assert_colours(scene, linear: np.ndarray, black_and_white: np.ndarray) -> None:
    black, white = black_and_white
    np.testing.assert_allclose(look_around(scene), black + linear * (white - black), atol=0.012)


def atlas(sides: np.ndarray) -> Image.Image:
    """A texture with one square a side, in a row."""
    return Image.fromarray(np.repeat(np.repeat(sides[None], 8, axis=0), 8, axis=1))


def textured(box, sides):
    cube, side = box
    uv = np.stack([(np.repeat(side, 3) + 0.5) / 6, np.full(36, 0.4)], axis=1)
    material = trimesh.visual.material.SimpleMaterial(image=atlas(sides), diffuse=[255, 255, 255, 255])
    cube.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return cube


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_textures(box, sides, tmp_path, black_and_white, suffix):
    textured(box, sides).export(tmp_path / f"cube.{suffix}")
    expected = srgb_to_linear(sides / 255)[FROM_Y_UP]
    assert_colours(load_scene(tmp_path / f"cube.{suffix}"), expected, black_and_white)


@pytest.mark.parametrize(("v", "level"), [(0.25, 0), (0.75, 1)])
def test_texture_rows_run_upwards(tmp_path, black_and_white, v, level):
    """In OBJ, v = 0 is the bottom row of a picture."""
    cube = trimesh.creation.box()
    lines = ["mtllib cube.mtl", "usemtl red_above", f"vt 0.5 {v}"]
    lines += [f"v {x:g} {y:g} {z:g}" for x, y, z in cube.vertices]
    lines += [f"f {a + 1}/1 {b + 1}/1 {c + 1}/1" for a, b, c in cube.faces]
    (tmp_path / "cube.obj").write_text("\n".join(lines) + "\n")
    (tmp_path / "cube.mtl").write_text("newmtl red_above\nKd 0 0 0\nmap_Kd cube.png\n")
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4, :, 0] = 255
    Image.fromarray(picture).save(tmp_path / "cube.png")
    expected = np.broadcast_to([float(level), 0, 0], (6, 3))
    assert_colours(load_scene(tmp_path / "cube.obj"), expected, black_and_white)


def test_a_texture_is_multiplied_by_the_materials_colour(box, sides, tmp_path, black_and_white):
    cube = textured(box, sides)
    cube.visual.material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=atlas(sides), baseColorFactor=[255, 128, 64, 255]
    )
    cube.export(tmp_path / "cube.glb")
    expected = srgb_to_linear(sides / 255)[FROM_Y_UP] * [1, 128 / 255, 64 / 255]  # factors are linear
    assert_colours(load_scene(tmp_path / "cube.glb"), expected, black_and_white)


@pytest.mark.parametrize("suffix", ["ply", "obj"])
def test_vertex_colours_are_as_displayed(box, sides, tmp_path, black_and_white, suffix):
    cube, side = box
    cube.visual.vertex_colors = sides[np.repeat(side, 3)]
    cube.export(tmp_path / f"cube.{suffix}")
    expected = srgb_to_linear(sides / 255)[FROM_Y_UP if suffix == "obj" else slice(None)]
    assert_colours(load_scene(tmp_path / f"cube.{suffix}"), expected, black_and_white)


def test_vertex_colours_of_gltf_are_linear(box, sides, tmp_path, black_and_white):
    cube, side = box
    cube.visual.vertex_colors = sides[np.repeat(side, 3)]
    cube.export(tmp_path / "cube.glb")
    assert_colours(load_scene(tmp_path / "cube.glb"), (sides / 255)[FROM_Y_UP], black_and_white)


def test_face_colours_of_ply(box, sides, tmp_path, black_and_white):
    cube, side = box
    rows = [f"{x:g} {y:g} {z:g}" for x, y, z in cube.vertices]
    rows += [
        f"3 {a} {b} {c} {r} {g} {b_}" for (a, b, c), (r, g, b_) in zip(cube.faces, sides[side], strict=True)
    ]
    header = (
        "ply\nformat ascii 1.0\nelement vertex 36\nproperty float x\nproperty float y\nproperty float z\n"
    )
    header += "element face 12\nproperty list uchar int vertex_indices\n"
    header += "".join(f"property uchar {color}\n" for color in ("red", "green", "blue")) + "end_header\n"
    (tmp_path / "cube.ply").write_text(header + "\n".join(rows) + "\n")
    assert_colours(load_scene(tmp_path / "cube.ply"), srgb_to_linear(sides / 255), black_and_white)


def test_materials_of_obj(box, sides, tmp_path, black_and_white):
    """Kd is as displayed."""
    cube, side = box
    lines = ["mtllib cube.mtl", *(f"v {x:g} {y:g} {z:g}" for x, y, z in cube.vertices)]
    for number in range(6):
        lines.append(f"usemtl m{number}")
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in cube.faces[side == number]]
    (tmp_path / "cube.obj").write_text("\n".join(lines) + "\n")
    materials = [f"newmtl m{i}\nKd {r / 255} {g / 255} {b / 255}" for i, (r, g, b) in enumerate(sides)]
    (tmp_path / "cube.mtl").write_text("\n\n".join(materials) + "\n")
    expected = srgb_to_linear(sides / 255)[FROM_Y_UP]
    assert_colours(load_scene(tmp_path / "cube.obj"), expected, black_and_white)


@pytest.mark.parametrize("axis", ["Y_UP", "Z_UP"])
def test_materials_and_axes_of_collada(box, sides, tmp_path, black_and_white, axis):
    cube, side = box
    parts = []
    for number in range(6):
        part = cube.submesh([np.flatnonzero(side == number)], append=True)
        part.visual.face_colors = sides[number]
        parts.append(part)
    text = trimesh.exchange.dae.export_collada(parts).decode()
    (tmp_path / "cube.dae").write_text(text.replace("Y_UP", axis))
    expected = srgb_to_linear(sides / 255)[FROM_Y_UP if axis == "Y_UP" else slice(None)]
    assert_colours(load_scene(tmp_path / "cube.dae"), expected, black_and_white)


def test_stl_has_no_colours(box, tmp_path, black_and_white):
    box[0].export(tmp_path / "cube.stl")
    assert_colours(load_scene(tmp_path / "cube.stl"), np.full((6, 3), UNPAINTED), black_and_white)


def test_up_may_be_said(box, sides, tmp_path):
    cube, side = box
    cube.visual.vertex_colors = sides[np.repeat(side, 3)]
    cube.apply_scale((1, 2, 3))
    for suffix in ("ply", "obj"):
        cube.export(tmp_path / f"cube.{suffix}")
        as_it_is, turned = (load_scene(tmp_path / f"cube.{suffix}", up).extents for up in ("z", "y"))
        np.testing.assert_allclose(as_it_is, [2, 4, 6], rtol=1e-5)
        np.testing.assert_allclose(turned, [6, 2, 4], rtol=1e-5)


def test_parts_stand_where_the_scene_puts_them(tmp_path):
    scene = trimesh.Scene()
    ball = trimesh.creation.icosphere(radius=0.5)
    for x in (0, 4):
        matrix = trimesh.transformations.translation_matrix((x, 0, 0))
        scene.add_geometry(ball, node_name=f"ball{x}", geom_name="ball", transform=matrix)
    scene.export(tmp_path / "balls.glb")
    bounds = load_scene(tmp_path / "balls.glb").bounds
    np.testing.assert_allclose(bounds, [[-0.5] * 3, [0.5, 4.5, 0.5]], atol=1e-4)  # +X of the file is our +Y


# --- finding them ----------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_meshes_are_found_in_folders(tmp_path):
    touch(
        tmp_path,
        "b/model.OBJ",
        "b/model.mtl",
        "a.glb",
        "b/c/model.ply",
        "chair.obj",
        "chair.stl",
        "readme.txt",
    )
    found = find_meshes([tmp_path])
    names = ["a", "b-c-model", "b-model", "chair-obj", "chair-stl"]
    assert sorted(mesh.name for mesh in found) == names
    assert [m.name for m in find_meshes([tmp_path])] == [m.name for m in found]
    assert [m.name for m in find_meshes([tmp_path / "a.glb", tmp_path / "b"])] == ["a", "c-model", "model"]


def test_a_mesh_called_like_its_folder_is_called_so_once(tmp_path):
    touch(tmp_path, "van/van.obj", "suv/suv.obj", "suv/suv.glb", "bus.ply", "bus/bus.ply", "x-van/van.obj")
    names = {mesh.name: str(mesh.path.relative_to(tmp_path)) for mesh in find_meshes([tmp_path])}
    assert names == {
        "van": "van/van.obj",
        "suv-suv-obj": "suv/suv.obj",
        "suv-suv-glb": "suv/suv.glb",
        "bus-ply": "bus.ply",
        "bus-bus-ply": "bus/bus.ply",
        "x-van-van": "x-van/van.obj",
    }


def test_what_is_not_there_is_named(tmp_path):
    touch(tmp_path, "photo.jpg")
    with pytest.raises(InputError, match="nosuch: no such file or folder"):
        find_meshes([tmp_path / "nosuch"])
    with pytest.raises(InputError, match=r"photo\.jpg: unknown kind of mesh"):
        find_meshes([tmp_path / "photo.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no meshes"):
        find_meshes([tmp_path / "empty"])


@pytest.mark.parametrize("suffix", ["glb", "gltf", "obj", "ply", "stl", "dae"])
@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"<html>404 not found</html>", b"ply\n"])
def test_broken_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_scene(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["glb", "ply", "stl"])
def test_files_cut_short_are_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    trimesh.creation.icosphere().export(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"cut\.{suffix}: "):
        load_scene(path)


@pytest.mark.parametrize("suffix", ["ply", "obj"])
def test_points_are_no_mesh(tmp_path, suffix):
    trimesh.PointCloud(np.eye(3)).export(tmp_path / f"points.{suffix}")
    with pytest.raises(InputError, match=rf"points\.{suffix}: "):
        load_scene(tmp_path / f"points.{suffix}")


@pytest.mark.parametrize(
    ("vertices", "words"),
    [
        ("v 0 0 0\nv nan 0 1\nv 0 1 0\n", "not finite"),
        (3 * "v 1 1 1\n", "one point"),
        ("v 0 0 0\n" * 3, "point"),
    ],
)
def test_vertices_must_make_sense(tmp_path, vertices, words):
    (tmp_path / "odd.obj").write_text(vertices + "f 1 2 3\n")
    with pytest.raises(InputError, match=rf"odd\.obj: .*{words}"):
        load_scene(tmp_path / "odd.obj")


def test_a_lost_texture_is_survived(box, sides, tmp_path):
    textured(box, sides).export(tmp_path / "cube.obj")
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    assert math.isclose(np.linalg.norm(normalize(load_scene(tmp_path / "cube.obj")).extents), 1)
