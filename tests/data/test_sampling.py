from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsegen.cameras import on_sphere
from sparsegen.data.packed import Viewsets
from sparsegen.data.sampling import Sampler, SamplingConfig
from sparsegen.errors import InputError

OBJECTS, VIEWS, SIZE = 7, 9, 8


@pytest.fixture(scope="module")
def viewsets() -> Viewsets:
    """Every picture is one opaque color that tells its object (red) and view (green)."""
    images = np.zeros((OBJECTS, VIEWS, SIZE, SIZE, 4), np.uint8)
    images[..., 0] = 10 * np.arange(OBJECTS)[:, None, None, None]
    images[..., 1] = 10 * np.arange(VIEWS)[None, :, None, None]
    images[..., 3] = 255
    azimuth = 0.1 * torch.arange(VIEWS).expand(OBJECTS, VIEWS) + torch.arange(OBJECTS)[:, None]
    return Viewsets(images, on_sphere(azimuth, 0 * azimuth, size=SIZE), [str(i) for i in range(OBJECTS)])


def labels(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Object and view of every picture, each (B, V)."""
    colors = (images[..., 0, 0] * 25.5).round().long().numpy()
    return colors[..., 0], colors[..., 1]


def test_targets_are_distinct_views_with_their_cameras(viewsets):
    batch = Sampler(viewsets, SamplingConfig(), 6).batch(3, 18)
    objects, views = labels(batch.targets.images)
    assert (objects == objects[:, :1]).all()
    assert all(len(set(row)) == 5 for row in views)
    assert len({tuple(row) for row in views}) > 1
    expected = viewsets.cameras[torch.from_numpy(objects), torch.from_numpy(views)]
    assert torch.equal(batch.targets.cameras.viewmats, expected.viewmats)


def test_inputs_are_clean_views_first_then_noised_ones(viewsets):
    sampler = Sampler(viewsets, SamplingConfig(), 4, seed=5)
    for step in range(40):
        batch = sampler.batch(step, 4 * step)
        assert batch.inputs.view_count == batch.clean + batch.noised >= 1
        assert torch.equal(batch.inputs.images[:, : batch.clean], batch.targets.images[:, : batch.clean])
        assert (batch.times[:, : batch.clean] == 0).all()
        noised = batch.times[:, batch.clean :]
        assert (noised == noised[:, :1]).all()  # one time for all noised views of an object
        # The noised views are views that the network does not see clean: 2, 3, 4 of the viewset.
        truth = batch.targets.select(slice(2, 2 + batch.noised))
        assert torch.equal(batch.inputs.cameras.viewmats[:, batch.clean :], truth.cameras.viewmats)
        assert batch.inputs.alphas is None


def test_noised_views_follow_the_flow(viewsets):
    """(x_t - (1 - t) x_0) / t is noise of mean 1/2 and spread 1/2, another one in every view."""
    config = SamplingConfig(clean_probabilities=[0, 1], noised_probabilities=[0, 0, 0, 1])
    sampler = Sampler(viewsets, config, 32, seed=1)
    batch = sampler.batch(0, 0)
    t = batch.times[:, 1:, None, None, None]
    clean = batch.targets.images[:, 1:4]
    noise = ((batch.inputs.images[:, 1:] - (1 - t) * clean) / t)[batch.times[:, 1] > 0.05]
    assert noise.mean().item() == pytest.approx(0.5, abs=0.02)
    assert noise.std().item() == pytest.approx(0.5, abs=0.02)
    correlation = torch.corrcoef(noise.movedim(1, 0).flatten(1))
    assert (correlation - torch.eye(3)).abs().max() < 0.1


def test_shares_are_those_of_the_configuration(viewsets):
    config = SamplingConfig()
    sampler = Sampler(viewsets, config, 2)
    batches = [sampler.batch(step, 2 * step) for step in range(2000)]
    clean = Counter(b.clean for b in batches)
    for count, share in enumerate(config.clean_probabilities):
        assert clean[count] / 2000 == pytest.approx(share, abs=0.03)
    # Without a clean view at least one noised view is kept.
    noised = Counter(b.noised for b in batches if b.clean)
    total = sum(noised.values())
    for count, share in enumerate(config.noised_probabilities):
        assert noised[count] / total == pytest.approx(share, abs=0.04)
    times = torch.cat([b.times[:, -1] for b in batches if b.noised])
    pure = (times == 1).float().mean().item()
    assert pure == pytest.approx(config.pure_noise_probability, abs=0.03)
    rest = times[times < 1]
    assert rest.mean().item() == pytest.approx(0.5, abs=0.03)  # uniform in [0, 1]
    assert rest.var().item() == pytest.approx(1 / 12, abs=0.01)


def test_every_object_once_an_epoch(viewsets):
    sampler = Sampler(viewsets, SamplingConfig(), 5)
    drawn = np.concatenate([labels(sampler.batch(s, 5 * s).targets.images)[0][:, 0] for s in range(7)])
    epochs = drawn.reshape(5, OBJECTS)  # 35 samples: five epochs of seven objects
    assert (np.sort(epochs) == np.arange(OBJECTS)).all()
    assert (epochs[0] != epochs[1]).any()


def test_a_batch_depends_on_the_seed_and_its_number_alone(viewsets):
    first = Sampler(viewsets, SamplingConfig(), 4, seed=2)
    first.batch(0, 0)
    second = Sampler(viewsets, SamplingConfig(), 4, seed=2)
    for name in ("inputs", "targets"):
        a, b = getattr(first.batch(9, 36), name), getattr(second.batch(9, 36), name)
        assert torch.equal(a.images, b.images)
    other = Sampler(viewsets, SamplingConfig(), 4, seed=3).batch(9, 36)
    assert not torch.equal(other.targets.images, first.batch(9, 36).targets.images)


def test_two_processes_share_one_batch(viewsets):
    config = replace(SamplingConfig(), noised_probabilities=[0, 0, 1])
    whole = Sampler(viewsets, config, 6).batch(4, 24)
    halves = [Sampler(viewsets, config, 6, rank=r, world_size=2).batch(4, 24) for r in (0, 1)]
    for name in ("inputs", "targets"):
        together = torch.cat([getattr(h, name).images for h in halves])
        assert torch.equal(together, getattr(whole, name).images)
    assert torch.equal(torch.cat([h.times for h in halves]), whole.times)


def test_views_are_composited_over_white_with_their_cameras():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 4, SIZE, SIZE, 4), dtype=np.uint8)
    viewsets = Viewsets(images, on_sphere(torch.rand(3, 4), torch.rand(3, 4), size=SIZE), ["a", "b", "c"])
    object_ids, view_ids = np.array([2, 0]), np.array([[1, 3], [0, 2]])
    views = viewsets.views(object_ids, view_ids)
    chosen = images[object_ids[:, None], view_ids] / 255
    alpha = chosen[..., 3:]
    expected = np.moveaxis(chosen[..., :3] * alpha + 1 - alpha, -1, 2)
    assert views.alphas is not None
    np.testing.assert_allclose(views.images, expected, atol=1e-6)
    np.testing.assert_allclose(views.alphas, alpha[..., 0], atol=1e-6)
    assert torch.equal(views.cameras.viewmats[0, 1], viewsets.cameras.viewmats[2, 3])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SamplingConfig(clean_probabilities=[0.5, 0.2]), "sampling.clean_probabilities"),
        (SamplingConfig(noised_probabilities=[]), "sampling.noised_probabilities"),
        (SamplingConfig(clean_probabilities=[1], noised_probabilities=[1]), "must see a view"),
        (SamplingConfig(views=4), "sampling.views is 4"),
        (SamplingConfig(views=10), "dataset's 9 views"),
    ],
)
def test_impossible_settings_are_refused(viewsets, config, expected):
    with pytest.raises(InputError, match=expected):
        Sampler(viewsets, config, 2)


def test_shuffled_inputs_show_another_object_with_its_own_times(viewsets):
    for step in range(20):
        straight = Sampler(viewsets, SamplingConfig(), 4).batch(step, 4 * step)
        batch = Sampler(viewsets, SamplingConfig(shuffled_inputs=True), 4).batch(step, 4 * step)
        assert torch.equal(batch.targets.images, straight.targets.images)
        assert torch.equal(batch.inputs.images, straight.inputs.images.roll(-1, 0))
        assert torch.equal(batch.times, straight.times.roll(-1, 0))
        assert torch.equal(batch.inputs.cameras.viewmats, straight.inputs.cameras.viewmats.roll(-1, 0))
    with pytest.raises(InputError, match="shuffled"):
        Sampler(viewsets, SamplingConfig(shuffled_inputs=True), 1)


def test_deterministic_mapping_without_noised_views(viewsets):
    config = SamplingConfig(noised_probabilities=[1.0])
    sampler = Sampler(viewsets, config, 2)
    batches = [sampler.batch(step, 2 * step) for step in range(50)]
    assert {b.noised for b in batches} == {0}
    assert {b.clean for b in batches} == {1, 2}
