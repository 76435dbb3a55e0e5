"""Refinement against a held-out car: what it sees gets better, and what it does not see does not pay."""

from dataclasses import fields

import pytest
import torch

from held_out_car import pictures_of_a_car
from sparsegen.generation import Pipeline
from sparsegen.ranking import agreement, likeness, rank
from sparsegen.refinement import HARMLESS, RefinementConfig, refine, refine_checked
from sparsegen.views import Views

STEPS = 25


@pytest.fixture(scope="module")
def car():
    """Six pictures of a car; the first is the input."""
    return pictures_of_a_car()


@pytest.fixture(scope="module")
def guess(car):
    return Pipeline.from_pretrained(device="cpu")(car.select([0]))[0]


def mean(values):
    return sum(values) / len(values)


def test_the_input_gets_better_and_held_out_views_hardly_worse(car, guess):
    seen, novel = car.select([0]), car.select(slice(1, None))
    refined = refine(guess, seen, STEPS)
    assert agreement(refined, seen)[0] > agreement(guess, seen)[0] + 2
    assert mean(agreement(refined, novel)) > mean(agreement(guess, novel)) - HARMLESS
    unguarded = refine(guess, seen, STEPS, RefinementConfig(novel=0, pull=0))
    assert mean(agreement(refined, novel)) > mean(agreement(unguarded, novel))
    assert likeness(refined, guess) > likeness(unguarded, guess)
    assert rank([guess, refined], seen)[0] == [1, 0]


def test_what_comes_out_are_gaussians_and_what_went_in_stays(car, guess):
    before = {f.name: getattr(guess, f.name) for f in fields(guess)}
    copies = {name: value.clone() for name, value in before.items() if isinstance(value, torch.Tensor)}
    refined = refine(guess, car.select([0]), 3)
    for name, copy in copies.items():
        assert torch.equal(before[name], copy)
        assert not getattr(refined, name).requires_grad
    assert refined.expansion == guess.expansion
    torch.testing.assert_close(refined.quats.norm(dim=-1), torch.ones(guess.count))
    assert (refined.scales > 0).all()
    assert torch.equal(refine(guess, car.select([0]), 3).means, refined.means)
    assert refine(guess, car.select([0]), 0) is guess


def test_with_several_views_one_is_held_out(car, guess):
    refined, report = refine_checked(guess, car.select([0, 2]), 8)
    assert not report.harmful
    assert report.seen[1] > report.seen[0]
    assert report.moved == pytest.approx(likeness(refined, guess))


def test_refinement_that_harms_the_held_out_view_is_dropped(car, guess):
    """The first of two pictures shows another thing: a black square."""
    images = car.images[:, [0, 2]].clone()
    images[:, 0] = 1
    images[:, 0, :, 40:90, 40:90] = 0
    assert car.alphas is not None
    alphas = car.alphas[:, [0, 2]].clone()
    alphas[:, 0] = (images[:, 0, 0] == 0).float()
    wrong = Views(images, car.cameras[:, [0, 2]], alphas)
    refined, report = refine_checked(guess, wrong, 15, RefinementConfig(novel=0, pull=0))
    assert report.harmful
    assert refined is guess
    assert report.seen[0] == report.seen[1]
