"""The page in a real browser, from a picture to a file and back."""

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from browser import open_page, pixels
from sparsegen.formats.gaussian_files import load_gaussians
from sparsegen.generation import Pipeline
from sparsegen.serving.app import create_app

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
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def shot(page):
    settled(page)
    return pixels(page.locator("#canvas").screenshot())


def differ(first, second):
    return float((first - second).abs().max()) > 0.1


def press(page, name):
    page.click(f"[data-do={name}]")
    settled(page)


@pytest.mark.slow
def test_from_a_picture_to_an_edited_file_and_back(tmp_path):
    with running_server(create_app(Pipeline.from_pretrained())) as address, page_at(address) as page:
        empty = pixels(page.locator("#canvas").screenshot())
        page.set_input_files("#pictures", str(CAR))
        page.wait_for_selector("#download-row:not([hidden])")
        made = shot(page)
        assert differ(made, empty)
        assert page.inner_text("#status") == "2,048 Gaussians from 128 queries."
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
        assert differ(shot(page), empty)


def test_by_keyboard_alone_and_errors_are_told(pipeline, tmp_path):
    (tmp_path / "page.txt").write_text("no picture")
    with running_server(create_app(pipeline)) as address, page_at(address, 390, 844) as page:
        page.set_input_files("#file", str(tmp_path / "page.txt"))
        settled(page)
        assert "not a file of 3D Gaussians" in page.inner_text("#status")
        page.set_input_files("#pictures", str(CAR))
        page.wait_for_selector("#download-row:not([hidden])")
        settled(page)
        # nothing is wider than a phone
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.focus("#canvas")
        before = shot(page)
        page.keyboard.press("ArrowRight")
        assert differ(shot(page), before)
        page.focus("[data-do=invert]")
        page.keyboard.press("Enter")
        settled(page)
        assert page.inner_text("#selected") == "6 of 6 queries selected"
        page.keyboard.press("Delete")
        assert float(shot(page)[:, :300].min()) > 0.99
        page.keyboard.press("Control+z")
        assert float(shot(page)[:, :300].min()) < 0.99
