"""Which seed is which car: no car is in two splits."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from sparsegen.cameras import RADIUS
from sparsegen.data.cars import MAX_COUNT, SPLITS, Car, car_cameras, cars, cars_named
from sparsegen.data.procedural.styles import KINDS
from sparsegen.errors import InputError


def test_no_two_splits_or_seeds_share_a_car():
    """Seeds of a split are one range; even the largest ranges do not overlap."""
    ranges = []
    for seed, split in product((0, 1, 2, 7, 10**9), SPLITS):
        few = cars(3, seed, split)
        first = few[0].seed
        assert [car.seed for car in few] == [first, first + 1, first + 2]
        ranges.append((first, first + MAX_COUNT))
    ranges.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))


def test_more_cars_begin_with_the_same_ones():
    many = cars(20, 3, "val")
    assert many[:5] == cars(5, 3, "val")
    assert len({car.name for car in many}) == 20


def test_training_cameras_are_each_cars_own():
    subjects = cars(2, 0, "train")
    one, other = car_cameras(subjects, 4, 32, spiral=False)
    assert not torch.equal(one.viewmats, other.viewmats)
    assert torch.equal(car_cameras(subjects[1:], 4, 32, spiral=False)[0].viewmats, other.viewmats)
    same, again = car_cameras(subjects, 4, 32, spiral=True)
    assert torch.equal(same.viewmats, again.viewmats)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 0, "train"), "-n"),
        ((MAX_COUNT + 1, 0, "train"), "-n"),
        ((1, -1, "val"), "--seed"),
        ((1, 0, "x"), "split"),
    ],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        cars(*arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_names_tell_which_car_of_which_kind(kind):
    made = cars(3, 4, "val", kind)
    assert cars_named([car.name for car in made]) == made
    others = [car.name for other in KINDS if other != kind for car in cars(3, 4, "val", other)]
    assert not {car.name for car in made} & set(others)


def test_other_names_are_no_cars():
    assert cars_named(["chair-train-0-000001", "car-x-0-000001", "photo"]) == []


def test_a_car_is_its_seed():
    assert Car("a", 5).scene().bounds == pytest.approx(Car("b", 5).scene().bounds)


def test_race_cars_are_seen_through_lenses_of_their_own_and_are_as_large():
    """The focal length over the distance, which sets how large a car is, is the same for all."""
    road, racing = (
        car_cameras(cars(20, 0, "train", kind), 8, 64, spiral=False) for kind in ("everyday", "racing")
    )
    distances = torch.stack([cameras.centers.norm(dim=-1) for cameras in racing])
    assert 1.1 <= distances.min() < 1.25
    assert 2.3 < distances.max() <= 2.6
    scales = torch.stack([cameras.Ks[:, 0, 0] for cameras in racing]) / distances
    expected = road[0].Ks[0, 0, 0] / RADIUS
    torch.testing.assert_close(scales, expected.expand_as(scales))
    assert all(torch.allclose(c.centers.norm(dim=-1), torch.tensor(RADIUS)) for c in road)
