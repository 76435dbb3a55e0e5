"""Take the pictures of the page that docs/page.md shows, in headless Chromium; that of a box drawn in a
photograph, where one is given.

python benchmarks/page_pictures.py -o docs --boxed street.png 46,42,453,272
"""

import argparse
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Page, sync_playwright

from sparsegen.box import Box
from sparsegen.generation import Pipeline
from sparsegen.serving.app import create_app

CAR = Path(__file__).parents[1] / "examples" / "car.png"
_ARGUMENTS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
# Only a page that hangs waits as long.
_PATIENCE = 600_000
_TO_THE_BACK = 17  # presses of an arrow key, ten degrees each


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    parser.add_argument("--picture", type=Path, default=CAR)
    parser.add_argument("--boxed", nargs=2, metavar=("PICTURE", "BOX"), help="as for sparsegen generate")
    parser.add_argument("--model", help="model folder (default: shipped weights)")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of Chromium")
    args = parser.parse_args()
    app = create_app(Pipeline.from_pretrained(args.model, "cpu"))
    with running(app) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=args.browser, args=_ARGUMENTS)
        with browser.new_page(viewport={"width": 1180, "height": 820}) as page:
            take_desktop(page, address, args)
            if args.boxed:
                take_boxed(
                    page, address, Path(args.boxed[0]), Box.parse(args.boxed[1], "--boxed"), args.output
                )
        with browser.new_page(
            viewport={"width": 360, "height": 780}, device_scale_factor=2, has_touch=True
        ) as page:
            make(page, address, args.picture)
            page.screenshot(path=args.output / "page_phone.png")
        browser.close()


@contextmanager
def running(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def take_desktop(page: Page, address: str, args: argparse.Namespace) -> None:
    make(page, address, args.picture)
    page.check("#detail")
    rest(page)
    page.screenshot(path=args.output / "page_desktop.png")
    page.uncheck("#detail")
    rest(page)
    page.evaluate("document.querySelector('#choices').scrollIntoView()")
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.45 * box["width"], box["y"] + 0.62 * box["height"])
    page.select_option("#by", "alike")
    for _ in range(6):
        page.click("[data-do=grow]")
        rest(page)
    page.screenshot(path=args.output / "page_selected.png")
    page.fill("#samples", "4")
    page.click("#again")
    page.wait_for_selector("#compare:not([hidden])")
    rest(page)
    page.click("#compare")
    rest(page)
    page.locator("#compared canvas").first.focus()
    for _ in range(_TO_THE_BACK):
        page.keyboard.press("ArrowRight")
    rest(page)
    page.screenshot(path=args.output / "page_samples.png")


def take_boxed(page: Page, address: str, picture: Path, box: Box, output: Path) -> None:
    """The box as it is drawn, and the object before it is made again."""
    make(page, address, picture)
    page.click("#box-open")
    for edge, value in box._asdict().items():
        page.fill(f"#box-{edge}", f"{value:g}")
    rest(page)
    page.screenshot(path=output / "page_box.png")


def make(page: Page, address: str, picture: Path) -> None:
    page.set_default_timeout(_PATIENCE)
    page.goto(address)
    page.set_input_files("#pictures", picture)
    page.wait_for_selector("#download-row:not([hidden])")
    rest(page)
    while not page.inner_text("#size").endswith("KB"):
        page.wait_for_timeout(50)


def rest(page: Page) -> None:
    """Until nothing is at work and all is drawn."""
    page.wait_for_selector("body[aria-busy=false]")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate("Promise.all([view, ...samples.views].map((one) => one.last))")


if __name__ == "__main__":
    main()
