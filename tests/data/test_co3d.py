"""CO3D annotations: PyTorch3D's projection in closed form, and objects brought into our world."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch
from PIL import Image

from sparsegen.cameras import on_sphere
from sparsegen.data.layouts import co3d
from sparsegen.data.layouts.co3d import APPARENT_SIZE, FILE, frame_camera, load_co3d
from sparsegen.data.loading import iterate_folder, load_viewsets
from sparsegen.errors import InputError

WIDTH, HEIGHT = 240, 160


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


@pytest.mark.parametrize("size", [(40, 60), (70, 50)])
@pytest.mark.parametrize("kind", ["ndc_isotropic", "ndc_norm_image_bounds", None])
def test_projection_is_that_of_pytorch3d(size, kind):
    """X_view = X_world R + T in row vectors; +x left and +y up; NDC scaled by half a side."""
    height, width = size
    R, T = rotation(1), np.array([0.2, -0.1, 3.0])
    focal, center = np.array([1.7, 2.1]), np.array([0.05, -0.1])
    viewpoint = {"R": R.tolist(), "T": T.tolist(), "focal_length": focal.tolist()}
    viewpoint |= {"principal_point": center.tolist()}
    if kind is not None:
        viewpoint["intrinsics_format"] = kind
    camera = frame_camera({"viewpoint": viewpoint, "image": {"size": list(size)}})

    points = np.random.default_rng(2).uniform(-1, 1, (50, 3))
    view = points @ R + T
    ndc = focal * view[:, :2] / view[:, 2:] + center
    half = np.array([width, height]) / 2
    scale = half.min() if kind == "ndc_isotropic" else half
    pixels, depth = camera.project(torch.from_numpy(points).float())
    np.testing.assert_allclose(pixels.numpy(), half - scale * ndc, atol=1e-3)
    np.testing.assert_allclose(depth.numpy(), view[:, 2], atol=1e-5)


BALL = 0.35  # radius in the sequence's own units


@pytest.fixture
def category(tmp_path):
    """A red ball on a turntable, in a world that is turned, moved and twice as large as ours."""
    folder = tmp_path / "apple"
    turn, move = torch.from_numpy(rotation(3)).float(), torch.tensor([3.0, -1.0, 2.0])
    ours = on_sphere(
        torch.linspace(0, 6, 21)[:20], torch.full((20,), 0.4), radius=2.6, size=HEIGHT, focal=HEIGHT
    )
    frames = []
    for i in range(20):
        # A point x of our world is `turn x + move` in the sequence's.
        R, T, focal, _ = ours[i].to_pytorch3d()
        their_R = turn @ R
        names = {kind: f"apple/s1/{kind}/f{i:03d}.png" for kind in ("images", "masks")}
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        radius = HEIGHT * BALL / np.sqrt(2.6**2 - BALL**2)
        inside = np.hypot(x - WIDTH / 2, y - HEIGHT / 2) < radius
        picture = np.where(inside[..., None], [200, 30, 20], [90, 120, 90]).astype(np.uint8)
        for kind, pixels in (("images", picture), ("masks", (255 * inside).astype(np.uint8))):
            (tmp_path / names[kind]).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / names[kind])
        frames.append(
            {
                "sequence_name": "s1",
                "frame_number": i,
                "image": {"path": names["images"], "size": [HEIGHT, WIDTH]},
                "mask": {"path": names["masks"]},
                "viewpoint": {
                    "R": their_R.tolist(),
                    "T": (T - move @ their_R).tolist(),
                    "focal_length": focal.tolist(),
                    "principal_point": [0.0, 0.0],
                    "intrinsics_format": "ndc_isotropic",
                },
            }
        )
    frames.append({**frames[0], "sequence_name": "short"})
    annotate(folder, frames[::-1])
    return folder


def annotate(folder, frames) -> None:
    (folder / FILE).write_bytes(gzip.compress(json.dumps(frames).encode()))


def frames_of(folder) -> list:
    return json.loads(gzip.decompress((folder / FILE).read_bytes()))


def test_a_turntable_comes_into_our_world(category):
    viewsets = load_co3d(category, views=8, size=32)
    assert viewsets.names == ["s1"]
    assert viewsets.images.shape == (1, 8, 32, 32, 4)
    cameras = viewsets.cameras[0]
    # Cameras stand around the origin at one height above it, as they did around the ball.
    torch.testing.assert_close(cameras.centers.norm(dim=-1).std(), torch.tensor(0.0), atol=1e-3, rtol=0)
    elevation = torch.asin(cameras.centers[:, 2] / cameras.centers.norm(dim=-1))
    torch.testing.assert_close(elevation, torch.full((8,), 0.4), atol=2e-2, rtol=0)
    pixels, depth = cameras.project(torch.zeros(8, 1, 3))
    torch.testing.assert_close(pixels, torch.full((8, 1, 2), 16.0), atol=0.6, rtol=0)
    # The ball, as wide as APPARENT_SIZE at its distance, spans its picture but for the margin.
    radius = cameras.Ks[:, 0, 0] * APPARENT_SIZE / 2 / depth[:, 0]
    area = (viewsets.images[0, ..., 3] / 255).sum(axis=(1, 2))
    np.testing.assert_allclose(np.sqrt(area / np.pi), radius.numpy(), atol=0.6)


def test_annotations_are_read_once_for_names_and_objects(category, monkeypatch):
    read, files = co3d.read_annotations, []
    monkeypatch.setattr(co3d, "read_annotations", lambda folder: files.append(folder) or read(folder))
    names, objects = iterate_folder(category)
    assert names == [one.name for one in objects] == ["s1"]
    assert files == [category]


def test_the_background_is_cut_off(category):
    images = load_viewsets(category).images[0]
    assert images.shape == (16, 128, 128, 4)
    covered = images[..., 3] > 0
    assert np.abs(images[covered][:, :3].astype(int) - [200, 30, 20]).max() <= 1
    assert (images[~covered] == [255, 255, 255, 0]).all()
    assert covered[:, 64, 64].all()
    assert not covered[:, :4].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f["viewpoint"].pop("R"), "lacks 'R'"),
        (lambda f: f["viewpoint"].update(T=[0, 1]), "damaged annotation"),
        (lambda f: f["viewpoint"].update(R=[[1, 0], [0, 1]]), "damaged annotation"),
        (lambda f: f["viewpoint"].update(intrinsics_format="pixels"), "'pixels' is unknown"),
        (lambda f: f.pop("image"), "lacks 'image'"),
        (lambda f: f["image"].update(size=[161, 240]), "f010.png: 240 x 160 pixels, expected 240 x 161"),
        (lambda f: f["mask"].update(path="apple/nosuch.png"), "nosuch.png: no such picture"),
        (lambda f: f.pop("frame_number"), "not CO3D frame annotations"),
    ],
)
def test_damage_is_named(category, change, words):
    frames = frames_of(category)
    change(next(f for f in frames if f.get("frame_number") == 10))
    annotate(category, frames)
    with pytest.raises(InputError) as caught:
        load_co3d(category, views=20, size=16)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_mask_is_named(category):
    Image.new("L", (WIDTH, HEIGHT)).save(category / "s1/masks/f000.png")
    with pytest.raises(InputError, match=r"f000\.png: the mask is empty"):
        load_co3d(category, size=16)


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"[1, 2]"), gzip.compress(b"[]")[:12]])
def test_other_annotations_are_refused(category, content):
    (category / FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"frame_annotations\.jgz: "):
        load_co3d(category)


def test_short_sequences_are_left_out(category):
    with pytest.raises(InputError, match=r"frame_annotations\.jgz: no sequence has 21 frames"):
        load_co3d(category, views=21)
