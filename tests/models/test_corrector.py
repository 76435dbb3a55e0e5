"""Corrections: nothing at the start, local in the picture, able to learn what a query cannot say, and told
what the Gaussians look like."""

import torch

from networks import build, small, some_views
from sparsegen.cameras import orbit
from sparsegen.gaussians import Gaussians
from sparsegen.models.anchor_sampling import Lookup
from sparsegen.models.corrector import Corrector, feedback_maps, told
from sparsegen.models.gaussian_head import RawGaussians, raw_sizes
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
    assert feedback_maps(truth, lookup)[:, :, :3].abs().max() < 1e-6
    wrong = solid([[0.0, 0.0, 0.0]], [blue])
    error, alpha, _ = told(lookup.sights(wrong.means), feedback_maps(wrong, lookup))[0, 0, 0].split([3, 1, 1])
    assert alpha > 0.85
    torch.testing.assert_close(error, torch.tensor([0.8, 0.0, -0.8]), atol=0.15, rtol=0)


def test_feedback_is_drawn_in_full_precision_whatever_the_network_computes_in():
    camera = orbit(1, elevation=0.3, size=32).reshape(1, 1)
    gaussians = solid([[0.1, 0.0, 0.0], [0.0, 0.2, 0.1]], [[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    lookup = Lookup(torch.ones(1, 1, 3, 32, 32), camera, torch.ones(1, 1), symmetric=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = feedback_maps(gaussians, lookup)
    assert torch.equal(found, feedback_maps(gaussians, lookup))


def test_feedback_tells_a_hidden_gaussian_how_far_behind_the_surface_it_lies():
    camera = orbit(1, elevation=0.0, size=64).reshape(1, 1)
    toward = torch.nn.functional.normalize(camera.centers[0, 0], dim=0)
    gaussians = solid([(0.2 * toward).tolist(), (-0.2 * toward).tolist()], [[0.5, 0.5, 0.5]] * 2)
    lookup = Lookup(torch.ones(1, 1, 3, 64, 64), camera, torch.ones(1, 1), symmetric=False)
    behind = told(lookup.sights(gaussians.means), feedback_maps(gaussians, lookup))[0, :, 0, 4]
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
    a, b = (corrector(raw, queries, sights, sharp, images, m).joined() for m in maps)
    assert (a - b).abs().amin(dim=(0, 1, 2)).max() > 1e-4
    corrector.local.weight.data[:, 4 + 7 : 4 + 7 + 5] = 0
    a, b = (corrector(raw, queries, sights, sharp, images, m).joined() for m in maps)
    torch.testing.assert_close(a, b)


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
