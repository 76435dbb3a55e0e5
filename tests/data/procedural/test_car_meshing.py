"""Closed forms for the mesh toolkit of the procedural objects."""

import numpy as np
import pytest
import trimesh

from sparsegen.data.procedural.meshing import (
    Mesh,
    both_sides,
    drape,
    ellipsoid,
    revolve,
    smoothed,
    split_creases,
    tidy,
    tube,
)


def solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_ellipsoid_has_its_volume_and_faces_outwards():
    mesh = solid(ellipsoid(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.0]), detail=40))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.5 * 1.0 * 2.0, rel=0.01)


def test_cylinder_of_revolution():
    mesh = solid(tidy(revolve(np.array([(-1.0, 0.0), (-1.0, 2.0), (1.0, 2.0), (1.0, 0.0)]), 200)))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(np.pi * 4 * 2, rel=1e-3)


def test_tube_is_closed():
    mesh = solid(tube(np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]]), 0.1, 64))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(np.pi * 0.01 * 2, rel=0.01)


def test_reflection_keeps_the_outside_outside():
    ball = ellipsoid(np.array([0.0, 3.0, 0.0]), np.ones(3), detail=20)
    assert solid(both_sides(ball)).volume == pytest.approx(2 * solid(ball).volume)


@pytest.mark.parametrize(("degrees", "count"), [(38.0, 24), (120.0, 8)])
def test_a_cube_is_split_at_its_edges_only_where_they_are_sharp(degrees, count):
    box = trimesh.creation.box()
    split = split_creases(Mesh(np.asarray(box.vertices), np.asarray(box.faces)), degrees)
    assert len(split.vertices) == count
    assert solid(split).volume == pytest.approx(1)


def test_a_draped_patch_stands_a_constant_height_above_a_plane():
    plane = Mesh(
        np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0.5], [-1, 1, 0.5]]), np.array([[0, 1, 2], [0, 2, 3]])
    )
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 5), np.linspace(-0.4, 0.4, 4))
    patch = drape(plane, np.stack([x, y, 0 * x + 3], -1), np.array([0.0, 0.0, -1.0]), 0.01)
    normal = np.array([0, -0.25, 1]) / np.hypot(0.25, 1)
    np.testing.assert_allclose((patch.vertices - [0, 0, 0.25]) @ normal, 0.01, atol=1e-9)
    assert (solid(patch).face_normals @ normal > 0.999).all()


def test_a_patch_beside_the_surface_is_left_out():
    plane = Mesh(
        np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    )
    x, y = np.meshgrid(np.linspace(5, 6, 3), np.linspace(-0.4, 0.4, 3))
    patch = drape(plane, np.stack([x, y, 0 * x + 3], -1), np.array([0.0, 0.0, -1.0]), 0.01)
    assert len(patch.faces) == 0


def test_smoothing_keeps_straight_lines_and_rounds_corners():
    knots, values = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 2.0])
    assert smoothed(np.array([0.5]), knots, values, 0.05)[0] == pytest.approx(1.0, abs=1e-3)
    assert smoothed(np.array([2.5]), knots, values, 0.05)[0] == pytest.approx(2.0, abs=1e-6)
    # At a corner a Gaussian takes off slope change * sigma / sqrt(2 pi).
    corner = smoothed(np.array([1.0]), knots, values, 0.05)[0]
    assert corner == pytest.approx(2.0 - 2.0 * 0.05 / np.sqrt(2 * np.pi), abs=2e-3)
