"""Facts of the network whatever its weights."""

import math
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from networks import build, small, some_views
from sparsegen.cameras import Cameras, on_sphere
from sparsegen.errors import InputError
from sparsegen.models import preset
from sparsegen.models.anchor_sampling import Lookup, projections
from sparsegen.models.image_encoder import encoder_input
from sparsegen.models.pretrained import load_pretrained, save_pretrained


@torch.no_grad()
def run(model, views, times=None, **options):
    times = torch.zeros(views.images.shape[:2]) if times is None else times
    return model(views, times, **options)


@pytest.mark.parametrize("name", ["tiny", "wide", "base", "paper"])
def test_presets_fit_their_budget(name):
    with torch.device("meta"):
        model = preset(name).build()
    assert (
        sum(p.numel() for p in model.parameters())
        <= {"tiny": 7e6, "wide": 24e6, "base": 24e6, "paper": 112e6}[name]
    )


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(InputError, match="tiny"):
        preset("huge")


@pytest.mark.parametrize("sampling", ["off", "anchors", "gaussians"])
def test_objects_of_a_batch_do_not_mix(sampling):
    model = build(small(anchor_sampling=sampling))
    views = some_views()
    both = run(model, views)[-1]
    for i in range(2):
        alone = run(model, views.objects([i]))[-1]
        torch.testing.assert_close(both.means[i], alone.means[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(both.colors[i], alone.colors[0], rtol=0, atol=1e-5)


def test_order_of_the_views_does_not_matter():
    """Views carry their cameras: with all of them clean the set has no order."""
    model = build(small())
    views = some_views()
    there, back = run(model, views)[-1], run(model, views.select([2, 0, 1]))[-1]
    torch.testing.assert_close(there.means, back.means, rtol=0, atol=1e-5)


def test_gaussians_keep_their_ranges():
    model = build(small())
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)  # far from the gentle start
    g = run(model, some_views())[-1]
    assert g.means.abs().max() <= 0.6
    assert ((g.opacities >= 0) & (g.opacities <= 1) & torch.isfinite(g.opacities)).all()
    assert ((g.scales >= 0.002) & (g.scales <= 0.1)).all()
    torch.testing.assert_close(g.quats.norm(dim=-1), torch.ones(2, 12))


def test_the_picture_reaches_the_gaussians_from_the_start():
    model = build(small())
    first, second = some_views(seed=0), some_views(seed=1)
    change = (run(model, first)[-1].colors - run(model, second)[-1].colors).abs().max()
    assert change > 1e-4


def test_a_noised_view_sees_its_self_conditioning_and_a_clean_one_does_not():
    model = build(small())
    views = some_views()
    times = torch.tensor([[0.0, 1.0, 1.0]]).expand(2, 3)
    condition = torch.rand(views.images.shape)
    plain = run(model, views, times)[-1].means
    seen = run(model, views, times, self_conditioning=condition)[-1].means
    assert (plain - seen).abs().max() > 1e-5
    clean_only = condition.clone()
    clean_only[:, 1:] = 1.0  # what an absent self-conditioning stands for
    torch.testing.assert_close(run(model, views, times, self_conditioning=clean_only)[-1].means, plain)


def test_every_layer_is_decoded_on_request():
    model = build(small(decoder_layers=3))
    every = run(model, some_views(), layers="all")
    assert len(every) == 3
    torch.testing.assert_close(every[-1].means, run(model, some_views())[-1].means)


def test_anchors_are_set_in_world_units():
    model = build(small())
    anchors = 0.5 * (2 * torch.rand(6, 3) - 1)
    model.set_anchors(anchors)
    torch.testing.assert_close(model.anchors, anchors)
    with pytest.raises(ValueError, match="anchors"):
        model.set_anchors(anchors[:3])


def test_rays_of_the_input_are_the_cameras():
    views = some_views()
    x = encoder_input(small().image_encoder, views, torch.zeros(2, 3), None)
    centers, directions = views.cameras.rays()
    torch.testing.assert_close(x[:, :, 3:6, 5, 9], centers / 1.3)
    torch.testing.assert_close(x[:, :, 6:9].movedim(2, -1), directions)
    torch.testing.assert_close(x[:, :, :3], 2 * (views.images - 1))


def coordinate_maps(views: int) -> torch.Tensor:
    """Maps that hold their own picture coordinates: reading them is projecting."""
    axis = (torch.arange(64) + 0.5) / 64 * 2 - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([columns, rows]).expand(1, views, 2, 64, 64)


def two_cameras() -> Cameras:
    return on_sphere(torch.tensor([[0.3, 2.0]]), torch.tensor([[0.2, 0.7]]))


def test_sampling_reads_the_map_where_points_project():
    cameras = two_cameras()
    points = 0.4 * (torch.rand(1, 50, 3) - 0.5)
    only_second = torch.tensor([[1e-9, 1.0]])
    maps = coordinate_maps(2)
    read = Lookup(maps, cameras, only_second, symmetric=False).sights(points).sample(maps)
    pixels, depth = cameras[:, 1].project(points)
    torch.testing.assert_close(read[..., :2], pixels / 64 - 1, rtol=0, atol=1e-4)
    torch.testing.assert_close(read[..., 2:], torch.cat([pixels / 64 - 1, depth[..., None]], -1))
    torch.testing.assert_close(projections(points, cameras)[:, 1, :, 2], depth)


def test_a_symmetric_object_is_read_at_the_mirrored_points_too():
    """The second half of what is read belongs to the point on the other side of the plane y = 0."""
    cameras = two_cameras()
    points = 0.4 * (torch.rand(1, 50, 3) - 0.5)
    weights = torch.tensor([[0.3, 0.7]])
    mirrored = points * torch.tensor([1.0, -1.0, 1.0])
    maps = coordinate_maps(2)
    both, one = (Lookup(maps, cameras, weights, symmetric) for symmetric in (True, False))
    read = both.sights(points).sample(maps)
    own, other = one.sights(points).sample(maps), one.sights(mirrored).sample(maps)
    torch.testing.assert_close(read, torch.cat([own, other], -1))


def test_colors_come_from_the_camera_that_a_gaussian_faces():
    """Three cameras around a point, each showing one color: facing one of them decides."""
    cameras = on_sphere(torch.tensor([[0.5, 2.5, 4.5]]), torch.tensor([[0.4, 0.4, 0.4]]))
    images = torch.eye(3)[None, :, :, None, None].expand(1, 3, 3, 8, 8)
    points = torch.zeros(1, 4, 3)
    facing = 50 * torch.cat([cameras.centers[0], torch.zeros(1, 3)])[None]
    even = torch.full((1, 3), 1 / 3)
    colors = Lookup(images, cameras, even, symmetric=False).sights(points, facing).colors(images)
    expected = torch.cat([torch.eye(3), torch.full((1, 3), 1 / 3)])[None]
    torch.testing.assert_close(colors, expected, rtol=0, atol=1e-4)
    weighted = torch.tensor([[0.2, 0.5, 0.3]])
    lookup = Lookup(images, cameras, weighted, symmetric=False)
    indifferent = lookup.sights(points, torch.zeros(1, 4, 3)).colors(images)
    torch.testing.assert_close(indifferent[0, 0], weighted[0])


def test_the_far_side_of_a_symmetric_object_shows_what_the_mirrored_camera_would_see():
    """A picture from the left is red where it shows y > 0; the point at y < 0 that faces right gets red."""
    left = on_sphere(torch.tensor([[math.pi / 2]]), torch.tensor([[0.0]]))
    images = torch.zeros(1, 1, 3, 64, 64)
    images[:, :, 0] = 1.0
    images[:, :, :, :32] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # the upper half is green
    points = torch.tensor([[[0.0, 0.2, -0.2], [0.0, -0.2, -0.2]]])
    facing = torch.tensor([[[0.0, 50.0, 0.0], [0.0, -50.0, 0.0]]])
    colors = Lookup(images, left, torch.ones(1, 1), symmetric=True).sights(points, facing).colors(images)
    torch.testing.assert_close(colors[0, 0], colors[0, 1])
    torch.testing.assert_close(colors[0, 0], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-4)


def test_a_prefix_of_the_queries_is_a_smaller_object_of_the_same_anchors():
    model = build(small(anchor_sampling="gaussians"))
    views = some_views()
    gaussians = model(views, torch.zeros(2, 3), queries=5)[-1]
    assert gaussians.count == 5 * model.config.expansion
    cut = build(small(anchor_sampling="gaussians", num_queries=5))
    state = model.state_dict()
    for name, own in cut.state_dict().items():
        if state[name].shape != own.shape:
            state[name] = state[name][:5]
    cut.load_state_dict(state)
    torch.testing.assert_close(cut(views, torch.zeros(2, 3))[-1].means, gaussians.means)


def test_registers_are_queries_that_make_no_gaussians():
    larger = build(small(anchor_sampling="off", num_queries=12, registers=0))
    model = build(small(anchor_sampling="off", num_queries=9, registers=3))
    state = dict(larger.state_dict())
    with torch.no_grad():
        state["registers"] = larger.anchor_encoder(larger.unit_anchors)[:3]
    for name in ("unit_anchors", "anchor_encoder.content"):
        state[name] = state[name][3:]
    model.load_state_dict(state)
    views = some_views()
    both = run(larger, views)[-1], run(model, views)[-1]
    torch.testing.assert_close(both[0].means[:, 3 * model.expansion :], both[1].means, rtol=0, atol=1e-6)
    # a prefix of the queries keeps all of the registers
    changed = dict(state, registers=state["registers"].roll(1, -1))
    before = run(model, views, queries=2)[-1]
    model.load_state_dict(changed)
    assert not torch.allclose(run(model, views, queries=2)[-1].means, before.means)


def test_weights_round_trip(tmp_path):
    model = build(small())
    save_pretrained(model, tmp_path / "m", dtype=torch.float32, extra={"note": 1})
    again = load_pretrained(tmp_path / "m")
    assert again.config == model.config
    torch.testing.assert_close(run(again, some_views())[-1].means, run(model, some_views())[-1].means)


def test_weights_that_do_not_fit_on_the_disk(tmp_path, full_disk):
    with pytest.raises(InputError, match="No space left"):
        save_pretrained(build(small()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_weights_change_little(tmp_path):
    model = build(small())
    save_pretrained(model, tmp_path / "m")
    again = load_pretrained(tmp_path / "m")
    assert next(again.parameters()).dtype == torch.float32
    change = (run(again, some_views())[-1].means - run(model, some_views())[-1].means).abs().max()
    assert 0 < change < 1e-2


@pytest.mark.parametrize("fault", ["no_config", "no_weights", "cut", "json", "setting", "another_shape"])
def test_unfit_folders_are_refused_in_one_line(tmp_path, fault):
    folder = tmp_path / "m"
    save_pretrained(build(small()), folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    if fault == "no_config":
        config.unlink()
    elif fault == "no_weights":
        weights.unlink()
    elif fault == "cut":
        weights.write_bytes(weights.read_bytes()[:500])
    elif fault == "json":
        config.write_text("{")
    elif fault == "setting":
        config.write_text('{"model": {"wings": 2}}')
    else:
        config.write_text(config.read_text().replace('"num_queries": 6', '"num_queries": 7'))
    with pytest.raises(InputError) as error:
        load_pretrained(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


class Calls(TorchDispatchMode):
    """The names of all operations, in order."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.__name__)
        return function(*args, **(kwargs or {}))

    def of(self, *names):
        """Where operations whose names begin so stand."""
        return [i for i, name in enumerate(self.names) if name.startswith(names)]


# A GPU is waited for wherever the processor reads a number.
READS = "equal.", "_local_scalar_dense", "nonzero", "masked_select", "_unique"


def again(views):
    """The same views, in tensors of their own."""
    cameras = replace(views.cameras, viewmats=views.cameras.viewmats.clone(), Ks=views.cameras.Ks.clone())
    return replace(views, cameras=cameras)


def test_nothing_is_waited_for_while_the_network_works():
    model, views = build(small(feedback=True, slopes=True)), some_views()
    first = run(model, views)[-1]
    with Calls() as calls:
        second = run(model, views)[-1]
    assert not calls.of(*READS)
    with Calls() as calls:
        third = run(model, again(views))[-1]
    work = calls.of("convolution", "mm", "addmm", "bmm")
    assert 0 < len(calls.of(*READS)) == sum(i < work[0] for i in calls.of(*READS))
    for other in (second, third):
        torch.testing.assert_close(other.means, first.means, rtol=0, atol=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_camera_that_changes_in_place_is_noticed(mode):
    model = build(small())
    with mode():
        views = some_views()
        times = torch.zeros(views.images.shape[:2])
        before = model(views, times)[-1].means
        views.cameras.viewmats.copy_(views.cameras.viewmats.flip(0))
        after = model(views, times)[-1].means
        fresh = build(small())(again(views), times)[-1].means
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, fresh, rtol=0, atol=0)
