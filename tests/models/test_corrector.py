"""Corrections: nothing at the start, local in the picture, and able to learn what a query cannot say."""

import torch

from networks import build, small, some_views
from sparsegen.cameras import orbit
from sparsegen.models.anchor_sampling import Lookup
from sparsegen.models.corrector import Corrector
from sparsegen.models.gaussian_head import RawGaussians, raw_sizes


def raw_gaussians(b, m, k):
    return RawGaussians(*(torch.randn(b, m, k, size) for size in raw_sizes(seen=True)))


def points_seen(images, count):
    cameras = orbit(1, elevation=0.3, size=images.shape[-1]).reshape(1, 1)
    points = 0.5 * (torch.rand(1, count, 3) - 0.5)
    return Lookup(images, cameras, torch.ones(1, 1), symmetric=False).sights(points)


def test_untrained_corrections_change_nothing():
    plain = build(small(corrections=0))
    corrected = build(small(corrections=2))
    corrected.load_state_dict(plain.state_dict(), strict=False)
    views, times = some_views(), torch.zeros(2, 3)
    a, b = (model(views, times)[-1] for model in (plain, corrected))
    torch.testing.assert_close(a.means, b.means)
    torch.testing.assert_close(a.colors, b.colors)


def test_a_gaussian_is_corrected_by_the_map_around_its_own_pixel_alone():
    torch.manual_seed(0)
    corrector = Corrector(query_width=8, expansion=2, map_width=4, sights=1, sizes=raw_sizes(seen=True))
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


def test_a_corrector_learns_to_take_its_color_from_the_picture():
    """The queries know nothing here; what is to be learned stands at each Gaussian's own pixel."""
    torch.manual_seed(0)
    corrector = Corrector(query_width=8, expansion=4, map_width=8, sights=1, sizes=raw_sizes(seen=True))
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
