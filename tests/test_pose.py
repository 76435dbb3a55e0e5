"""Cameras of photos: against the ones that the shipped examples were rendered from."""

from pathlib import Path

import pytest

from sparsegen.generation import Pipeline
from sparsegen.photos import read_photo
from sparsegen.pose import estimate_camera

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_pretrained(device="cpu")


@pytest.mark.parametrize("name", ["car.png", "pickup.jpg"])
def test_the_examples_cameras_are_found(pipeline, name):
    best, *others = estimate_camera(pipeline, read_photo(EXAMPLES / name))
    assert best.azimuth == pytest.approx(-36, abs=20)
    assert best.elevation == pytest.approx(26, abs=20)
    assert others
    for other in others:
        assert other.error > best.error
        assert 45 <= abs(other.azimuth - best.azimuth) <= 315
