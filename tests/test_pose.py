"""Cameras of photos: against the ones that the shipped examples were rendered from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from sparsegen.generation import Pipeline
from sparsegen.models.camera_head import CameraHeadConfig, cell_targets
from sparsegen.photos import read_photo
from sparsegen.pose import estimate_camera

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
    """A camera head that finds two directions equally likely, whatever it sees."""

    config = CameraHeadConfig()

    def __init__(self, first, second):
        super().__init__()
        both = cell_targets(torch.tensor([first[0], second[0]]), torch.tensor([first[1], second[1]]))
        self.logits = both.mean(0).log()

    def forward(self, crops):
        return self.logits.expand(len(crops), -1, -1)


@pytest.mark.parametrize("wrong", [(144.0, 26.0), (54.0, 26.0)])
def test_where_the_head_cannot_decide_the_rendering_does(pipeline, wrong):
    undecided = replace(pipeline, camera_head=Undecided(wrong, (-36.0, 26.0)))
    best, second, *_ = estimate_camera(undecided, read_photo(EXAMPLES / "car.png"))
    assert best.azimuth == pytest.approx(-36, abs=2)
    assert second.azimuth == pytest.approx(wrong[0], abs=2)
    assert best.error < second.error
    assert best.chance == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_without_a_head_cameras_are_searched_for(pipeline):
    best, *others = estimate_camera(replace(pipeline, camera_head=None), read_photo(EXAMPLES / "car.png"))
    assert best.azimuth == pytest.approx(-36, abs=20)
    assert best.elevation == pytest.approx(26, abs=20)
    assert best.chance is None
    for other in others:
        assert other.error > best.error
        assert 45 <= abs(other.azimuth - best.azimuth) <= 315
