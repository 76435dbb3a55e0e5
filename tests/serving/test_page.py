"""The page in a real browser, from a picture to a file and back."""

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import uvicorn

from browser import drawn, open_page, pixels, until
from sparsegen.formats.gaussian_files import load_gaussians
from sparsegen.generation import Pipeline
from sparsegen.serving.app import create_app
from sparsegen.serving.studio import Studio

CAR = Path(__file__).parents[2] / "examples" / "car.png"
# Only a page that hangs waits as long.
PATIENCE = 300_000


@contextmanager
def running_server(app):
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def page_at(address, width=1000, height=640):
    with open_page(width, height) as page:
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        yield page


def settled(page):
    page.wait_for_selector("body[aria-busy=false]")
    drawn(page, "[view, ...samples.views]")


def shot(page):
    settled(page)
    return pixels(page.locator("#canvas").screenshot())


def differ(first, second, by=0.1):
    return float((first - second).abs().max()) > by


def is_orange(picture):
    """Whether an orange car is seen."""
    return float((picture[0] - picture[2]).max()) > 0.3


def press(page, name):
    page.click(f"[data-do={name}]")
    settled(page)


@pytest.mark.slow
def test_from_a_picture_to_an_edited_file_and_back(tmp_path):
    with running_server(create_app(Pipeline.from_pretrained())) as address, page_at(address) as page:
        page.set_input_files("#pictures", str(CAR))
        page.wait_for_selector("#download-row:not([hidden])")
        made = shot(page)
        assert is_orange(made)
        assert page.inner_text("#status") == "2,048 Gaussians from 128 queries."
        # the shipped weights are elastic, and their config.json says so
        assert page.get_attribute("#keep", "min") == "16"
        assert page.is_visible("#keep")
        assert -60 < float(page.input_value("#azimuth")) < 0
        assert page.evaluate("document.querySelector('#cutouts img').naturalWidth") > 100

        box = page.locator("#canvas").bounding_box()
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 120, middle[1], steps=4)
        page.mouse.up()
        turned = shot(page)
        assert differ(turned, made)
        assert "selected" not in page.inner_text("#selected")

        page.mouse.click(*middle)
        assert page.inner_text("#selected") == "1 of 128 queries selected"
        press(page, "grow")
        count = int(page.inner_text("#selected").split()[0])
        assert 1 < count < 64
        press(page, "delete")
        holed = shot(page)
        assert differ(holed, turned)
        page.keyboard.press("Control+z")
        assert not differ(shot(page), turned)
        page.keyboard.press("Control+Shift+Z")
        assert not differ(shot(page), holed)

        with page.expect_download() as saved:
            page.click("#download")
        saved.value.save_as(tmp_path / "object.ply")
        settled(page)
        left = load_gaussians(tmp_path / "object.ply")
        assert (left.count, left.expansion) == (16 * (128 - count), 16)

        page.set_input_files("#file", str(tmp_path / "object.ply"))
        settled(page)
        assert page.inner_text("#status").startswith(f"{left.count:,} Gaussians")
        assert is_orange(shot(page))


def test_by_keyboard_alone_and_errors_are_told(pipeline, tmp_path):
    (tmp_path / "page.txt").write_text("no picture")
    with running_server(create_app(pipeline)) as address, page_at(address, 360, 780) as page:
        page.set_input_files("#file", str(tmp_path / "page.txt"))
        settled(page)
        assert "not a file of 3D Gaussians" in page.inner_text("#status")
        page.set_input_files("#pictures", str(CAR))
        page.wait_for_selector("#download-row:not([hidden])")
        settled(page)
        # nothing is wider than a phone
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.evaluate("$('hint').hidden = true")
        page.focus("#canvas")
        before = shot(page)
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        assert differ(shot(page), before)
        page.focus("[data-do=invert]")
        page.keyboard.press("Enter")
        settled(page)
        assert page.inner_text("#selected") == "6 of 6 queries selected"
        page.keyboard.press("Delete")
        assert float(shot(page)[:, :150].min()) > 0.99
        page.keyboard.press("Control+z")
        assert float(shot(page)[:, :150].min()) < 0.99


@pytest.fixture
def made(pipeline):
    """The page with an object of six queries on it."""
    with running_server(create_app(pipeline)) as address, page_at(address) as page:
        page.set_input_files("#pictures", str(CAR))
        page.wait_for_selector("#download-row:not([hidden])")
        settled(page)
        yield page


def file_of(page, folder):
    with page.expect_download() as saved:
        page.click("#download")
    saved.value.save_as(folder / "object.ply")
    settled(page)
    return load_gaussians(folder / "object.ply")


def test_the_number_of_queries_is_scrubbed_and_what_is_shown_is_downloaded(made, tmp_path):
    page = made
    until(page, "document.querySelector('#size').textContent.endsWith('KB')")
    whole = shot(page)
    assert page.inner_text("#size").startswith("6 of 6 queries · 12 Gaussians")
    page.focus("#keep")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    until(page, "document.querySelector('#size').textContent.startsWith('3 of 6 queries · 6 G')")
    fewer = shot(page)
    assert differ(fewer, whole)
    assert file_of(page, tmp_path).count == 6
    size = (tmp_path / "object.ply").stat().st_size
    until(page, f"document.querySelector('#size').textContent.endsWith(' {-(-size // 1000)} KB')")
    press(page, "invert")
    assert page.inner_text("#selected") == "3 of 3 queries selected"
    press(page, "recolor")
    page.focus("#keep")
    page.keyboard.press("End")
    until(page, "document.querySelector('#size').textContent.startsWith('6 of 6')")
    settled(page)
    # the edit stays, and names the queries that it named
    colors = file_of(page, tmp_path).colors
    assert float((colors[:6].mean(0) - colors[6:].mean(0)).abs().max()) > 0.1


def test_the_camera_is_turned_by_hand_and_by_keys(made):
    page = made
    assert len(page.query_selector_all("#estimates button")) == 3
    assert page.inner_text("#distance") == "1.3 object sizes away, it seems"
    before = page.get_attribute("#dial-azimuth", "aria-valuenow")
    box = page.locator("#dial-azimuth").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)  # the top of the dial is the object's left
    page.mouse.up()
    until(page, "objects.length === 2")
    settled(page)
    assert before != "90"
    assert page.input_value("#azimuth") == "90"
    assert page.evaluate("objects[1].job.cameras[0].azimuth") == pytest.approx(90, abs=0.6)
    elevation = float(page.input_value("#elevation"))
    page.focus("#dial-elevation")
    page.keyboard.press("PageUp")
    until(page, "objects.length === 3")
    settled(page)
    assert float(page.input_value("#elevation")) == pytest.approx(elevation + 10, abs=1)
    page.fill("#azimuth", "-20")
    until(page, "objects.length === 4")
    settled(page)
    assert page.evaluate("objects[3].job.cameras[0].azimuth") == -20
    assert page.input_value("#roll") == "0"
    page.fill("#roll", "12")
    until(page, "objects.length === 5")
    settled(page)
    azimuth, roll = page.evaluate("[objects[4].job.cameras[0].azimuth, objects[4].job.cameras[0].roll]")
    assert (azimuth, roll) == (-20, 12)
    page.fill("#roll", "120")
    page.focus("#azimuth")
    assert page.inner_text("#status") == "Tilt°: expected -90 to 90, found 120."
    assert page.input_value("#roll") == "12"
    page.click("#refind")
    until(page, "objects.length === 6")
    settled(page)
    assert (page.input_value("#azimuth"), page.input_value("#roll")) == (before, "0")


def test_parts_are_moved_scaled_recolored_and_swapped(made, tmp_path):
    page = made
    whole = file_of(page, tmp_path)
    press(page, "invert")
    press(page, "move")  # the first of them: forward
    moved = file_of(page, tmp_path)
    offset = (moved.means - whole.means).mean(0).tolist()
    assert offset == pytest.approx([0.03, 0, 0], abs=1e-4)
    press(page, "larger")
    assert float((file_of(page, tmp_path).scales / whole.scales).mean()) == pytest.approx(1.15, abs=1e-3)
    page.fill("#color", "#0000ff")
    press(page, "recolor")
    assert file_of(page, tmp_path).colors.mean(0).argmax() == 2
    page.fill("#azimuth", "150")
    until(page, "objects.length === 2")
    settled(page)
    other = file_of(page, tmp_path)
    assert not torch.allclose(other.means, whole.means, atol=1e-3)
    press(page, "invert")
    press(page, "swap")
    torch.testing.assert_close(file_of(page, tmp_path).means, whole.means)
    press(page, "undo")
    torch.testing.assert_close(file_of(page, tmp_path).means, other.means)
    press(page, "clear")
    page.evaluate("editor.select([0])")
    page.select_option("#by", "alike")
    press(page, "grow")
    assert page.inner_text("#selected") == "2 of 6 queries selected"
    press(page, "shrink")
    press(page, "shrink")
    assert page.inner_text("#selected") == "Click a part to select it."


def test_detail_makes_the_object_again_as_sharp_as_the_picture(made):
    page = made
    before = page.evaluate("view.count")
    assert page.is_visible("#keep")
    page.check("#detail")
    settled(page)
    assert page.evaluate("view.count") == 9 * before
    assert page.is_hidden("#keep")  # a slider could not keep up with it
    page.evaluate("editor.select([0])")
    press(page, "delete")
    assert page.evaluate("view.count") == 9 * before - 18
    page.uncheck("#detail")
    settled(page)
    assert page.evaluate("view.count") == before - 2  # an edit stays
    press(page, "undo")
    assert page.evaluate("view.count") == before


def test_samples_stand_side_by_side_and_turn_as_one(made):
    page = made
    page.fill("#samples", "2")
    assert page.input_value("#steps") == "10"
    page.fill("#steps", "2")
    page.click("#again")
    page.wait_for_selector("#compare:not([hidden])")
    settled(page)
    page.click("#compare")
    settled(page)
    canvases = page.locator("#compared canvas")
    assert canvases.count() == 2
    before = [pixels(canvases.nth(i).screenshot()) for i in range(2)]
    assert page.evaluate("samples.views[0].data.some((x, i) => x !== samples.views[1].data[i])")
    canvases.nth(0).focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    settled(page)
    assert all(differ(pixels(canvases.nth(i).screenshot()), before[i], 0.03) for i in range(2))
    page.locator("#compared button").nth(1).click()
    settled(page)
    assert page.evaluate("editor.sample") == 1
    assert page.is_hidden("#compared")


def test_pictures_are_pasted_one_after_the_other(made):
    page = made
    page.check("#more")
    page.evaluate(
        """async (address) => {
            const data = new DataTransfer();
            const picture = await (await fetch(address)).blob();
            data.items.add(new File([picture], "pasted.png", { type: "image/png" }));
            dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        page.get_attribute("#cutouts img", "src"),
    )
    until(page, "objects.length === 2")
    settled(page)
    assert page.locator("#cutouts img").count() == 2
    assert page.evaluate("objects[1].job.cameras.length") == 2


def test_a_long_job_shows_its_stage_and_stops_when_it_is_cancelled(pipeline, monkeypatch):
    stages, go = [], threading.Event()

    def slow(studio, order, report):
        report("finding the camera", 0.25)
        go.wait(PATIENCE / 1000)
        stages.append("went on")
        report("making the object", 0.5)
        raise AssertionError("a cancelled job goes on")

    monkeypatch.setattr(Studio, "make", slow)
    with running_server(create_app(pipeline)) as address, page_at(address) as page:
        page.set_input_files("#pictures", str(CAR))
        until(page, "document.querySelector('#status').textContent === 'Finding the camera…'")
        assert page.evaluate("document.querySelector('#progress').value") == 0.25
        page.click("#cancel")
        until(page, "document.querySelector('#status').textContent === 'Cancelled.'")
        settled(page)
        assert page.is_hidden("#working")
        go.set()
    assert stages == ["went on"]
