"""Facts of the pixel-aligned network, and of its way through everything that sparse queries go through."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from networks import build, small, some_views
from sparsegen import cameras
from sparsegen.cameras import Cameras, on_sphere
from sparsegen.cli.main import main
from sparsegen.data.packed import Viewsets, save_packed
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline
from sparsegen.models import preset
from sparsegen.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from sparsegen.models.pretrained import CONFIG_NAME, save_pretrained
from sparsegen.pose import estimate_camera
from sparsegen.splatting.reference import rotation_matrices
from sparsegen.views import Views

SMALL = PixelAlignedConfig(image_size=32, cell=2, width=8, levels=3)


def network(config: PixelAlignedConfig = SMALL, seed: int = 0) -> PixelAligned:
    torch.manual_seed(seed)
    return config.build().eval()


def saying(depth: float = 0.0, offset: Sequence[float] = (0.0, 0.0, 0.0), trust: float = 0.0) -> PixelAligned:
    """A network that says the same of every pixel, whatever the picture: unturned in the camera's frame."""
    model = network()
    said = [depth, *offset, 0.0, 2.0, 0.0, 0.0, 1.0, *[0.0] * 6, trust]
    weight = torch.zeros_like(model.head.weight)
    model.head.load_state_dict({"weight": weight, "bias": torch.tensor(said)})
    return model


def run(model: PixelAligned, views: Views):
    with torch.no_grad():
        return model(views, torch.zeros(views.images.shape[:2]))[-1]


@pytest.mark.parametrize(("name", "beside"), [("pixel_aligned", "base"), ("pixel_aligned_tiny", "tiny")])
def test_presets_are_as_large_as_what_they_are_compared_with(name, beside):
    with torch.device("meta"):
        count, other = (sum(p.numel() for p in preset(n).build().parameters()) for n in (name, beside))
    assert 0.9 * other <= count <= min(1.1 * other, 24e6)


@pytest.mark.parametrize("depth", [-0.7, 0.0, 2.0])
def test_without_offsets_gaussians_lie_on_their_pixels_rays_at_the_predicted_depth(depth):
    """Seen by cameras of several distances, whose principal points are anywhere."""
    angles, radii = torch.tensor([0.3, 2.0, 4.0]), torch.tensor([1.0, 1.3, 2.5])
    path = on_sphere(angles, angles / 5, size=32)
    viewmats = path.viewmats.clone()
    viewmats[:, :3, 3] *= (radii / 1.3)[:, None]
    Ks = path.Ks.clone()
    Ks[:, 0, 2] += 3.0
    path = Cameras(viewmats, Ks, 32, 32).reshape(3, 1)
    gaussians = run(saying(depth), Views(torch.rand(3, 1, 3, 32, 32), path))
    pixels, found = path[:, 0].project(gaussians.means)
    torch.testing.assert_close(found, (radii + 0.5 * np.tanh(depth))[:, None].expand(3, 256))
    middles = torch.arange(16) * 2 + 1.0  # of squares of 2 x 2 pixels
    expected = torch.cartesian_prod(middles, middles).flip(-1).expand(3, 256, 2)  # row by row
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-3)


def test_offsets_and_rotations_are_those_of_the_cameras_frame():
    """An offset to the camera's right and down, and a Gaussian that is long along its x axis."""
    path = on_sphere(torch.tensor([0.4, 1.9, 3.3]), torch.tensor([0.2, 0.9, 1.3]), size=32).reshape(3, 1)
    views = Views(torch.rand(3, 1, 3, 32, 32), path)
    moved = run(saying(offset=(0.1, -0.2, 0.05)), views).means - run(saying(), views).means
    axes = path.viewmats[:, 0, :3, :3]
    for i in range(3):
        local = moved[i] @ axes[i].mT
        torch.testing.assert_close(local, torch.tensor([0.1, -0.2, 0.05]).expand(256, 3), rtol=0, atol=1e-6)
        quats = run(saying(), views).quats[i]
        right = rotation_matrices(quats)[:, :, 0]  # the Gaussian's x axis in the world
        torch.testing.assert_close(right, axes[i, 0].expand(256, 3), rtol=0, atol=1e-5)


def test_colors_lie_between_gray_and_the_pictures_by_trust():
    views = some_views(1, 1)
    squares = views.images[0, 0].numpy().reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))
    seen = torch.from_numpy(squares.reshape(3, 256).T)
    for trust, share in ((-40.0, 0.0), (0.0, 0.5), (40.0, 1.0)):
        expected = (1 - share) * 0.5 + share * seen
        torch.testing.assert_close(run(saying(trust=trust), views).colors[0], expected)


def test_several_views_give_the_union_of_what_each_gives():
    model = network()
    views = some_views(2, 3)
    together = run(model, views)
    assert together.means.shape == (2, 3 * 256, 3)
    for v in range(3):
        alone = run(model, views.select([v]))
        part = slice(256 * v, 256 * (v + 1))
        for name in ("means", "quats", "scales", "opacities", "colors"):
            found = getattr(together, name)[:, part]
            torch.testing.assert_close(found, getattr(alone, name), rtol=0, atol=1e-5)


def test_every_place_of_a_picture_can_matter_to_every_gaussian():
    """Attention in the smallest maps: what is unseen may be told from anywhere in the picture."""
    model = network()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))  # away from the start, where blocks do nothing
    views = some_views(1, 1)
    changed = views.images.clone()
    changed[..., :2, :2] = 1 - changed[..., :2, :2]
    first, second = run(model, views), run(model, Views(changed, views.cameras))
    assert (first.opacities != second.opacities).float().mean() > 0.99


def test_a_pipeline_goes_straight_and_says_what_it_has_not(tmp_path):
    save_pretrained(network(), tmp_path, dtype=torch.float32)
    assert json.loads((tmp_path / CONFIG_NAME).read_text())["model"]["kind"] == "pixel_aligned"
    pipeline = Pipeline.from_pretrained(tmp_path, device="cpu")
    views = some_views(1, 1)
    expected = run(network(), views)[0]
    for seed, steps in ((0, 1), (1, 4)):  # deterministic, whatever the noise and the steps
        (found,) = pipeline(views, seed=seed, steps=steps)
        torch.testing.assert_close(found.means, expected.means)
        torch.testing.assert_close(found.colors, expected.colors)
    with pytest.raises(InputError, match="no anchor queries"):
        pipeline(views, queries=4)
    with pytest.raises(InputError, match="at least one picture"):
        pipeline(None)
    with pytest.raises(InputError, match="give --azimuth and --elevation"):
        estimate_camera(pipeline, torch.rand(4, 40, 40))


def test_weights_say_which_kind_they_are(tmp_path):
    """Folders written before there was a second kind say none: they are sparse queries."""
    save_pretrained(build(small()), tmp_path)
    path = tmp_path / CONFIG_NAME
    config = json.loads(path.read_text())
    del config["model"]["kind"]
    path.write_text(json.dumps(config))
    assert Pipeline.from_pretrained(tmp_path).model.num_queries == 6
    path.write_text(json.dumps({"model": {"kind": "voxels"}}))
    with pytest.raises(InputError, match=r"unknown kind of network 'voxels'; known are sparsegen, pixel_al"):
        Pipeline.from_pretrained(tmp_path)


@pytest.fixture
def test_set(tmp_path):
    images = np.zeros((3, 25, 32, 32, 4), np.uint8)
    images[:, :, 8:24, 8:24, :3] = np.random.default_rng(0).integers(0, 255, (3, 25, 16, 16, 3))
    images[:, :, 8:24, 8:24, 3] = 255
    path = cameras.spiral(25, size=32).reshape(1, 25).expand(3, 25)
    save_packed(Viewsets(images, path, ["a", "b", "c"]), tmp_path / "test.pack")
    return tmp_path / "test.pack"


def test_both_kinds_are_scored_side_by_side(tmp_path, test_set):
    save_pretrained(build(small()), tmp_path / "sparse")
    save_pretrained(network(), tmp_path / "runs" / "pixel" / "weights")
    models = [f"--model={tmp_path / 'sparse'}", f"--beside={tmp_path / 'runs' / 'pixel' / 'weights'}"]
    assert main(["eval", f"--data={test_set}", *models, f"-o={tmp_path / 'report'}"]) == 0
    sparse, pixel = json.loads((tmp_path / "report" / "metrics.json").read_text())["predictors"]
    assert (sparse["name"], pixel["name"]) == ("sparse", "pixel")
    for found in (sparse, pixel):
        assert {"psnr", "ssim"} <= set(found["input_view_bias"])
        assert {"dead_share", "used_share"} <= set(found["metrics"])
    assert "query_spread" in sparse["metrics"]
    assert "query_spread" not in pixel["metrics"]  # it has no queries
    costs = json.loads((tmp_path / "report" / "metrics.json").read_text())["cost"]
    assert (costs["sparse"]["queries"], costs["pixel"]["queries"]) == (6, 0)
    # By itself it scores the same.
    alone = [f"--model={tmp_path / 'runs' / 'pixel' / 'weights'}", f"-o={tmp_path / 'alone'}"]
    assert main(["eval", f"--data={test_set}", *alone]) == 0
    (again,) = json.loads((tmp_path / "alone" / "metrics.json").read_text())["predictors"]
    assert again == pixel
    assert "color for each query" not in (tmp_path / "alone" / "report.md").read_text()
