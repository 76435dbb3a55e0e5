"""Sampling the flow: seeds, steps, samples and numbers of views."""

from dataclasses import replace

import pytest
import torch

from networks import build, small, some_views
from sparsegen.cameras import orbit
from sparsegen.errors import InputError
from sparsegen.generation import Pipeline, choose_device
from sparsegen.views import Views


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline(build(small()))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 3])
def test_any_number_of_views_and_steps(pipeline, count, steps):
    views = some_views(1, count)
    (gaussians,) = pipeline(views, steps=steps)
    assert gaussians.means.shape == (12, 3)
    assert torch.isfinite(gaussians.means).all()


def test_same_seed_same_bytes(pipeline):
    views = some_views(1, 1)
    first, again, other = (pipeline(views, steps=2, seed=s)[0] for s in (5, 5, 6))
    assert torch.equal(first.means, again.means)
    assert torch.equal(first.colors, again.colors)
    assert not torch.equal(first.means, other.means)


def test_samples_are_the_next_seeds(pipeline):
    views = some_views(1, 1)
    samples = pipeline(views, steps=2, seed=3, samples=2)
    assert torch.equal(samples[1].means, pipeline(views, steps=2, seed=4)[0].means)


def test_one_step_from_pictures_is_one_pass_over_them_alone(pipeline):
    views = some_views(1, 2)
    alone = pipeline.model(views, torch.zeros(1, 2))[-1][0]
    for seed in (0, 1):
        torch.testing.assert_close(pipeline(views, seed=seed)[0].means, alone.means)


def test_a_model_that_needs_placeholders_gets_them():
    pipeline = Pipeline(build(small(needs_placeholders=True)))
    first, second = pipeline(some_views(1, 1), samples=2)
    assert not torch.equal(first.means, second.means)


def test_an_objects_seed_does_not_depend_on_its_batch(pipeline):
    views = some_views(2, 1)
    both = pipeline.generate(views, seeds=[7, 8], steps=2)
    alone = pipeline.generate(views.objects([1]), seeds=[8], steps=2)
    torch.testing.assert_close(both.means[1], alone.means[0], rtol=0, atol=1e-5)


def test_from_noise_alone(pipeline):
    first, second = pipeline(None, steps=2, samples=2)
    assert not torch.equal(first.means, second.means)


def test_steps_use_the_rendering_of_the_step_before(pipeline):
    views = some_views(1, 1)
    one, two = pipeline(views, steps=1)[0], pipeline(views, steps=2)[0]
    assert not torch.equal(one.means, two.means)


@pytest.mark.parametrize(("width", "height"), [(48, 48), (32, 24), (24, 32)])
def test_pictures_of_another_size_are_refused(pipeline, width, height):
    cameras = replace(orbit(1, size=32)[None], width=width, height=height)
    views = Views(torch.rand(1, 1, 3, height, width), cameras)
    with pytest.raises(InputError, match=f"32 x 32 pixels, got {width} x {height}"):
        pipeline(views)


def test_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        Pipeline.from_pretrained(tmp_path / "nowhere")


def test_unusable_device_is_named():
    with pytest.raises(InputError, match="'abacus'"):
        choose_device("abacus")


def test_fewer_queries_make_a_smaller_object(pipeline):
    config = pipeline.model.config
    assert pipeline(some_views().objects([0]), queries=2)[0].count == 2 * config.expansion
    for bad in (0, config.num_queries + 1):
        with pytest.raises(InputError, match=f"queries is {bad}"):
            pipeline(some_views().objects([0]), queries=bad)
