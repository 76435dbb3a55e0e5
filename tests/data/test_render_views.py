"""Pictures against projections, closed forms and themselves with many more rays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from sparsegen.cameras import Cameras, on_sphere
from sparsegen.data.render import LIGHTS, Light, normalize, render_views
from sparsegen.data.surfaces import linear_to_srgb, srgb_to_linear, surfaces
from sparsegen.data.viewpoints import random_views
from sparsegen.errors import InputError

trimesh = pytest.importorskip("trimesh")
SIZE = 32


def scene_of(mesh):
    return trimesh.Scene(mesh)


def shifted(cameras: Cameras, right: float, down: float) -> Cameras:
    """The same cameras with another principal point."""
    Ks = cameras.Ks.clone()
    Ks[..., :2, 2] += Ks.new_tensor([right, down])
    return Cameras(cameras.viewmats, Ks, cameras.width, cameras.height)


def views(count: int, seed: int = 0, size: int = SIZE) -> Cameras:
    return random_views(count, np.random.default_rng(seed), size)


@pytest.mark.parametrize("offset", [(0, 0), (3.3, -2.6)])
def test_small_balls_land_where_their_centres_project(offset):
    centers = np.random.default_rng(1).uniform(-0.2, 0.2, (3, 3))
    cameras = shifted(views(2, seed=1), *offset)
    for center in centers:
        ball = trimesh.creation.icosphere(subdivisions=2, radius=0.05).apply_translation(center)
        alphas = render_views(scene_of(ball), cameras)[..., 3] / 255
        pixels, _ = cameras.project(torch.tensor(center).float().expand(2, 1, 3))
        for alpha, pixel in zip(alphas, pixels[:, 0].numpy(), strict=True):
            y, x = np.mgrid[:SIZE, :SIZE] + 0.5
            centroid = np.array([(x * alpha).sum(), (y * alpha).sum()]) / alpha.sum()
            assert np.linalg.norm(centroid - pixel) < 0.2


def test_the_mask_reaches_as_far_as_the_vertices():
    mesh = trimesh.convex.convex_hull(np.random.default_rng(2).normal(size=(12, 3)))
    scene = normalize(scene_of(mesh))
    cameras = views(3, seed=2)
    vertices = torch.from_numpy(scene.to_mesh().vertices).float()
    pixels, _ = cameras.project(vertices.expand(3, -1, -1))
    for alpha, points in zip(render_views(scene, cameras)[..., 3], pixels.numpy(), strict=True):
        rows, columns = np.nonzero(alpha)
        assert np.abs(points.min(axis=0) - [columns.min(), rows.min()]).max() < 1
        assert np.abs(points.max(axis=0) - [columns.max() + 1, rows.max() + 1]).max() < 1


def test_the_silhouette_of_a_cube_is_its_projection():
    cube = normalize(scene_of(trimesh.creation.box((1, 1, 1))))
    cameras = views(2, seed=3)
    corners = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / math.sqrt(12)
    pixels, _ = cameras.project(corners.expand(2, 8, 3))
    fine = 16  # points a pixel's side
    grid = (np.stack(np.meshgrid(*[np.arange(SIZE * fine)] * 2), axis=-1) + 0.5) / fine
    for alpha, points in zip(render_views(cube, cameras)[..., 3] / 255, pixels.numpy(), strict=True):
        planes = ConvexHull(points).equations  # a x + b y + c <= 0 inside
        outside = (grid @ planes[:, :2].T + planes[:, 2]).max(axis=-1)  # pixels, negative inside
        shares = [
            (outside <= margin).reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3)) for margin in (0, 0.1)
        ]
        exact, touched = shares
        assert (alpha[touched == 0] == 0).all()
        assert (alpha[exact == 1] == 1).all()
        assert np.abs(alpha - exact).max() < 0.2  # sixteen rays on an edge
        assert alpha.sum() == pytest.approx(exact.sum(), rel=0.005)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.square(first.astype(float) - second.astype(float)).mean()
    return 10 * math.log10(255**2 / max(error, 1e-9))


def over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def test_there_is_no_sampling_noise():
    """A smooth body that shades itself: four rays a pixel look like two hundred."""
    torus = trimesh.creation.torus(0.35, 0.14, major_sections=48, minor_sections=24)
    scene = normalize(scene_of(torus))
    few = render_views(scene, views(2, seed=4))
    many = render_views(scene, views(2, seed=4), samples=64)
    assert psnr(over_white(few), over_white(many)) > 35
    assert np.array_equal(few, render_views(scene, views(2, seed=4)))


def test_flat_lit_faces_have_no_noise_at_all():
    """Within a plane far from the lamp nothing but the gloss changes: neighbours differ by a level or two."""
    plate = trimesh.creation.box((0.6, 0.6, 0.02))
    camera = on_sphere(torch.tensor([0.0]), torch.tensor([math.pi / 2]), size=SIZE)
    picture = render_views(scene_of(plate), camera)[0].astype(int)
    inside = picture[10:22, 10:22]
    assert (inside[..., 3] == 255).all()
    assert np.abs(np.diff(inside, axis=0)).max() <= 2
    assert np.abs(np.diff(inside, axis=1)).max() <= 2


def test_lights_are_summed_in_linear_light():
    scene = normalize(scene_of(trimesh.creation.icosphere(subdivisions=4)))
    camera = views(1, seed=5)
    together = render_views(scene, camera, samples=16)[0]
    alone = [render_views(scene, camera, samples=16, lights=(light,))[0] for light in LIGHTS]
    total = np.sum([srgb_to_linear(picture[..., :3] / 255) for picture in alone], axis=0)
    solid = (together[..., 3] == 255) & (total < 0.95).all(axis=-1)
    difference = linear_to_srgb(total) * 255 - together[..., :3]
    assert solid.sum() > 100
    assert np.abs(difference[solid]).mean() < 1.5


def test_light_travels_in_its_direction():
    """A ball is bright where the light comes from, and black on the other side."""
    ball = scene_of(trimesh.creation.icosphere(subdivisions=4, radius=0.4))
    camera = on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=SIZE)  # +Y is right, +Z is up
    for direction, (row, column) in {(0, 1, 0): (16, 6), (0, -1, 0): (16, 25), (0, 0, -1): (6, 16)}.items():
        picture = render_views(ball, camera, lights=(Light(direction, 1.0),))[0]
        assert picture[row, column, :3].min() > 80
        assert picture[31 - row, 31 - column, :3].max() == 0


def test_twice_the_irradiance_is_twice_the_light():
    ball = scene_of(trimesh.creation.icosphere(subdivisions=3, radius=0.4))
    camera = on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=16)
    dim, bright = (render_views(ball, camera, lights=(Light((-1, 0, 0), e),))[0] for e in (0.5, 1.0))
    middle = (slice(6, 10), slice(6, 10), slice(3))
    ratio = srgb_to_linear(bright[middle] / 255) / srgb_to_linear(dim[middle] / 255)
    np.testing.assert_allclose(ratio, 2, rtol=0.03)


def test_half_a_face_is_half_there():
    """A face of opacity 1/2 before a black one: half its light, all covered; at its edge half covered."""
    glass = trimesh.creation.box((0.02, 0.5, 0.5)).apply_translation((0.1, 0, 0))
    glass.visual.face_colors = [255, 255, 255, 128]
    wall = trimesh.creation.box((0.02, 0.25, 0.25)).apply_translation((-0.2, 0, 0))
    wall.visual.face_colors = [0, 0, 0, 255]
    camera = on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=SIZE)
    picture = render_views(trimesh.Scene([glass, wall]), camera)[0]
    assert picture[16, 16, 3] == 255
    assert picture[16, 11, 3] == 128  # beside the wall
    opaque = glass.copy()
    opaque.visual.face_colors = [255, 255, 255, 255]
    whole = render_views(trimesh.Scene([opaque, wall]), camera)[0]
    expected = srgb_to_linear(whole[16, 16, :3] / 255) / 2
    np.testing.assert_allclose(srgb_to_linear(picture[16, 16, :3] / 255), expected, atol=0.05)


def test_nothing_there_is_white_and_clear():
    ball = scene_of(trimesh.creation.icosphere(radius=0.1).apply_translation((0, 5, 0)))
    picture = render_views(ball, on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=8))
    assert (picture == [255, 255, 255, 0]).all()


def test_a_mesh_around_the_camera_is_rendered():
    room = scene_of(trimesh.creation.box((4, 4, 4)))
    picture = render_views(room, on_sphere(torch.tensor([0.5]), torch.tensor([0.2]), size=8))
    assert (picture[..., 3] == 255).all()


def test_pictures_need_not_be_square():
    ball = scene_of(trimesh.creation.icosphere(subdivisions=3, radius=0.1).apply_translation((0, 0.2, 0.1)))
    square = on_sphere(torch.tensor([0.3]), torch.tensor([0.2]), size=24)
    wide = shifted(Cameras(square.viewmats, square.Ks, 40, 30), 10, 4)
    first, second = render_views(ball, square)[0], render_views(ball, wide)[0]
    assert second.shape == (30, 40, 4)
    assert np.abs(second[4:28, 10:34, 3].astype(int) - first[..., 3]).max() < 50  # other rays on the edge
    assert second[..., 3].sum() == pytest.approx(first[..., 3].sum(), rel=0.02)


def test_pixels_must_be_square():
    camera = on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=8)
    Ks = camera.Ks * torch.tensor([1.0, 2.0, 1.0])[:, None]
    with pytest.raises(InputError, match="pixels must be square"):
        render_views(scene_of(trimesh.creation.box()), Cameras(camera.viewmats, Ks, 8, 8))


def test_normalized_scenes_are_centred_with_unit_diagonal():
    mesh = trimesh.creation.icosphere().apply_scale((3, 1, 0.2)).apply_translation((5, -7, 100))
    scene = trimesh.Scene()
    scene.add_geometry(mesh, transform=trimesh.transformations.rotation_matrix(0.7, (1, 2, 3)))
    normalized = normalize(scene)
    np.testing.assert_allclose(normalized.bounds.mean(axis=0), 0, atol=1e-6)
    assert np.linalg.norm(normalized.extents) == pytest.approx(1)
    np.testing.assert_allclose(normalized.extents / scene.extents, 1 / np.linalg.norm(scene.extents))


def test_scenes_without_extent_or_faces_are_refused():
    with pytest.raises(InputError, match="no finite extent"):
        normalize(trimesh.Scene())
    point = trimesh.Trimesh(np.ones((3, 3)), [[0, 1, 2]], process=False)
    with pytest.raises(InputError, match="one point"):
        normalize(scene_of(point))
    with pytest.raises(InputError, match="no faces"):
        render_views(scene_of(trimesh.PointCloud(np.eye(3))), views(1, size=8))


def test_a_texture_that_many_meshes_wear_stays_one():
    from PIL import Image
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    material = PBRMaterial(baseColorTexture=Image.new("RGB", (4, 4), (200, 30, 10)))
    scene = trimesh.Scene()
    for place in range(3):
        box = trimesh.creation.box().apply_translation((2 * place, 0, 0))
        box.visual = TextureVisuals(uv=np.zeros((len(box.vertices), 2)), material=material)
        scene.add_geometry(box)
    before = scene.bounds
    normalized = normalize(scene)
    assert [len(part.faces) for part in surfaces(normalized)] == [36]
    np.testing.assert_array_equal(scene.bounds, before)
