"""A box around one object of a picture, drawn on the page in a real browser."""

import numpy as np
import pytest
from PIL import Image
from test_page import page_at, running_server, settled

from browser import until
from sparsegen.serving.app import create_app


@pytest.fixture
def two_cars(tmp_path):
    """A red shape and a blue one, over white, 400 pixels wide."""
    pixels = np.full((160, 400, 3), 255, np.uint8)
    pixels[50:110, 20:150] = (200, 30, 30)
    pixels[40:110, 250:380] = (30, 30, 200)
    Image.fromarray(pixels).save(tmp_path / "two.png")
    return str(tmp_path / "two.png")


@pytest.fixture(params=[(1000, 640), (360, 780)], ids=["desktop", "phone"])
def page(request, pipeline):
    with running_server(create_app(pipeline)) as address, page_at(address, *request.param) as page:
        yield page


def give(page, path):
    page.set_input_files("#pictures", path)
    until(page, "objects.length === 1")
    settled(page)


def cutout(page):
    """Width and height of the cut-out that the page shows, and the mean color of its object."""
    until(page, "document.querySelector('#cutouts img').complete")
    return page.evaluate(
        """() => {
            const image = document.querySelector('#cutouts img'), canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const middle = [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data];
            return [canvas.width, canvas.height, middle];
        }"""
    )


def drag(page, start, end):
    """In shares of the picture."""
    page.locator("#frame").scroll_into_view_if_needed()
    until(page, "document.querySelector('#original').naturalWidth > 0")
    box = page.locator("#frame").bounding_box()
    x, y = ([box["x"] + box["width"] * p[0], box["y"] + box["height"] * p[1]] for p in (start, end))
    page.mouse.move(*x)
    page.mouse.down()
    page.mouse.move(*y, steps=5)
    page.mouse.up()


def test_a_box_is_drawn_and_the_object_made_from_it(page, two_cars):
    give(page, two_cars)
    assert cutout(page)[0] == 360  # both
    page.click("#box-open")
    drag(page, (0.98, 0.8), (0.6, 0.2))  # from any corner
    values = [int(page.input_value(f"#box-{edge}")) for edge in ("left", "top", "right", "bottom")]
    assert values == pytest.approx([240, 32, 392, 128], abs=3)
    drawn, frame = page.locator("#box").bounding_box(), page.locator("#frame").bounding_box()
    assert (drawn["x"] - frame["x"]) / frame["width"] == pytest.approx(0.6, abs=0.02)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#box-use")
    until(page, "objects.length === 2")
    settled(page)
    assert cutout(page) == [130, 70, [30, 30, 200, 255]]
    assert page.is_hidden("#boxing")
    page.click("#again")  # the box stays with its picture
    until(page, "objects.length === 3")
    settled(page)
    assert cutout(page)[0] == 130
    page.click("#box-open")
    assert page.input_value("#box-left") == str(values[0])
    page.click("#box-none")
    until(page, "objects.length === 4")
    settled(page)
    assert cutout(page)[0] == 360


def test_a_box_is_typed(page, two_cars):
    give(page, two_cars)
    page.focus("#box-open")
    page.keyboard.press("Enter")
    assert page.get_attribute("#box-open", "aria-expanded") == "true"
    page.click("#box-use")
    assert "Draw a box around the object first" in page.inner_text("#status")
    for edge, value in zip(("left", "top", "right", "bottom"), (8, 40, 165, 120), strict=True):
        page.fill(f"#box-{edge}", str(value))
    page.focus("#box-use")
    page.keyboard.press("Enter")
    until(page, "objects.length === 2")
    settled(page)
    assert cutout(page) == [130, 60, [200, 30, 30, 255]]


def test_a_picture_that_cannot_be_cut_out_asks_for_a_box(page, two_cars, tmp_path):
    """White all over: nothing stands out. The next picture needs none, and the box is put away."""
    pixels = np.full((120, 200, 3), 255, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    page.set_input_files("#pictures", str(tmp_path / "plain.png"))
    until(page, "!document.querySelector('#boxing').hidden")
    settled(page)
    assert page.inner_text("#status").endswith("or draw a box around the object")
    assert page.is_hidden("#seen")
    give(page, two_cars)
    assert page.is_hidden("#boxing")
    assert cutout(page)[0] == 360
