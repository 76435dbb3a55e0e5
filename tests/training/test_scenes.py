"""What pictures of objects before backgrounds are made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import striped_discs

from sparsegen.errors import InputError
from sparsegen.formats.cutout import object_boxes
from sparsegen.formats.images import save_image
from sparsegen.training import scenes
from sparsegen.training.foreground import ForegroundTraining, foreground_batch
from sparsegen.training.scenes import Scenery, load_things


def test_backgrounds_change_nothing_of_the_object():
    recipe, grays = ForegroundTraining(batch_size=16), (torch.full((3, 90, 70), x) for x in (0.1, 0.9))
    made = [foreground_batch(Scenery(striped_discs(), [gray]), recipe, 0, 48) for gray in grays]
    (dark, alpha), (light, same) = made
    assert torch.equal(alpha, same)
    inside, outside = alpha > 0.999, alpha < 0.001
    differ = (dark - light).abs().amax(1)
    # Blurred pictures mix a pixel with its neighbours.
    assert (differ[inside] > 1e-3).float().mean() < 0.1
    changed = torch.stack([(d > 0.3)[o].float().mean() for d, o in zip(differ, outside, strict=True)])
    assert 6 <= (changed > 0.5).sum() <= 14  # two of three stand before a photograph
    shares = inside.float().mean((1, 2))
    assert (shares > 0.02).float().mean() > 0.8
    assert shares.max() < 0.8


def test_other_things_are_the_object_where_they_stand_instead():
    """Green things before and behind gray objects, and in a few pictures without those."""
    gray = replace(striped_discs(), images=np.where(np.arange(4) < 3, 128, striped_discs().images))
    thing = torch.zeros(4, 30, 30)
    thing[1], thing[3, 5:25, 5:25] = 1, 1
    scenery = Scenery(gray, things=[thing])
    pictures, alphas = foreground_batch(scenery, ForegroundTraining(batch_size=64), 0, 48)
    green = (pictures[:, 1] > 0.5) & (pictures[:, ::2].amax(1) < 0.2)
    assert (green.float().mean((1, 2)) > 0.02).float().mean() > 0.3
    # Of each picture's object, how much is green: all or nothing.
    inside = alphas > 0.8
    shares = (green & inside).sum((1, 2)) / inside.sum((1, 2))
    shares = shares[inside.sum((1, 2)) > 20]
    assert 2 <= (shares > 0.8).sum() <= 16
    assert (shares < 0.05).float().mean() > 0.7
    assert ((shares < 0.05) | (shares > 0.8)).float().mean() > 0.95


def test_parked_neighbors_stand_on_the_objects_ground_to_its_left_or_right():
    """Squares beside one of 30 pixels whose bottom is at 100 of 128: partly behind it, or a gap away."""
    square = torch.zeros(64, 4, 32, 32)
    square[:, :, 8:24, 8:24] = 1
    there = torch.zeros(64, 128, 128)
    there[:, 70:100, 50:80] = 1
    layer = replace(scenes._PARKED[0], chance=1.0)
    color, alpha = scenes._placed(square, 128, layer, torch.Generator().manual_seed(0), there)
    assert color[alpha[:, None].expand_as(color) > 0.5].min() > 0.99
    top, bottom, left, right = object_boxes(alpha).unbind(1)
    whole = (left > 0) & (right < 128)
    assert whole.sum() > 50
    sides = torch.maximum(right - left, bottom - top)[whole] / 30
    assert 0.55 < sides.min() < 0.75
    assert 1.1 < sides.max() < 1.6  # tilted, the box of a square is larger
    assert (bottom - 100).abs()[whole].max() < 128 * 0.06 + 4
    apart = ((left + right) / 2 - 65)[whole] / (0.5 * (30 + (right - left)[whole]))
    assert 0.5 < apart.abs().min() < 0.7
    assert 0.95 < apart.abs().max() < 1.15
    assert 15 < (apart > 0).sum() < 45


def test_things_are_cut_out_pictures_made_square(tmp_path):
    picture = torch.ones(4, 20, 300)
    picture[3, :, 150:] = 0
    save_image(tmp_path / "a.png", picture)
    (thing,) = load_things(tmp_path)
    assert thing.shape == (4, 192, 192)
    assert abs(float(thing[3].mean()) - 0.5 * 20 / 300) < 0.01
    assert thing[3, 96, 40] > 0.99
    save_image(tmp_path / "b.png", picture[:3])
    with pytest.raises(InputError, match=r"b\.png: has no alpha"):
        load_things(tmp_path)
