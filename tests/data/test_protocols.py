"""View lists, and where the input view of our test sets stands."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sparsegen.cameras import RADIUS
from sparsegen.data import protocols
from sparsegen.data.packed import Viewsets
from sparsegen.data.viewpoints import INPUT_VIEW, SECOND_INPUT_VIEW, SPIRAL_VIEWS, spiral_views
from sparsegen.errors import InputError


def test_srn_lists_are_the_references() -> None:
    one = protocols.srn()
    assert one.input_views == (64,)
    assert one.placeholder_views == (90, 104, 120)
    targets = one.target_views(251)
    assert len(targets) == 250
    assert 64 not in targets
    assert set(one.placeholder_views) <= set(targets)
    assert protocols.srn(2).input_views == (64, 104)
    assert len(protocols.srn(2).target_views(251)) == 249
    assert protocols.srn(4, 2) == protocols.Protocol("srn-4", (80, 104, 198, 64), (90, 115))


def test_spiral_has_24_novel_views_and_a_three_quarter_input() -> None:
    assert protocols.spiral().target_views(SPIRAL_VIEWS) == tuple(v for v in range(25) if v != INPUT_VIEW)
    assert len(protocols.spiral(2).target_views(25)) == 23
    centers = spiral_views(SPIRAL_VIEWS).centers
    x, y, z = centers[INPUT_VIEW].tolist()
    assert (_azimuth(x, y), _elevation(z)) == (-36, 26)  # the car's front and its right side
    x, y, z = centers[SECOND_INPUT_VIEW].tolist()
    assert (_azimuth(x, y), _elevation(z)) == (122, 33)  # its back and its left side


def _azimuth(x: float, y: float) -> int:
    return round(math.degrees(math.atan2(y, x)))


def _elevation(z: float) -> int:
    return round(math.degrees(math.asin(z / RADIUS)))


def test_the_protocol_follows_the_number_of_views() -> None:
    assert protocols.for_views(251, 2) == protocols.srn(2)
    assert protocols.for_views(25) == protocols.spiral()


def test_unknown_numbers_of_views_are_refused() -> None:
    with pytest.raises(InputError, match="defined for 1 or 2 input views, got 3"):
        protocols.spiral(3)
    for inputs, placeholders in ((7, 3), (0, 3), (1, 1)):
        with pytest.raises(InputError, match=f"got {inputs} and {placeholders}"):
            protocols.srn(inputs, placeholders)
    with pytest.raises(InputError, match=r"cars\.pack: protocol srn-1 needs view 120 .* found 25 views"):
        protocols.srn().check(25, "cars.pack")


def test_protocols_are_known_by_their_names() -> None:
    assert protocols.named("srn", 2) == protocols.srn(2)
    assert protocols.named("spiral") == protocols.spiral()
    gso = protocols.named("gso")
    assert gso.input_views == (INPUT_VIEW,)
    assert gso.target_views(SPIRAL_VIEWS) == protocols.spiral().target_views(SPIRAL_VIEWS)
    for name in ("co3d-hydrant", "co3d-teddybear"):
        one = protocols.named(name)
        assert (one.objects, len(one.input_views), len(one.target_views(16)), one.fid) == (100, 1, 1, False)
        assert not set(one.input_views) & set(one.target_views(16))


def test_test_sets_that_do_not_fit_are_refused() -> None:
    def made(count: int, views: int, size: int) -> Viewsets:
        path = spiral_views(views, size).reshape(1, views).expand(count, views)
        images = np.zeros((count, views, size, size, 4), np.uint8)
        return Viewsets(images, path, [str(i) for i in range(count)])

    gso, co3d = protocols.named("gso"), protocols.named("co3d-hydrant")
    gso.check_set(made(1, 25, 128), "set")
    with pytest.raises(InputError, match="set: protocol gso is defined on 128 pixels a side, found 64;"):
        gso.check_set(made(1, 25, 64), "set")
    with pytest.raises(InputError, match="set: protocol gso is defined on 25 views an object, found 26;"):
        gso.check_set(made(1, 26, 128), "set")
    with pytest.raises(InputError, match="protocol co3d-hydrant is over 100 objects, found 2;"):
        co3d.check_set(made(2, 16, 128), "set")


def test_any_views_can_go_in() -> None:
    assert protocols.own((2, 0)).target_views(4) == (1, 3)
    for wrong in ((-1,), (1, 1)):
        with pytest.raises(InputError, match="expected different numbers, counted from 0"):
            protocols.own(wrong)
