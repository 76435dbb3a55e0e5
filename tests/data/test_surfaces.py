"""Surfaces of meshes: normals in closed form, colours, opacity, transforms and textures."""

import numpy as np
import pytest
from PIL import Image

trimesh = pytest.importorskip("trimesh")

from sparsegen.data.surfaces import (  # noqa: E402
    UNPAINTED,
    linear_to_srgb,
    srgb_to_linear,
    surfaces,
)


def corner_normals(surface):
    return surface.normals[surface.faces]


def flat_normals(surface):
    a, b, c = (surface.vertices[surface.faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def bare(mesh):
    """The mesh without the normals that its maker has worked out."""
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_the_two_curves_undo_each_other_and_are_the_standards():
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
    assert srgb_to_linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)


def test_a_cube_is_shaded_flat():
    (surface,) = surfaces(trimesh.Scene(bare(trimesh.creation.box())))
    assert len(surface.faces) == 12
    expected = np.repeat(flat_normals(surface)[:, None], 3, axis=1)
    np.testing.assert_allclose(corner_normals(surface), expected, atol=1e-6)


def test_a_fine_ball_is_shaded_smooth_also_as_loose_triangles():
    ball = bare(trimesh.creation.icosphere(3))
    loose = bare(ball)
    loose.unmerge_vertices()
    for mesh in (ball, loose):
        (surface,) = surfaces(trimesh.Scene(bare(mesh)))
        np.testing.assert_allclose(surface.normals, surface.vertices, atol=0.02)
        assert len(surface.vertices) == len(ball.vertices)


@pytest.mark.parametrize(("angle", "smooth"), [(30, True), (40, False)])
def test_a_crease_is_sharp_from_35_degrees_on(angle, smooth):
    rise = np.deg2rad(angle)
    vertices = [[0, 0, 0], [0, 1, 0], [-1, 0, 0], [np.cos(rise), 0, -np.sin(rise)]]
    (surface,) = surfaces(trimesh.Scene(trimesh.Trimesh(vertices, [[0, 1, 2], [0, 3, 1]], process=False)))
    normals = corner_normals(surface)
    agree = normals[0, 0] @ normals[1, 0]
    assert agree == pytest.approx(1 if smooth else np.cos(rise), abs=1e-5)


def test_normals_follow_a_stretched_and_mirrored_place_in_the_scene():
    ball = bare(trimesh.creation.icosphere(3))
    scene = trimesh.Scene()
    stretch = np.diag([3.0, 1.0, 1.0, 1.0])
    scene.add_geometry(ball, transform=stretch)
    (surface,) = surfaces(scene)
    # The gradient of (x / 3)^2 + y^2 + z^2.
    expected = surface.vertices / np.array([9.0, 1, 1])
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    assert (surface.normals * expected).sum(-1).min() > 0.995


def test_a_flattened_object_keeps_finite_normals():
    scene = trimesh.Scene()
    scene.add_geometry(bare(trimesh.creation.icosphere(2)), transform=np.diag([1.0, 1.0, 0.0, 1.0]))
    (surface,) = surfaces(scene)
    assert np.isfinite(surface.normals).all()


def test_no_colour_is_grey_and_face_colours_stay_on_their_faces():
    mesh = bare(trimesh.creation.box())
    (surface,) = surfaces(trimesh.Scene(mesh))
    np.testing.assert_allclose(surface.colors, UNPAINTED)
    mesh.visual.face_colors = [[255, 0, 0, 255]] * 6 + [[0, 255, 0, 128]] * 6
    (surface,) = surfaces(trimesh.Scene(mesh))
    corners = surface.colors[surface.faces]
    np.testing.assert_allclose(corners[:6], np.broadcast_to([1, 0, 0], (6, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(corners[6:], np.broadcast_to([0, 1, 0], (6, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(surface.opacity, [1] * 6 + [128 / 255] * 6, atol=1e-6)


def textured(image, tint=(255, 255, 255, 255)):
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=image, baseColorFactor=tint, roughnessFactor=0.25
    )
    uv = [[0, 0], [1, 0], [1, 1], [0, 1]]
    vertices = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def test_large_textures_shrink_and_small_ones_stay():
    large, small = Image.new("RGB", (64, 32), (128, 128, 128)), Image.new("RGB", (8, 4), (128, 128, 128))
    for image, shape in ((large, (8, 16)), (small, (4, 8))):
        (surface,) = surfaces(trimesh.Scene(textured(image)), texture_size=16)
        assert surface.texture is not None
        assert surface.texture.shape == (*shape, 3)
        np.testing.assert_allclose(surface.texture, srgb_to_linear(np.array(128 / 255)), atol=1e-6)
        np.testing.assert_allclose(surface.roughness, 0.25)


def test_parts_that_share_a_texture_become_one_surface_and_others_do_not():
    image = Image.new("RGB", (4, 4), (255, 255, 255))
    scene = trimesh.Scene()
    first, second = textured(image), textured(image)
    second.visual.material = first.visual.material
    second.vertices += [0, 0, 1]
    scene.add_geometry(first, node_name="a", geom_name="a")
    scene.add_geometry(second, node_name="b", geom_name="b")
    scene.add_geometry(bare(trimesh.creation.box()), node_name="c", geom_name="c")
    found = sorted(surfaces(scene), key=lambda s: s.texture is None)
    assert [len(s.faces) for s in found] == [4, 12]
    assert found[0].uv is not None
    assert found[0].uv.shape == (8, 2)
    assert found[1].uv is None


def test_points_and_empty_meshes_have_no_surface():
    scene = trimesh.Scene([trimesh.PointCloud([[0, 0, 0], [1, 1, 1]])])
    assert surfaces(scene) == []
