"""Cameras of photos: against the ones that the shipped examples were rendered from."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from held_out_car import pictures_of_a_car
from sparsegen import pose
from sparsegen.formats.cutout import level, object_boxes, straight_color
from sparsegen.generation import Pipeline
from sparsegen.models.camera_head import CameraHeadConfig, Direction, Framing, cell_targets
from sparsegen.photos import frame, read_photo
from sparsegen.pose import (
    FRONT_ODDS,
    CameraEstimate,
    _in_front_first,
    estimate_camera,
    estimate_or_keep,
    estimate_roll,
    view_from,
)

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_pretrained(device="cpu")


@pytest.mark.parametrize("name", ["car.png", "pickup.jpg"])
def test_the_examples_cameras_are_found(pipeline, name):
    best, *others = estimate_camera(pipeline, read_photo(EXAMPLES / name))
    assert best.azimuth == pytest.approx(-36, abs=6)
    assert best.elevation == pytest.approx(26, abs=6)
    assert best.chance is not None
    assert best.chance > 0.9
    for other in others:
        assert other.chance is not None
        assert other.chance < best.chance
        assert 40 <= abs(other.azimuth - best.azimuth) <= 320


class Undecided(nn.Module):
    """A camera head that finds two directions equally likely, and one framing, whatever it sees."""

    config = CameraHeadConfig()

    def __init__(self, first, second, framing=None):
        super().__init__()
        self.framing = framing or Framing()
        both = cell_targets(torch.tensor([first[0], second[0]]), torch.tensor([first[1], second[1]]))
        self.logits = both.mean(0).log()

    def directions_of(self, crops):
        return self.logits.expand(len(crops), -1, -1)

    def frame_of(self, crop, azimuth, elevation):
        return self.framing


@pytest.mark.parametrize("tilt", [-9.0, 9.0])
def test_a_tilted_picture_is_found_as_the_level_one(pipeline, tilt):
    """The shipped head, on a car that it has not seen, from as low as people stand."""
    views = pictures_of_a_car(azimuths=(-70.0, 140.0), elevation=8.0)
    assert views.alphas is not None
    for picture, alpha, azimuth in zip(views.images[0], views.alphas[0], (-70, 140), strict=True):
        rgba = torch.cat([straight_color(picture, alpha), alpha[None]])
        assert estimate_roll(pipeline, rgba) == 0
        tilted = level(rgba, -tilt)
        assert estimate_roll(pipeline, tilted) == pytest.approx(tilt, abs=2.5)
        best = estimate_camera(pipeline, tilted)[0]
        assert (best.azimuth, best.elevation) == (pytest.approx(azimuth, abs=6), pytest.approx(8, abs=6))


@pytest.mark.parametrize("wrong", [(144.0, 26.0), (54.0, 26.0)])
def test_where_the_head_cannot_decide_the_rendering_does(pipeline, wrong):
    undecided = replace(pipeline, camera_head=Undecided(wrong, (-36.0, 26.0)))
    best, second, *_ = estimate_camera(undecided, read_photo(EXAMPLES / "car.png"))
    assert best.azimuth == pytest.approx(-36, abs=2)
    assert second.azimuth == pytest.approx(wrong[0], abs=2)
    assert best.error < second.error
    odds = FRONT_ODDS if abs(wrong[0]) > 90 else 1.0
    assert best.chance == pytest.approx(odds / (1 + odds), abs=0.05)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((120.0, None), (120.0, 40.0)),  # of the two cameras the one behind, though the other is likelier
        ((-60.0, None), (-60.0, 10.0)),
        ((-170.0, None), (-170.0, 40.0)),  # around the back: 46 degrees from 144, not 314
        ((None, 38.0), (144.0, 38.0)),
        ((None, 11.0), (-36.0, 11.0)),
        ((5.0, 6.0), (5.0, 6.0)),
    ],
)
def test_of_one_known_angle_the_other_is_that_of_the_nearest_estimate(pipeline, monkeypatch, known, expected):
    estimates = [CameraEstimate(-36, 10, 0.0, 0.6), CameraEstimate(144, 40, 0.1, 0.3)]
    monkeypatch.setattr(pose, "estimate_camera", lambda *_: estimates)
    (found,) = estimate_or_keep(pipeline, torch.ones(4, 8, 8), known)
    assert (found.azimuth, found.elevation) == expected


def test_an_unlikely_camera_is_not_taken_for_its_height(pipeline, monkeypatch):
    estimates = [CameraEstimate(-36, 10, 0.0, 0.95), CameraEstimate(144, 40, 0.1, 0.05)]
    monkeypatch.setattr(pose, "estimate_camera", lambda *_: estimates)
    assert estimate_or_keep(pipeline, torch.ones(4, 8, 8), (None, 38.0))[0].azimuth == -36


class FramingOne(Undecided):
    """The same, but from the first direction the object seems to be framed larger or smaller."""

    def __init__(self, first, second, zoom):
        super().__init__(first, second)
        self.first, self.zoom = first, zoom

    def frame_of(self, crop, azimuth, elevation):
        return Framing(zoom=self.zoom if abs(azimuth - self.first[0]) < 5 else 1.0)


@pytest.mark.parametrize("wrong", [(54.0, 26.0), (10.0, 26.0)])
def test_a_wrong_direction_is_no_better_for_framing_the_object_smaller(pipeline, wrong):
    """Nearly all of a picture with a small object in it is right, whatever the object looks like."""
    errors = []
    for zoom in (1.0, 0.5):
        undecided = replace(pipeline, camera_head=FramingOne(wrong, (-36.0, 26.0), zoom))
        errors.append(estimate_camera(undecided, read_photo(EXAMPLES / "car.png"))[1].error)
    assert errors[1] > errors[0]


def test_a_guess_in_front_is_likelier_than_the_head_says():
    """Chances of 0.5 behind, 0.35 in front and 0.15 that no guess has become 0.5 to 0.7 to 0.15."""
    behind, front = Direction(150, 20, 0.5), Direction(-30, 20, 0.35)
    first, second = _in_front_first([behind, front])
    assert (first.azimuth, second.azimuth) == (-30, 150)
    assert FRONT_ODDS == 2
    assert (first.chance, second.chance) == pytest.approx((0.7 / 1.35, 0.5 / 1.35))
    assert _in_front_first([behind]) == [Direction(150, 20, 0.5)]


@pytest.mark.parametrize(("error", "best"), [(0.058, 30.0), (0.055, -60.0)])
def test_a_less_likely_rival_has_to_render_that_much_better(pipeline, monkeypatch, error, best):
    """Against chances of 0.75 to 0.25 errors have to be apart by the square root of three."""
    first, second = (cell_targets(torch.tensor([a]), torch.tensor([26.0])) for a in (30.0, -60.0))
    head = Undecided((30.0, 26.0), (-60.0, 26.0))
    head.logits = (0.75 * first[0] + 0.25 * second[0]).log()

    def tried(pipeline, rgba, angles):
        assert [round(azimuth) for azimuth, _ in angles] == [30, -60]
        return [CameraEstimate(a, e, each) for (a, e), each in zip(angles, (0.1, error), strict=True)]

    monkeypatch.setattr(pose, "_try", tried)
    found = estimate_camera(replace(pipeline, camera_head=head), read_photo(EXAMPLES / "car.png"))
    assert found[0].azimuth == pytest.approx(best, abs=1)


@pytest.mark.slow
def test_without_a_head_cameras_are_searched_for(pipeline):
    best, *others = estimate_camera(replace(pipeline, camera_head=None), read_photo(EXAMPLES / "car.png"))
    assert best.azimuth == pytest.approx(-36, abs=20)
    assert best.elevation == pytest.approx(26, abs=20)
    assert best.chance is None
    for other in others:
        assert other.error > best.error
        assert 45 <= abs(other.azimuth - best.azimuth) <= 315


def test_photos_are_framed_as_the_head_says(pipeline):
    """The box in the picture is larger and has moved by as much as the head said, of typical sides."""
    rgba = read_photo(EXAMPLES / "car.png")
    head = Undecided((0.0, 10.0), (90.0, 20.0), Framing(1.1, 0.05, -0.08, distance=1.3))
    views = view_from(replace(pipeline, camera_head=head), rgba, -36.0, 26.0)
    typical = view_from(replace(pipeline, camera_head=None), rgba, -36.0, 26.0)
    assert typical.alphas is not None
    assert views.alphas is not None
    torch.testing.assert_close(typical.images, frame(rgba, 128, -36.0, 26.0).images)
    top, bottom, left, right = object_boxes(typical.alphas[0])[0].tolist()
    side = max(bottom - top, right - left)
    new_top, new_bottom, new_left, new_right = object_boxes(views.alphas[0])[0].tolist()
    assert max(new_bottom - new_top, new_right - new_left) == pytest.approx(1.1 * side, abs=0.7)
    assert (new_left + new_right - left - right) / 2 == pytest.approx(0.05 * side, abs=0.7)
    assert (new_top + new_bottom - top - bottom) / 2 == pytest.approx(-0.08 * side, abs=0.7)


def test_a_direction_that_is_not_given_is_estimated(pipeline):
    rgba = read_photo(EXAMPLES / "car.png")
    best = estimate_camera(pipeline, rgba)[0]
    found, told = view_from(pipeline, rgba), view_from(pipeline, rgba, best.azimuth, best.elevation)
    torch.testing.assert_close(found.cameras.viewmats, told.cameras.viewmats)
    torch.testing.assert_close(found.images, told.images)


def test_a_lens_sets_a_larger_object_farther_away(pipeline):
    rgba = read_photo(EXAMPLES / "car.png")
    distances = []
    for zoom in (1.0, 1.2):
        head = Undecided((0.0, 10.0), (90.0, 20.0), Framing(zoom))
        views = view_from(replace(pipeline, camera_head=head), rgba, -36.0, 26.0, focal_length=60.0)
        distances.append(float(views.cameras.centers.norm()))
    assert distances[1] == pytest.approx(1.2 * distances[0], rel=0.05)


def test_without_a_lens_the_head_says_how_far_away_the_camera_was(pipeline):
    rgba = read_photo(EXAMPLES / "car.png")
    head = replace(pipeline, camera_head=Undecided((0.0, 10.0), (90.0, 20.0), Framing(distance=2.1)))
    views = view_from(head, rgba, -36.0, 26.0)
    assert views.cameras.centers.norm().item() == pytest.approx(2.1)
    torch.testing.assert_close(views.images, frame(rgba, 128, -36.0, 26.0, distance=2.1).images)
    told = view_from(head, rgba, -36.0, 26.0, focal_length=35.0)
    assert told.cameras.centers.norm().item() != pytest.approx(2.1, abs=0.2)


class Tilted(Undecided):
    """A camera head that finds every picture turned clockwise by so many degrees."""

    config = CameraHeadConfig(rolls=True)

    def __init__(self, roll, elevation=10.0):
        super().__init__((-36.0, elevation), (-36.0, elevation))
        self.roll = roll

    def rolls_of(self, crops):
        return torch.full((len(crops),), self.roll)


def test_a_tilted_picture_is_turned_level_before_anything_else(pipeline):
    """The same object, seen by the same lens at the same distance, from a tilted camera and a level one."""
    rgba = read_photo(EXAMPLES / "car.png")
    tilted = level(rgba, -9.0)  # on a larger canvas, which a lens of another number shows
    focal_length = 60.0 * math.hypot(*rgba.shape[1:]) / math.hypot(*tilted.shape[1:])
    seen = replace(pipeline, camera_head=Tilted(9.0))
    assert estimate_roll(seen, tilted) == 9
    truth = view_from(seen, rgba, focal_length=60.0, roll=0.0)
    for given in (None, 9.0):
        found = view_from(seen, tilted, focal_length=focal_length, roll=given)
        torch.testing.assert_close(found.cameras.viewmats, truth.cameras.viewmats, rtol=0, atol=0.02)
        assert (found.images - truth.images).square().mean() < 2e-4
    as_it_is = view_from(seen, tilted, focal_length=focal_length, roll=0.0)
    assert (as_it_is.images - truth.images).square().mean() > 2e-3


@pytest.mark.parametrize(("roll", "found"), [(3.5, 0.0), (-3.5, 0.0), (4.5, 4.5), (-4.5, -4.5)])
def test_what_is_about_level_stays_as_it_is(pipeline, roll, found):
    tilted = replace(pipeline, camera_head=Tilted(roll))
    assert estimate_roll(tilted, read_photo(EXAMPLES / "car.png")) == found


def test_what_is_seen_from_above_is_not_turned(pipeline):
    seen = [replace(pipeline, camera_head=Tilted(9.0, elevation)) for elevation in (15.0, 25.0)]
    assert [estimate_roll(each, read_photo(EXAMPLES / "car.png")) for each in seen] == [9, 0]


def test_without_a_head_that_says_rolls_pictures_are_level(pipeline):
    rgba = read_photo(EXAMPLES / "car.png")
    for head in (None, Undecided((0.0, 10.0), (90.0, 20.0))):
        assert estimate_roll(replace(pipeline, camera_head=head), rgba) == 0
