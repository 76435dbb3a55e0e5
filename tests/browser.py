"""A real browser for tests, drawing WebGL in software; tests that ask for it skip where there is none."""

import os
import shutil
import time
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from asking import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]


@contextmanager
def open_page(width=256, height=256, **options):
    """A blank page of headless Chromium; what it says of errors is raised at the end."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if not found:
        pytest.skip("no Chromium here")
    errors = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=_ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, **options)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda m: errors.append(m.text) if _is_fault(m) else None)
            yield page
        finally:
            browser.close()
    assert not errors, errors


def _is_fault(message):
    # Browsers log every answer that refuses something, which is no fault of the page.
    return message.type == "error" and "responded with a status of 4" not in message.text


def until(page, expression):
    """Wait for something to be true (our pages' policy forbids Playwright's own way)."""
    give_up = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        assert time.monotonic() < give_up, expression
        page.wait_for_timeout(20)


def drawn(page, views="[view]"):
    """Wait until what these views were last asked to show is on their canvases."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(f"Promise.all({views}.map((one) => one.last))")


def pixels(png):
    """A screenshot's colors (3, h, w) in [0, 1]."""
    image = np.array(Image.open(BytesIO(png)).convert("RGB"))
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255
