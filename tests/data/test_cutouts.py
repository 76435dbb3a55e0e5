"""Shapes cut out by a texture's alpha, against the shape itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen.cameras import on_sphere
from sparsegen.data.cutouts import split_cutouts
from sparsegen.data.meshes import load_scene
from sparsegen.data.render import render_views
from sparsegen.data.surfaces import surfaces

trimesh = pytest.importorskip("trimesh")
PBR = trimesh.visual.material.PBRMaterial


def disc_texture(size: int = 64) -> Image.Image:
    """Green, opaque within a circle of radius 0.4."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    alpha = np.where(np.hypot(x, y) < 0.4, 255, 0)
    return Image.fromarray(np.dstack([0 * alpha, 0 * alpha + 200, 0 * alpha, alpha]).astype(np.uint8))


def card(**material):
    """A square of side 0.6 that faces +X."""
    corners = np.array([[0, -0.3, -0.3], [0, 0.3, -0.3], [0, 0.3, 0.3], [0, -0.3, 0.3]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    visual = trimesh.visual.TextureVisuals(uv=uv, material=PBR(baseColorTexture=disc_texture(), **material))
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def picture(scene) -> np.ndarray:
    camera = on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=64)
    return render_views(scene, camera)[0]


@pytest.mark.parametrize("mode", ["MASK", "BLEND"])
def test_a_disc_on_a_card_is_round(mode):
    rgba = picture(trimesh.Scene(card(alphaMode=mode)))
    focal = on_sphere(torch.tensor([0.0]), torch.tensor([0.0]), size=64).Ks[0, 0, 0].item()
    radius = 0.4 * 0.6 / 1.3 * focal
    assert rgba[..., 3].sum() / 255 == pytest.approx(math.pi * radius**2, rel=0.05)
    y, x = np.mgrid[:64, :64] + 0.5 - 32
    distance = np.hypot(x, y)
    assert (rgba[distance < radius - 2, 3] == 255).all()
    assert (rgba[distance > radius + 2, 3] == 0).all()
    assert (rgba[distance < radius - 2, 1] > 100).all()
    assert (rgba[distance < radius - 2, 0] < 60).all()


def test_an_opaque_material_ignores_its_textures_alpha():
    part = surfaces(trimesh.Scene(card(alphaMode="OPAQUE")))[0]
    assert len(part.faces) == 2
    assert (part.opacity == 1).all()


def test_cut_outs_survive_a_glb_file(tmp_path):
    card(alphaMode="MASK", alphaCutoff=0.5).export(tmp_path / "leaf.glb")
    rgba = picture(load_scene(tmp_path / "leaf.glb", up="z"))
    np.testing.assert_array_equal(rgba, picture(trimesh.Scene(card(alphaMode="MASK"))))


def test_pieces_fill_their_faces_and_keep_their_columns():
    rng = np.random.default_rng(0)
    uv = rng.uniform(-1, 2, (5, 3, 2))  # textures repeat
    values = uv @ [[1.0], [2.0]] + 3  # a column that is linear in the coordinates
    alpha = (np.indices((8, 8)).sum(axis=0) % 2).astype(np.float32)
    corners, coverage, parents = split_cutouts(np.concatenate([values, uv], axis=-1), alpha)
    assert len(corners) > 100
    np.testing.assert_allclose(corners[..., :1], corners[..., 1:] @ [[1.0], [2.0]] + 3)

    def area(uv):
        return np.abs(np.linalg.det(np.diff(uv, axis=1))) / 2

    areas = area(corners[..., 1:])
    np.testing.assert_allclose(np.bincount(parents, areas), area(uv))
    # A chessboard is half there.
    assert (areas * coverage).sum() / areas.sum() == pytest.approx(0.5, abs=0.03)


def test_whole_faces_are_not_split():
    corners = np.random.default_rng(1).uniform(size=(4, 3, 5))
    split, coverage, parents = split_cutouts(corners, np.full((4, 4), 0.5, np.float32))
    np.testing.assert_array_equal(split, corners)
    np.testing.assert_array_equal(parents, range(4))
    assert (coverage == 0.5).all()
