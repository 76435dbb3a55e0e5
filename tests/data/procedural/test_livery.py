"""Race cars: lower and wider, dressed so that each side shows its own tile of the sheet."""

import numpy as np
import pytest
import torch

from sparsegen.cameras import on_sphere
from sparsegen.data.cars import Car
from sparsegen.data.procedural import cars as procedural
from sparsegen.data.procedural.cars import make_car
from sparsegen.data.procedural.livery import TILE, draw_livery, wear
from sparsegen.data.procedural.meshing import Mesh
from sparsegen.data.procedural.styles import draw_shape, lowered
from sparsegen.data.render import LIGHTS, draw_lights, normalize, render_views

RED, GREEN, BLUE, YELLOW = [230, 20, 20], [20, 200, 20], [20, 20, 230], [230, 220, 20]


@pytest.fixture(scope="module")
def shape():
    return draw_shape("sedan", np.random.default_rng(0))


def test_race_cars_are_lower_and_wider_than_those_on_the_road():
    """Without wings on struts: the cabin's top, and how wide all that is painted is, against its length."""

    def flatness(scene):
        length, width, _ = scene.geometry["paint"].extents
        return scene.geometry["cabin"].bounds[1, 2] / length, width / length

    road = np.mean([flatness(make_car(seed)) for seed in range(20)], axis=0)
    racing = np.mean([flatness(make_car(seed, kind="racing")) for seed in range(20)], axis=0)
    assert racing[0] < 0.9 * road[0]
    assert racing[1] > 1.02 * road[1]


def test_only_race_cars_wear_a_picture():
    for kind in ("everyday", "racing"):
        scene = make_car(0, kind=kind)
        worn = "baseColorTexture" in scene.geometry["paint"].visual.material._data
        assert worn is (kind == "racing")


def test_lowering_keeps_wheels_and_length():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        shape = draw_shape("sports", rng)
        low = lowered(shape, rng)
        unchanged = ("length", "wheel", "arch", "front_axle", "rear_axle", "cowl", "back")
        assert all(getattr(low, name) == getattr(shape, name) for name in unchanged)
        flatter = low.height / shape.height
        assert 0.87 <= flatter <= 1
        assert low.belt / shape.belt == pytest.approx(flatter)
        assert 1 <= low.width / shape.width <= 1.12


def test_every_side_of_a_car_shows_its_own_tile(monkeypatch):
    """By another program's eyes: rendered from the left it is red, from the right green, from above blue."""
    tiles = [np.full((TILE[1], TILE[0], 3), color, np.uint8) for color in (RED, GREEN, BLUE, YELLOW)]
    monkeypatch.setattr(procedural, "draw_livery", lambda *_: np.concatenate(tiles))
    scene = normalize(make_car(2, "van", kind="racing"))
    azimuths, elevations = (
        torch.tensor([90.0, -90.0, 0.0]).deg2rad(),
        torch.tensor([0.0, 0.0, 89.0]).deg2rad(),
    )
    pictures = render_views(scene, on_sphere(azimuths, elevations, size=48))
    for picture, color in zip(pictures, (RED, GREEN, BLUE), strict=True):
        body = picture[picture[..., 3] == 255][:, :3].astype(int)
        strong = body[np.ptp(body, axis=1) > 60]
        assert len(strong) > 0.3 * len(body)
        assert np.argmax(np.median(strong, axis=0)) == np.argmax(color)
        wrong = np.argmax(strong, axis=1) != np.argmax(color)
        assert wrong.mean() < 0.15  # rounded edges face elsewhere


def test_a_point_of_the_flank_is_where_the_sheet_says(shape):
    """The left tile is the topmost quarter: u runs along the car, v up to the roof."""
    x, z = 0.25 * shape.length, 0.5 * shape.height
    corner = np.array([x, 0.5 * shape.width, z])
    triangle = Mesh(corner + 0.01 * np.array([[0, 0, 0], [0, 0, 1.0], [1.0, 0, 0]]), np.array([[0, 1, 2]]))
    extents = shape.length, shape.width, shape.height
    _, uv = wear(triangle, extents)
    np.testing.assert_allclose(uv[0], [0.75, 0.75 + 0.5 / 4])
    _, right = wear(Mesh(triangle.vertices * [1, -1, 1], triangle.faces), extents)
    np.testing.assert_allclose(right[0], [0.75, 0.5 + 0.5 / 4])


def test_liveries_differ_and_repeat():
    paint = np.array([0.8, 0.1, 0.1])
    sheets = [draw_livery(paint, np.random.default_rng(seed)) for seed in range(12)]
    again = draw_livery(paint, np.random.default_rng(3))
    assert np.array_equal(sheets[3], again)
    assert len({sheet.tobytes() for sheet in sheets}) == 12
    assert all(sheet.shape == (4 * TILE[1], TILE[0], 3) for sheet in sheets)
    same = [np.abs(s[: TILE[1]].astype(int) - s[TILE[1] : 2 * TILE[1]]).mean() < 20 for s in sheets]
    assert any(same)
    assert not all(same)


def test_light_of_its_own_is_as_much_light_from_above():
    given = sum(light.irradiance for light in LIGHTS)
    for seed in range(20):
        lights = draw_lights(np.random.default_rng(seed))
        assert 0.79 * given < sum(light.irradiance for light in lights) < 1.16 * given
        assert all(light.direction[2] < 0 < light.irradiance for light in lights)
        assert lights == draw_lights(np.random.default_rng(seed))
    assert Car("a", 0).lights() == LIGHTS
    assert Car("a", 0, "racing").lights() != LIGHTS
