"""Facts about procedural cars: which way they face, what they stand on, that they are closed, repeatable."""

import io

import numpy as np
import pytest
import trimesh

from sparsegen.data.procedural.body import make_body
from sparsegen.data.procedural.cars import STYLES, make_car
from sparsegen.data.procedural.meshing import _first_hits
from sparsegen.data.procedural.styles import HEAVY, KINDS, SHARES, draw_shape
from sparsegen.errors import InputError

HEIGHTS = {  # metres, generous
    "sedan": (1.3, 1.65), "hatchback": (1.3, 1.65), "estate": (1.3, 1.7), "suv": (1.55, 2.0),
    "pickup": (1.65, 2.0), "van": (1.75, 2.45), "sports": (1.1, 1.4), "coupe": (1.2, 1.5),
    "minicar": (1.35, 1.75), "bus": (2.5, 3.1), "beetle": (1.35, 1.7), "roadster": (1.0, 1.4),
    "stock": (1.1, 1.5), "lorry": (1.7, 2.8), "formula": (0.85, 1.25),
    "box": (2.6, 4.2), "tank": (2.4, 3.6), "tipper": (2.4, 3.6), "garbage": (2.6, 3.8),
    "fire_engine": (2.4, 4.0), "city_bus": (2.7, 3.6), "coach": (3.1, 4.2), "minibus": (2.2, 2.9),
}  # fmt: skip


@pytest.fixture(scope="module")
def cars() -> list[tuple[str, trimesh.Scene]]:
    """Those with a body and a cabin."""
    closed = [style for style in STYLES if style not in ("roadster", "formula")]
    return [(style, make_car(3 * k + turn, style)) for k, style in enumerate(closed) for turn in range(3)]


@pytest.fixture(scope="module")
def every(cars) -> list[tuple[str, trimesh.Scene]]:
    return cars + [(style, make_car(turn, style)) for style in ("roadster", "formula") for turn in range(3)]


@pytest.fixture(scope="module")
def varied() -> list[tuple[str, trimesh.Scene]]:
    styles = [style for style, share in zip(STYLES, SHARES["varied"], strict=True) if share]
    return [(style, make_car(turn, style, "varied")) for style in styles for turn in range(2)]


def part(scene: trimesh.Scene, name: str) -> trimesh.Trimesh:
    mesh = scene.geometry[name]
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


def base_colour(mesh: trimesh.Trimesh) -> np.ndarray:
    """Linear RGBA in 0..1; trimesh keeps eight bits of it."""
    material = getattr(mesh.visual, "material")  # noqa: B009 - the declared type is too wide
    return np.asarray(material.baseColorFactor, float) / 255


def triangles(scene: trimesh.Scene) -> np.ndarray:
    return np.concatenate([part(scene, name).triangles for name in scene.geometry])


def test_every_part_is_finite_and_has_area(every, varied):
    for style, scene in every + varied:
        assert 8 <= len(scene.geometry) <= 16
        assert 6_000 < sum(len(part(scene, name).faces) for name in scene.geometry) < 20_000, style
        for name in scene.geometry:
            mesh = part(scene, name)
            assert np.isfinite(mesh.vertices).all()
            assert len(mesh.faces) > 0
            assert (mesh.area_faces > 0).all()


def test_length_along_x_then_width_then_height_as_on_a_road(every):
    for style, scene in every:
        length, _, height = scene.extents
        width = np.ptp(part(scene, "paint").vertices[:, 1])
        low, high = HEIGHTS[style]
        assert length > 1.5 * width > 0
        assert low < height < high
        assert 2.8 < length < 12.5


def having(cars: list[tuple[str, trimesh.Scene]], name: str) -> list[trimesh.Scene]:
    return [scene for _, scene in cars if name in scene.geometry]


def test_only_stock_cars_and_single_seaters_are_without_lamps(every):
    dark = {style for style, scene in every if "head_lamp" not in scene.geometry}
    assert dark == {"stock", "formula"}


def test_faces_plus_x(every, varied):
    for name, sign in (("head_lamp", 1), ("tail_lamp", -1)):
        for scene in having(every + varied, name):
            ahead = part(scene, name).vertices[:, 0] - scene.bounds.mean(0)[0]
            assert (sign * ahead).min() > 0


def test_single_seaters_have_their_larger_wheels_and_their_air_box_behind(every):
    for _, scene in every[-3:]:
        tyre, helmet = part(scene, "tyre").vertices, part(scene, "glass").bounds.mean(0)
        assert tyre[tyre[:, 0] < 0, 2].max() >= tyre[tyre[:, 0] > 0, 2].max()
        box = part(scene, "cabin").vertices
        assert box[np.argmax(box[:, 2] * (np.abs(box[:, 0]) < 1)), 0] < helmet[0]


def test_head_lamps_look_forward_and_tail_lamps_backward(every, varied):
    for name, sign in (("head_lamp", 1), ("tail_lamp", -1)):
        for scene in having(every + varied, name):
            assert sign * part(scene, name).face_normals[:, 0].mean() > 0.3


def test_stands_on_four_tyres(every, varied):
    for style, scene in every + varied:
        tyre = part(scene, "tyre")
        assert tyre.bounds[0, 2] == pytest.approx(scene.bounds[0, 2], abs=1e-6), style
        assert tyre.bounds[0, 2] == pytest.approx(0, abs=0.01)
        wheels = {(x > 0, y > 0) for x, y, _ in tyre.vertices}
        assert len(wheels) == 4
        touching = tyre.vertices[tyre.vertices[:, 2] < 0.02]
        assert {(x > 0, y > 0) for x, y, _ in touching} == wheels


@pytest.mark.parametrize("name", ["paint", "cabin", "glass", "under", "tyre", "head_lamp"])
def test_left_mirrors_right(every, varied, name):
    from scipy.spatial import KDTree

    for scene in having(every + varied, name):
        points = part(scene, name).vertices
        distance, _ = KDTree(points).query(points * [1, -1, 1])
        assert distance.max() < 0.02  # draped patches may pick either neighbour on a triangle's edge


def test_windows_lie_on_the_cabin(cars):
    """Those of buses, and glazed doors, on the lower body too."""
    for style, scene in cars[::3]:
        glass, cabin = part(scene, "glass"), part(scene, "cabin")
        if style in HEAVY:
            cabin = trimesh.util.concatenate([cabin, part(scene, "paint")])
        points = glass.triangles_center[::7]
        _, distance, _ = trimesh.proximity.closest_point_naive(cabin, points)
        assert distance.max() < 0.04
        assert distance.mean() < 0.02


def seen_from_behind(scene: trimesh.Scene) -> float:
    """Share of the rays onto a car, from four sides, that first meet the back of a triangle."""
    grid = np.linspace(-0.5, 0.5, 40)
    corners = triangles(scene)
    bad = hit = 0
    for azimuth, elevation in ((25, 20), (160, 8), (90, 3), (200, 40)):
        a, e = np.deg2rad([azimuth, elevation])
        out = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.array([-np.sin(a), np.cos(a), 0.0])
        up = np.cross(out, right)
        u, v = (w.reshape(-1, 1) * np.linalg.norm(scene.extents) for w in np.meshgrid(grid, grid))
        origins = scene.bounds.mean(0) + 20 * out + u * right + v * up
        rays = np.broadcast_to(-out, origins.shape).copy()
        _, front = _first_hits(origins, rays, corners)
        _, back = _first_hits(origins, rays, np.ascontiguousarray(corners[:, ::-1]))
        bad += int((back < front - 1e-3).sum())
        hit += int(np.isfinite(np.minimum(front, back)).sum())
    return bad / hit


def test_surfaces_face_outwards_and_leave_no_hole(every, varied):
    """Only the rims of patches that stand a few millimetres above the paint show their back."""
    shares = [seen_from_behind(scene) for _, scene in every[::3] + varied[::2]]
    assert np.mean(shares) < 0.006
    assert max(shares) < 0.012


@pytest.mark.parametrize("lost", ["cabin", "paint"])
def test_a_lost_part_leaves_a_hole(lost):
    scene = make_car(5, "van")
    scene.delete_geometry([lost])
    assert seen_from_behind(scene) > 0.03


def test_same_seed_same_bytes_and_other_seeds_differ():
    first, again, other = make_car(7), make_car(7), make_car(8)
    assert list(first.geometry) == list(again.geometry)
    for name in first.geometry:
        assert part(first, name).vertices.tobytes() == part(again, name).vertices.tobytes()
        assert part(first, name).faces.tobytes() == part(again, name).faces.tobytes()
    assert triangles(first).shape != triangles(other).shape or (triangles(first) != triangles(other)).any()


def first_seen_from_above(scene: trimesh.Scene) -> np.ndarray:
    """Heights along the line from the wind-screen's foot backwards, at a seat's outer edge."""
    origins = np.stack([np.linspace(-0.6, 0.4, 30), np.full(30, 0.56), np.full(30, 5.0)], -1)
    _, distance = _first_hits(origins, np.tile([0.0, 0.0, -1.0], (30, 1)), triangles(scene))
    return 5 - distance


def test_an_open_cockpit_is_open_and_a_roof_closed():
    """One looks down below the doors' edge, about a metre high, onto the floor."""
    for seed in range(3):
        assert first_seen_from_above(make_car(seed, "roadster")).min() < 0.55
        assert first_seen_from_above(make_car(seed, "coupe")).min() > 0.8


def test_mudguards_stand_out_over_the_wheels():
    for seed in range(3):
        paint = part(make_car(seed, "beetle"), "paint").vertices
        tyre = part(make_car(seed, "beetle"), "tyre").vertices
        axle = np.median(tyre[tyre[:, 0] > 0, 0])
        at_doors = np.abs(paint[np.abs(paint[:, 0]) < 0.3, 1]).max()
        at_wheels = np.abs(paint[np.abs(paint[:, 0] - axle) < 0.3, 1]).max()
        assert at_wheels > at_doors + 0.08


@pytest.mark.parametrize("kind", KINDS)
def test_every_style_of_a_kind_is_drawn_from_some_seed(monkeypatch, kind):
    from sparsegen.data.procedural import cars

    drawn = []

    def draw(style, *_):
        drawn.append(style)
        return {}, {"paint": None}, None

    monkeypatch.setattr(cars, "_build", draw)
    monkeypatch.setattr(cars, "_build_formula", draw)
    monkeypatch.setattr(cars, "_build_heavy", draw)
    monkeypatch.setattr(cars, "_draw_sheet", lambda *_: None)
    for seed in range(300):
        make_car(seed, kind=kind)
    assert set(drawn) == {style for style, share in zip(STYLES, SHARES[kind], strict=True) if share}
    assert sum(SHARES[kind]) == pytest.approx(1)


def test_every_style_belongs_to_some_kind():
    assert (np.sum([SHARES[kind] for kind in KINDS], axis=0) > 0).all()


@pytest.mark.parametrize(("style", "kind"), [("stock", "unusual"), ("coach", "heavy")])
def test_half_of_the_unusual_and_the_heavy_wear_a_picture(style, kind):
    worn = [
        "baseColorTexture" in make_car(seed, style, kind).geometry["paint"].visual.material._data
        for seed in range(16)
    ]
    assert 4 <= sum(worn) <= 12


def test_heavy_vehicles_are_as_long_as_on_a_road():
    for style in HEAVY:
        assert 5 < make_car(2, style, "heavy").extents[0] < 12.5


def test_tyres_of_a_lorry_stand_in_pairs_behind():
    for seed in range(3):
        tyre = part(make_car(seed, "box", "heavy"), "tyre").vertices
        ahead, behind = tyre[tyre[:, 0] > 0], tyre[tyre[:, 0] < 0]
        assert np.abs(behind[:, 1]).min() < np.abs(ahead[:, 1]).min() - 0.2


def test_some_varied_sedans_are_as_long_behind_as_in_front():
    from sparsegen.data.procedural.faces import vary_shape

    def ratio(seed: int) -> float:
        rng = np.random.default_rng(seed)
        s = vary_shape(draw_shape("sedan", rng), rng)
        return (s.tail + s.length / 2) / (s.length / 2 - s.cowl)

    ratios = np.array([ratio(seed) for seed in range(40)])
    assert 8 <= (ratios > 0.86).sum() <= 32


def test_lamps_of_varied_cars_do_not_tell_front_from_rear():
    """In some of them the front's are no brighter than the rear's, or there are none."""
    told = 0
    for seed in range(24):
        scene = make_car(seed, "sedan", "varied")
        if {"head_lamp", "tail_lamp"} <= set(scene.geometry):
            head, tail = (base_colour(part(scene, name))[:3] for name in ("head_lamp", "tail_lamp"))
            told += bool(head.min() > 0.4 and tail[0] > 2 * tail[1:].max())
    assert 1 <= told <= 12


def test_colours_spread_as_on_a_road():
    from sparsegen.data.procedural.paint import draw_paint

    rng = np.random.default_rng(0)
    paints = np.stack([draw_paint(rng) for _ in range(2000)])
    grey = np.ptp(paints, axis=1) < 0.12
    assert paints.min() >= 0
    assert paints.max() <= 1
    assert 0.45 < grey.mean() < 0.85


def test_second_colours_differ_from_the_first_and_can_be_displayed():
    from sparsegen.data.procedural.faces import draw_second
    from sparsegen.data.procedural.paint import draw_paint

    rng = np.random.default_rng(0)
    pairs = [(paint, draw_second(paint, rng)) for paint in (draw_paint(rng) for _ in range(3000))]
    first, second = np.stack(pairs, axis=1)
    assert second.min() >= 0
    assert second.max() <= 1
    assert (np.abs(first - second).max(axis=1) > 0.1).mean() > 0.95


def test_glb_is_read_back(cars):
    _, scene = cars[0]
    data = scene.export(file_type="glb")
    assert isinstance(data, bytes)
    back = trimesh.load(io.BytesIO(data), file_type="glb")
    assert isinstance(back, trimesh.Scene)
    assert set(back.geometry) == set(scene.geometry)
    for name in scene.geometry:
        one, two = part(scene, name), part(back, name)
        assert len(one.faces) == len(two.faces)
        np.testing.assert_allclose(one.bounds, two.bounds, atol=1e-5)
        np.testing.assert_allclose(base_colour(one), base_colour(two), atol=1 / 255)


def test_smooth_flanks_shade_smoothly():
    """On the doors the vertex normals differ little from the normals of the triangles around them."""
    shape = draw_shape("sedan", np.random.default_rng(0))
    lower = make_body(shape).lower
    mesh = trimesh.Trimesh(lower.vertices, lower.faces, process=False)
    middle = np.abs(mesh.triangles_center[:, 0]) < 0.4
    agree = (mesh.vertex_normals[mesh.faces] * mesh.face_normals[:, None]).sum(-1)[middle]
    assert agree.min() > np.cos(np.deg2rad(30))


@pytest.mark.parametrize(("seed", "style", "word"), [(0, "tram", "tram"), (-1, None, "-1")])
def test_bad_requests_are_named(seed, style, word):
    with pytest.raises(InputError, match=word):
        make_car(seed, style)
