"""Corrections: nothing at the start, local in the picture, able to learn what a query cannot say, and told
what the Gaussians look like."""

from dataclasses import replace

import pytest
import torch

from networks import build, small, some_views
from sparsegen.cameras import orbit
from sparsegen.errors import InputError
from sparsegen.gaussians import Gaussians
from sparsegen.models.anchor_sampling import Lookup
from sparsegen.models.corrector import Corrector, Feedback, feedback, feedback_with_slopes, told
from sparsegen.models.gaussian_head import GaussianHead, GaussianHeadConfig, RawGaussians, raw_sizes
from sparsegen.splatting import render


def raw_gaussians(b, m, k):
    return RawGaussians(*(torch.randn(b, m, k, size) for size in raw_sizes(seen=True)))


def points_seen(images, count):
    cameras = orbit(1, elevation=0.3, size=images.shape[-1]).reshape(1, 1)
    points = 0.5 * (torch.rand(1, count, 3) - 0.5)
    return Lookup(images, cameras, torch.ones(1, 1), symmetric=False).sights(points)


def test_untrained_corrections_change_nothing():
    plain = build(small(corrections=0, feedback=False))
    corrected = build(small(corrections=2))
    corrected.load_state_dict(plain.state_dict(), strict=False)
    views, times = some_views(), torch.zeros(2, 3)
    a, b = (model(views, times)[-1] for model in (plain, corrected))
    torch.testing.assert_close(a.means, b.means)
    torch.testing.assert_close(a.colors, b.colors)


def test_a_gaussian_is_corrected_by_the_map_around_its_own_pixel_alone():
    torch.manual_seed(0)
    corrector = Corrector(8, expansion=2, map_width=4, sights=1, sizes=raw_sizes(seen=True), feedback=False)
    *_, last = corrector.parameters()
    torch.nn.init.normal_(last)
    images, sharp = torch.rand(1, 1, 3, 64, 64), torch.rand(1, 1, 4, 32, 32)
    sights = points_seen(images, count=6)
    raw, queries = raw_gaussians(1, 3, 2), torch.rand(1, 3, 8)
    before = corrector(raw, queries, sights, sharp, images).joined()[0].flatten(0, 1)
    x, y = ((sights.where[0, 0, 0, 4, :2] + 1) * 16 - 0.5).round().int().tolist()
    sharp[..., y, x] += 1
    after = corrector(raw, queries, sights, sharp, images).joined()[0].flatten(0, 1)
    changed = (after - before).abs().amax(1) > 1e-6
    near = (sights.where[0, 0, 0, :, :2] - sights.where[0, 0, 0, 4, :2]).abs().amax(1) < 2 / 16
    assert changed[4]
    assert not changed[~near].any()


def solid(means, colors, scale=0.05):
    """Nearly opaque balls, as a batch of one object."""
    count = len(means)
    return Gaussians(
        means=torch.tensor(means)[None],
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, count, 4),
        scales=torch.full((1, count, 3), scale),
        opacities=torch.full((1, count), 0.999),
        colors=torch.tensor(colors)[None],
        expansion=1,
    )


def test_feedback_is_silent_where_the_pictures_agree_and_names_the_color_that_is_missing():
    red, blue = [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]
    camera = orbit(1, elevation=0.0, size=32).reshape(1, 1)
    truth = solid([[0.0, 0.0, 0.0]], [red])
    lookup = Lookup(render(truth, camera).rgb, camera, torch.ones(1, 1), symmetric=False)
    assert feedback(truth, lookup).maps[:, :, :3].abs().max() < 1e-6
    wrong = solid([[0.0, 0.0, 0.0]], [blue])
    error, alpha, _ = told(lookup.sights(wrong.means), feedback(wrong, lookup).maps)[0, 0, 0].split([3, 1, 1])
    assert alpha > 0.85
    torch.testing.assert_close(error, torch.tensor([0.8, 0.0, -0.8]), atol=0.15, rtol=0)


def test_feedback_is_drawn_in_full_precision_whatever_the_network_computes_in():
    camera = orbit(1, elevation=0.3, size=32).reshape(1, 1)
    gaussians = solid([[0.1, 0.0, 0.0], [0.0, 0.2, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    lookup = Lookup(torch.ones(1, 1, 3, 32, 32), camera, torch.ones(1, 1), symmetric=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = feedback(gaussians, lookup).maps
    assert torch.equal(found, feedback(gaussians, lookup).maps)


def test_feedback_tells_a_hidden_gaussian_how_far_behind_the_surface_it_lies():
    camera = orbit(1, elevation=0.0, size=64).reshape(1, 1)
    toward = torch.nn.functional.normalize(camera.centers[0, 0], dim=0)
    gaussians = solid([(0.2 * toward).tolist(), (-0.2 * toward).tolist()], [[0.5, 0.5, 0.5]] * 2)
    lookup = Lookup(torch.ones(1, 1, 3, 64, 64), camera, torch.ones(1, 1), symmetric=False)
    behind = told(lookup.sights(gaussians.means), feedback(gaussians, lookup).maps)[0, :, 0, 4]
    torch.testing.assert_close(behind, torch.tensor([0.0, 0.4]), atol=0.02, rtol=0)


def test_corrections_with_feedback_depend_on_what_is_drawn_through_its_five_channels():
    torch.manual_seed(0)
    images = torch.rand(1, 1, 3, 32, 32)
    sights = points_seen(images, count=6)
    corrector = Corrector(8, expansion=2, map_width=4, sights=1, sizes=raw_sizes(seen=True), feedback=True)
    *_, last = corrector.parameters()
    torch.nn.init.normal_(last)
    raw, queries, sharp = raw_gaussians(1, 3, 2), torch.rand(1, 3, 8), torch.rand(1, 1, 4, 16, 16)
    maps = torch.rand(2, 1, 1, 5, 32, 32)
    a, b = (corrector(raw, queries, sights, sharp, images, Feedback(m)).joined() for m in maps)
    assert (a - b).abs().amin(dim=(0, 1, 2)).max() > 1e-4
    corrector.local.weight.data[:, 4 + 7 : 4 + 7 + 5] = 0
    a, b = (corrector(raw, queries, sights, sharp, images, Feedback(m)).joined() for m in maps)
    torch.testing.assert_close(a, b)


def as_raw(joined):
    return RawGaussians(*joined.split(raw_sizes(seen=True), dim=-1))


def a_scene(views=2, size=32):
    """Raw parameters of 12 Gaussians, a head and anchors to place them, and views of something else."""
    torch.manual_seed(0)
    head = GaussianHead(GaussianHeadConfig(), 8, expansion=4, bound=0.6)
    cameras = orbit(views, elevation=0.3, size=size)[None]
    lookup = Lookup(torch.rand(1, views, 3, size, size), cameras, torch.tensor([[0.7, 0.3]]), symmetric=True)
    return head, raw_gaussians(1, 3, 4), torch.rand(3, 3), lookup


def slopes(raw, head, anchors, lookup):
    found = feedback_with_slopes(raw, lambda r: head.place(r, anchors, lookup), lookup)[0].slopes
    assert found is not None
    return found


def distance(head, raw, anchors, lookup):
    drawn = render(head.place(raw, anchors, lookup).gaussians, lookup.cameras, depth=False)
    error = (lookup.images - drawn.rgb).double().square().sum(dim=(2, 3, 4))
    return (lookup.weights * error).sum()


@pytest.mark.parametrize("parameter", [3, 11, 12, 13, 14, 15, 16, 17])
def test_slopes_are_the_gradient_of_the_squared_error_downhill(parameter):
    """Against differences, for opacity, color, trust and facing; up to the one factor for all Gaussians."""
    head, raw, anchors, lookup = a_scene()
    downhill = slopes(raw, head, anchors, lookup)
    joined, step = raw.joined(), 5e-3
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for m in range(3):
        for k in range(4):
            change = torch.zeros_like(joined)
            change[0, m, k, parameter] = step
            two = (as_raw(joined + change), as_raw(joined - change))
            ahead, behind = (distance(head, r, anchors, lookup) for r in two)
            expected[m, k] = (behind - ahead) / (2 * step)
    expected /= expected.square().mean().sqrt()
    found = torch.sinh(downhill[0, ..., parameter]).double()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_steps_along_the_slopes_bring_the_pictures_nearer():
    head, raw, anchors, lookup = a_scene()
    with torch.no_grad():
        aim = render(head.place(raw, anchors, lookup).gaussians, lookup.cameras, depth=False).rgb
    lookup = replace(lookup, images=aim)
    raw = as_raw(raw.joined() + 0.3 * torch.randn(1, 3, 4, sum(raw_sizes(seen=True))))
    before = distance(head, raw, anchors, lookup)
    for _ in range(20):
        raw = as_raw(raw.joined() + 0.02 * slopes(raw, head, anchors, lookup))
    assert distance(head, raw, anchors, lookup) < 0.5 * before


def test_slopes_leave_no_trace_and_need_no_gradients_around_them():
    """Neither in parameters' gradients nor in the graph; also where gradients are switched off for good."""
    head, raw, anchors, lookup = a_scene()
    free = as_raw(raw.joined().requires_grad_())
    anchors.requires_grad_()
    seen, placed = feedback_with_slopes(free, lambda r: head.place(r, anchors, lookup), lookup)
    assert placed.sights is not None
    assert not any(x is None or x.requires_grad for x in seen)
    assert not placed.gaussians.colors.requires_grad
    assert not placed.sights.preferences.requires_grad
    assert anchors.grad is None
    model = build(small(slopes=True))
    for corrector in model.correctors:
        *_, last = corrector.parameters()
        torch.nn.init.normal_(last, std=0.05)
    views, times = some_views(), torch.zeros(2, 3)
    with torch.inference_mode():
        inside = model(views, times)[-1]
    outside = model(views, times)[-1]
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(inside, name), getattr(outside, name).detach())


def test_slopes_of_what_no_picture_shows_are_zero():
    head, raw, anchors, lookup = a_scene()
    unseen = raw._replace(opacity=torch.full_like(raw.opacity, -20.0))
    found = slopes(unseen, head, anchors, lookup)
    assert found.isfinite().all()
    assert found.abs().max() < 1e-6


def test_a_corrector_learns_to_take_its_color_from_the_picture():
    """The queries know nothing here; what is to be learned stands at each Gaussian's own pixel."""
    torch.manual_seed(0)
    corrector = Corrector(8, expansion=4, map_width=8, sights=1, sizes=raw_sizes(seen=True), feedback=False)
    optimizer = torch.optim.Adam(corrector.parameters(), lr=1e-2)
    sharp = torch.zeros(1, 1, 8, 8, 8)
    losses = []
    for _ in range(300):
        images = torch.rand(1, 1, 3, 8, 8)
        sights = points_seen(images, count=256)
        raw = RawGaussians(*(torch.zeros(1, 64, 4, size) for size in raw_sizes(seen=True)))
        corrected = corrector(raw, torch.zeros(1, 64, 8), sights, sharp, images)
        loss = (corrected.color.flatten(1, 2) - sights.features(images)[:, :, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 30


def test_corrections_reach_the_gaussians_of_a_trained_network():
    model = build(small(corrections=1))
    views, times = some_views(), torch.zeros(2, 3)
    before = model(views, times, layers="all")
    *_, last = model.correctors.parameters()
    torch.nn.init.normal_(last, std=0.1)
    after = model(views, times, layers="all")
    torch.testing.assert_close(after[0].means, before[0].means)  # only the last layer is corrected
    assert (after[-1].means - before[-1].means).abs().max() > 1e-3


def test_uncorrected_gaussians_are_those_of_the_layer_that_corrections_do_not_touch():
    model = build(small())
    for corrector in model.correctors:
        *_, last = corrector.parameters()
        torch.nn.init.normal_(last, std=0.1)
    views, times = some_views(), torch.zeros(2, 3)
    (found,) = model(views, times, layers="uncorrected")
    torch.testing.assert_close(found.means, model(views, times, layers="all")[-2].means)
    plain = build(small(corrections=0))
    torch.testing.assert_close(
        plain(views, times, layers="uncorrected")[0].means, plain(views, times)[0].means
    )


def test_slopes_without_feedback_are_refused():
    with pytest.raises(InputError, match="feedback=True"):
        small(feedback=False).check()
