"""Meshes of Gaussians, against shapes whose surface is known, judged by trimesh."""

import math
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.mesh import Mesh
from sparsegen.meshing import extract_mesh

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")

RADIUS = 0.3


def shell(radius: float = RADIUS, center=(0.0, 0.0, 0.0), count: int = 4000, thickness: float = 0.002):
    """A sphere of flat, opaque Gaussians that lie on its surface; red in front (+X), blue behind."""
    number = torch.arange(count) + 0.5
    azimuth, height = number * (math.pi * (3 - math.sqrt(5))), 1 - 2 * number / count
    flat = (1 - height**2).sqrt()
    normals = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), height], dim=-1)
    # The shortest turn of +Z onto the normal.
    quats = F.normalize(
        torch.stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], torch.zeros(count)], dim=-1), dim=-1
    )
    width = 0.8 * radius * math.sqrt(4 * math.pi / count)
    scales = torch.tensor([width, width, thickness]).expand(count, 3)
    red, blue = torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.7])
    colors = torch.where(normals[:, :1] > 0, red, blue)
    means = radius * normals + torch.tensor(center)
    return Gaussians(means, quats, scales.contiguous(), torch.full((count,), 0.95), colors)


def joined(*parts: Gaussians) -> Gaussians:
    names = ("means", "quats", "scales", "opacities", "colors")
    return Gaussians(**{n: torch.cat([getattr(p, n) for p in parts]) for n in names}, expansion=1)


def judged(mesh: Mesh):
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return extract_mesh(shell(), resolution=40, views=24)


def test_a_sphere_keeps_its_radius_and_is_closed(ball):
    judge = judged(ball)
    assert judge.is_watertight
    assert judge.is_winding_consistent
    # Positive: the faces look outside.
    assert judge.volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.15)
    assert judge.euler_number == 2
    radii = np.linalg.norm(ball.vertices, axis=-1)
    assert abs(radii.mean() - RADIUS) < 0.015  # less than a step of the grid
    assert radii.std() < 0.015  # less than a step of the grid
    outward = (ball.normals * ball.vertices).sum(-1) / radii
    assert outward.min() > 0.8


def test_colors_are_those_of_the_gaussians_there(ball):
    front, back = ball.vertices[:, 0] > 0.1, ball.vertices[:, 0] < -0.1
    np.testing.assert_allclose(np.median(ball.colors[front], axis=0), [0.8, 0.1, 0.1], atol=0.02)
    np.testing.assert_allclose(np.median(ball.colors[back], axis=0), [0.1, 0.2, 0.7], atol=0.02)


def test_a_hollow_that_no_silhouette_shows_stays_hollow():
    whole = shell()
    bowl = whole.select(whole.means[:, 2] < 0)
    judge = judged(extract_mesh(bowl, resolution=48, views=32))
    assert judge.is_watertight
    assert judge.euler_number == 2  # no hole in its wall
    assert judge.volume < 0.4 * (2 / 3 * math.pi * RADIUS**3)


def test_floaters_are_left_out_and_parts_stay_where_they_are():
    """A second ball in front and above, and a speck behind."""
    second = shell(0.12, (0.42, 0.0, 0.2), 500)
    speck = shell(0.03, (-0.45, 0.3, 0.0), 60)
    mesh = extract_mesh(joined(shell(0.2), second, speck), resolution=48, views=24)
    pieces = sorted(judged(mesh).split(only_watertight=True), key=lambda piece: -piece.volume)
    assert len(pieces) == 2
    np.testing.assert_allclose(pieces[0].bounds.mean(axis=0), [0, 0, 0], atol=0.02)
    np.testing.assert_allclose(pieces[1].bounds.mean(axis=0), [0.42, 0, 0.2], atol=0.02)
    np.testing.assert_allclose(pieces[1].extents / 2, [0.12] * 3, atol=0.02)


def test_size_and_place_do_not_matter():
    far = extract_mesh(shell(9.0, (40.0, -30.0, 5.0), 1200, 0.05), resolution=32, views=24)
    radii = np.linalg.norm(far.vertices - np.array([40.0, -30.0, 5.0]), axis=-1)
    assert judged(far).is_watertight
    assert abs(radii.mean() / 9 - 1) < 0.06


def test_nothing_to_mesh_is_said(monkeypatch):
    faint = shell(count=200)
    faint = Gaussians(faint.means, faint.quats, faint.scales, faint.opacities * 0.05, faint.colors)
    with pytest.raises(InputError, match=r"no mesh: .*faint"):
        extract_mesh(faint, resolution=32, views=8)
    dead = Gaussians(faint.means, faint.quats, faint.scales, faint.opacities * 0, faint.colors)
    with pytest.raises(InputError, match="no Gaussian is visible"):
        extract_mesh(dead, resolution=32, views=8)
    with pytest.raises(InputError, match="--resolution: expected 16 to 512 steps, found 5"):
        extract_mesh(shell(), resolution=5)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r"pip install 'sparsegen\[mesh\]'"):
        extract_mesh(shell(count=300), resolution=16, views=8)
