"""The page that shows Gaussians, in a real browser and without a network."""

import math
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from browser import drawn, open_page, pixels, until
from gaussian_samples import recorded
from sparsegen.cameras import on_sphere
from sparsegen.cli.main import main
from sparsegen.formats.ply import load_ply, save_ply
from sparsegen.splatting import render
from sparsegen.viewer import FOLDER, scene_bytes, viewer_html
from test_editing import row

ROOT = Path(__file__).parents[2]
SIZE = 256


def psnr(first, second):
    return -10 * math.log10((first - second).square().mean())


def camera(azimuth, elevation):
    azimuth, elevation = (torch.tensor(math.radians(a)) for a in (azimuth, elevation))
    return on_sphere(azimuth, elevation, size=SIZE)[None]


def turned_to(page, azimuth, elevation):
    """The canvas as drawn from these angles."""
    page.evaluate(f"view.orbit.azimuth = {azimuth}; view.orbit.elevation = {elevation}; view.draw()")
    return pixels(page.locator("canvas").screenshot())


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    file = tmp_path_factory.mktemp("viewer") / "page.html"
    file.write_text(viewer_html(recorded(), "</script><b>title"), "utf-8")
    with open_page(SIZE, SIZE) as page:
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        yield page
        # A blob is the page's own: the worker that sorts.
        assert [url for url in requests if not url.startswith(("file:", "blob:null/"))] == []


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 20), (-36, 26), (120, -30), (250, 80)])
def test_it_looks_like_our_own_rendering(shown, azimuth, elevation):
    shown.evaluate("document.getElementById('note').hidden = true")
    ours = render(recorded(), camera(azimuth, elevation), depth=False).rgb[0].clamp(0, 1)
    drawn = turned_to(shown, azimuth, elevation)
    assert ours.std() > 0.05
    assert psnr(drawn, ours) > 50


def test_dragging_and_keys_turn_the_object(shown):
    before = turned_to(shown, 0, 20)
    shown.mouse.move(60, 120)
    shown.mouse.down()
    shown.mouse.move(160, 120, steps=3)
    shown.mouse.up()
    until(shown, "view.orbit.azimuth > 200")
    drawn(shown)
    dragged = pixels(shown.locator("canvas").screenshot())
    assert psnr(before, dragged) < 30
    shown.keyboard.press("ArrowUp")
    until(shown, "view.orbit.elevation === 28")
    drawn(shown)
    assert psnr(dragged, pixels(shown.locator("canvas").screenshot())) < 40


def test_a_click_finds_the_query_in_front(shown):
    """In each of a grid of pixels, the picked query is the one with the most weight in our rendering."""
    gaussians, seen = recorded(), camera(-36, 26)
    turned_to(shown, -36, 26)
    weights = []
    for query in range(0, gaussians.count, 3):
        colors = torch.zeros_like(gaussians.colors)
        for channel in range(min(3, gaussians.count - query)):
            colors[query + channel, channel] = 1
        weights.extend(render(replace(gaussians, colors=colors), seen, 0.0, depth=False).rgb[0])
    weights = torch.stack(weights)
    checked = 0
    for y in range(12, SIZE, 24):
        for x in range(12, SIZE, 24):
            first, second = weights[:, y, x].topk(2).values.tolist()
            if first - second < 0.02 or weights[:, y, x].sum() < 0.4:
                continue
            assert shown.evaluate(f"view.pick({x + 0.5}, {y + 0.5})") == int(weights[:, y, x].argmax())
            checked += 1
    assert checked > 5
    assert shown.evaluate("view.pick(1, 1)") is None


def test_scene_is_what_its_description_says():
    gaussians = row(2)
    data = scene_bytes(gaussians)
    assert len(data) == 4 * 60
    third = struct.unpack("<15f", data[2 * 60 : 3 * 60])
    assert third[:4] == pytest.approx((0.1, 0, -0.005, 0.9))
    assert third[4:8] == pytest.approx((0.02, 0.02, 0.02, 1))
    assert third[8:12] == pytest.approx(gaussians.quats[2].tolist())
    assert third[12:] == pytest.approx(gaussians.colors[2].tolist())


def test_view_writes_a_page_without_links(tmp_path, capsys):
    save_ply(tmp_path / "row.ply", row())
    assert not main(["view", str(tmp_path / "row.ply"), "-o", str(tmp_path / "row.html")])
    text = (tmp_path / "row.html").read_text("utf-8")
    assert "http://" not in text
    assert "https://" not in text
    # A name that looks like a place to fill in is a name.
    named = viewer_html(load_ply(tmp_path / "row.ply"), "%SCENE%")
    assert named.replace("%SCENE%", "row.ply") == text
    assert main(["view", str(tmp_path / "row.ply"), "-o", str(tmp_path / "row.txt")]) == 2
    assert "ends in .html" in capsys.readouterr().err


def test_a_view_that_lost_its_context_comes_back(shown):
    before = turned_to(shown, 30, 20)
    shown.evaluate(
        """async () => {
            const lost = view.renderer.getContext().getExtension("WEBGL_lose_context");
            const once = { once: true };
            lost.loseContext();
            await new Promise((done) => view.canvas.addEventListener("webglcontextlost", done, once));
            setTimeout(() => lost.restoreContext());
            await new Promise((done) => view.canvas.addEventListener("webglcontextrestored", done, once));
        }"""
    )
    drawn(shown)
    torch.testing.assert_close(pixels(shown.locator("canvas").screenshot()), before)


def test_the_renderer_is_of_the_versions_that_are_asked_for():
    """`make spark` was run since its versions were changed; the licenses and versions stand in the bundle."""
    asked = dict(
        re.findall(r"(\S+)@([\d.]+)", (ROOT / "Makefile").read_text("utf-8").partition("\nspark:")[2])
    )
    bundle = (FOLDER / "spark.min.js").read_text("utf-8")
    for name, package in (("Spark", "@sparkjsdev/spark"), ("three.js", "three"), ("fflate", "fflate")):
        assert f"\n{name} {asked[package]}, Copyright" in bundle
    assert f'revision:"{asked["three"].split(".")[1]}"' in bundle
    assert "Permission is hereby granted" in bundle
