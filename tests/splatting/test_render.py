"""What `render` promises whatever the backend."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsegen.cameras import Cameras, intrinsics, orbit
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.splatting import render
from sparsegen.splatting.scenes import random_scene

FIXTURES = Path(__file__).parents[1] / "fixtures"
CPU_BACKENDS = ("cpu", "reference")


def small_scene(
    objects: int = 2, views: int = 3, count: int = 40, size: int = 24
) -> tuple[Gaussians, Cameras]:
    gaussians, cameras = random_scene("typical", objects, views, count, size, seed=3)
    return replace(gaussians, scales=gaussians.scales * 4), cameras


def recorded(config: str) -> tuple[Gaussians, Cameras, torch.Tensor, torch.Tensor]:
    """Gaussians, a camera, and the picture in [0, 1] and alpha that the reference implementation drew."""
    with np.load(FIXTURES / f"fixture_{config}_seed0.npz") as data:
        meta = json.loads(str(data["meta"]))
        array = {k: torch.from_numpy(data[k]) for k in data.files if k.startswith("out_") or k == "in_poses"}
    gaussians = Gaussians(
        means=1.2 * array["out_gauss_xyz"] - 0.6,
        quats=array["out_gauss_rotation"],
        scales=array["out_gauss_scale"],
        opacities=array["out_gauss_opacity"][:, 0],
        colors=array["out_gauss_color"],
    )
    K = intrinsics(torch.tensor([131.25, 131.25]), torch.tensor([64.0, 64.0]))
    pose = array["in_poses"][meta["render_view"]].float()
    cameras = Cameras.from_camera_to_world(pose[None], K[None], 128, 128)
    return gaussians, cameras, (array["out_image"] + 1) / 2, array["out_alpha"][0]


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("config", ["reduced", "full"])
def test_draws_the_recorded_picture(config: str, backend: str) -> None:
    gaussians, cameras, image, alpha = recorded(config)
    rendering = render(gaussians, cameras, backend=backend)
    for found, expected in ((rendering.rgb[0], image), (rendering.alpha[0], alpha)):
        difference = (found - expected).abs()
        assert difference.max() < 1e-2
        assert difference.mean() < 1e-6  # a hundred times below what is asked for


def test_recorded_picture_tells_a_missing_gaussian() -> None:
    gaussians, cameras, image, _ = recorded("reduced")
    opacities = gaussians.opacities.clone()
    opacities[64] = 0
    rendering = render(replace(gaussians, opacities=opacities), cameras)
    assert (rendering.rgb[0] - image).abs().mean() > 1e-5


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_background_shows_where_nothing_covers_it(backend: str) -> None:
    gaussians, cameras = small_scene()
    premultiplied = render(gaussians, cameras, background=None, backend=backend)
    color = torch.tensor([0.2, 0.5, 0.9])
    over_color = render(gaussians, cameras, background=color, backend=backend)
    over_gray = render(gaussians, cameras, background=0.4, backend=backend)
    rest = 1 - premultiplied.alpha[:, :, None]
    torch.testing.assert_close(over_color.rgb, premultiplied.rgb + rest * color[:, None, None])
    torch.testing.assert_close(over_gray.rgb, premultiplied.rgb + rest * 0.4)
    torch.testing.assert_close(over_gray.alpha, premultiplied.alpha)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_batch_equals_singles(backend: str) -> None:
    gaussians, cameras = small_scene()
    together = render(gaussians, cameras, backend=backend)
    assert together.rgb.shape == (2, 3, 3, 24, 24)
    assert together.depth is not None
    for b in range(2):
        for v in range(3):
            alone = render(gaussians[b], cameras[b, v : v + 1], backend=backend)
            assert alone.rgb.shape == (1, 3, 24, 24)
            assert alone.depth is not None
            assert torch.equal(alone.rgb[0], together.rgb[b, v])
            assert torch.equal(alone.alpha[0], together.alpha[b, v])
            assert torch.equal(alone.depth[0], together.depth[b, v])


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_batch_shapes_broadcast(backend: str) -> None:
    gaussians, cameras = small_scene()
    shared = render(gaussians, cameras[0], backend=backend)
    expected = render(gaussians, cameras[[0, 0]])
    torch.testing.assert_close(shared.rgb, expected.rgb)
    one_object = render(gaussians[0], cameras, backend=backend)
    assert one_object.rgb.shape == (2, 3, 3, 24, 24)
    torch.testing.assert_close(one_object.rgb[1], render(gaussians[0], cameras[1]).rgb)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_order_of_gaussians_does_not_matter(backend: str) -> None:
    gaussians, cameras = small_scene(objects=1)
    order = torch.randperm(gaussians.count, generator=torch.Generator().manual_seed(0))
    shuffled = gaussians[0].select(order)
    first, second = (render(g, cameras[0], backend=backend) for g in (gaussians[0], shuffled))
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(first.alpha, second.alpha)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_depth_is_the_mean_depth_of_what_is_seen(backend: str) -> None:
    gaussians, cameras = small_scene()
    z = render_feature_as_color(gaussians, cameras, backend)
    rendering = render(gaussians, cameras, backend=backend)
    assert rendering.depth is not None
    torch.testing.assert_close(rendering.depth, z / rendering.alpha.clamp(min=1e-10), rtol=1e-4, atol=1e-5)
    assert (rendering.depth[rendering.alpha == 0] == 0).all()
    assert render(gaussians, cameras, backend=backend, depth=False).depth is None


def render_feature_as_color(gaussians: Gaussians, cameras: Cameras, backend: str) -> torch.Tensor:
    """Sums of weight times depth, drawn as a color, one view at a time."""
    sums = []
    for b in range(cameras.batch_shape[0]):
        for v in range(cameras.batch_shape[1]):
            _, depths = cameras[b, v].project(gaussians.means[b])
            painted = replace(gaussians[b], colors=depths[:, None].expand(-1, 3))
            sums.append(render(painted, cameras[b, v : v + 1], background=None, backend=backend).rgb[0, 0])
    return torch.stack(sums).view(*cameras.batch_shape, cameras.height, cameras.width)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_no_gaussians_make_an_empty_picture(backend: str) -> None:
    gaussians, cameras = small_scene(count=1)
    nothing = Gaussians(**{f.name: getattr(gaussians, f.name)[:, :0] for f in fields(Gaussians)[:5]})
    nothing.means.requires_grad_()
    rendering = render(nothing, cameras, background=0.25, backend=backend)
    assert (rendering.rgb == 0.25).all()
    assert (rendering.alpha == 0).all()
    assert rendering.depth is not None
    assert (rendering.depth == 0).all()
    no_views = render(gaussians, cameras[:, :0], backend=backend)
    assert no_views.rgb.shape == (2, 0, 3, 24, 24)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_what_is_behind_or_clear_is_not_drawn(backend: str) -> None:
    gaussians, cameras = small_scene(objects=1, views=1)
    behind = replace(gaussians, means=gaussians.means + 10 * cameras.centers)
    clear = replace(gaussians, opacities=torch.zeros_like(gaussians.opacities))
    for hidden in (behind, clear):
        for x in (hidden.means, hidden.opacities):
            x.requires_grad_()
        rendering = render(hidden, cameras, backend=backend)
        assert (rendering.rgb == 1).all()
        rendering.rgb.sum().backward()
        for x in (hidden.means, hidden.opacities):
            assert x.grad is not None
            assert (x.grad == 0).all()


def test_wrong_requests_say_what_to_do() -> None:
    gaussians, cameras = small_scene()
    with pytest.raises(InputError, match="backend 'cpuu' is unknown"):
        render(gaussians, cameras, backend="cpuu")
    with pytest.raises(ValueError, match=r"need cameras of batch shape \(2, 'V'\), got \(3, 2\)"):
        render(
            gaussians,
            Cameras(cameras.viewmats.mT.reshape(3, 2, 4, 4), cameras.Ks.reshape(3, 2, 3, 3), 24, 24),
        )
    with pytest.raises(ValueError, match=r"cameras\[None\]"):
        render(gaussians[0], cameras[0, 0])
    moving = replace(cameras, viewmats=cameras.viewmats.clone().requires_grad_())
    with pytest.raises(ValueError, match="no gradients for cameras"):
        render(gaussians, moving, backend="cpu")
    with torch.no_grad():
        render(gaussians, moving, backend="cpu")


def test_reference_moves_cameras() -> None:
    gaussians, cameras = small_scene(objects=1, views=1)
    moving = replace(cameras, viewmats=cameras.viewmats.clone().requires_grad_())
    render(gaussians, moving, backend="reference").alpha[..., :12].sum().backward()
    assert moving.viewmats.grad is not None
    assert moving.viewmats.grad[0, 0, 0, 3].abs() > 0


def test_orbit_draws_every_side() -> None:
    """A red Gaussian in front of a blue one from +X, behind it from -X."""
    gaussians = Gaussians(
        means=torch.tensor([[0.2, 0.0, 0.0], [-0.2, 0.0, 0.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]]),
        scales=torch.full((2, 3), 0.05),
        opacities=torch.full((2,), 0.99),
        colors=torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]),
    )
    rgb = render(gaussians, orbit(2, elevation=0.0, size=33)).rgb[:, :, 16, 16]
    assert rgb[0, 0] > 0.9
    assert rgb[0, 2] < 0.1
    assert rgb[1, 2] > 0.9
    assert rgb[1, 0] < 0.1
