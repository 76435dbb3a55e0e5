"""What the page keeps, refuses and says while its user changes their mind, in a real browser."""

import threading

import pytest
from test_page import CAR, page_at, press, running_server, settled

from browser import until
from sparsegen.serving.app import create_app
from sparsegen.serving.studio import Studio


def make(page):
    page.set_input_files("#pictures", str(CAR))
    page.wait_for_selector("#download-row:not([hidden])")
    settled(page)


def status(page):
    """What the page says, and whether as an error."""
    return page.inner_text("#status"), page.evaluate("$('status').classList.contains('wrong')")


def count(page):
    settled(page)
    return page.evaluate("view.count")


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.tagName")


def choose_sample(page, i):
    page.locator("#samples-list button").nth(i).click()
    settled(page)


def test_edits_stay_with_their_samples_and_when_the_object_is_made_again(pipeline):
    now = [0.0]
    app = create_app(pipeline, clock=lambda: now[0])
    with running_server(app) as address, page_at(address) as page:
        make(page)
        page.fill("#samples", "2")
        page.fill("#steps", "2")
        page.click("#again")
        settled(page)
        page.evaluate("editor.select([0])")
        press(page, "delete")
        choose_sample(page, 1)
        assert count(page) == 12
        choose_sample(page, 0)
        assert count(page) == 10

        # a comparison that fails leaves none; one that stands leaves the object behind it alone
        page.evaluate("void (window.scene = api.scene)")
        page.evaluate(
            "void (api.scene = (...of) => of[1] ? Promise.reject(new Error('no answer')) : scene(...of))"
        )
        page.click("#compare")
        settled(page)
        assert status(page) == ("no answer", True)
        assert page.is_hidden("#compared")
        page.evaluate("void (api.scene = scene)")
        page.click("#compare")
        settled(page)
        assert status(page) == ("12 Gaussians from 6 queries.", False)
        assert page.locator("#compared canvas[role=application]").count() == 2
        for pressed in ("Control+z", "Delete", "]"):
            page.keyboard.press(pressed)
        assert (count(page), page.evaluate("editor.done.length")) == (10, 1)
        page.keyboard.press("Escape")
        settled(page)
        assert page.is_hidden("#compared")
        page.click("#compare")
        settled(page)
        page.locator("#compared button").nth(0).press("Enter")
        until(page, "$('compared').hidden")
        assert (count(page), focused(page)) == (10, "canvas")

        page.click("#again")
        assert count(page) == 10
        now[0] = 4000  # the server forgets everything, the page has its pictures still
        page.click("#again")
        until(page, "objects.length === 4")
        assert count(page) == 10
        assert not status(page)[1]
        press(page, "undo")
        assert count(page) == 12

        # edits that cannot be carried over are not lost: they can be done again
        page.evaluate("editor.remember([{ kind: 'swap', queries: [0], other_job: 'gone' }], [])")
        page.click("#again")
        settled(page)
        assert "Its edits are undone (the other object is gone" in status(page)[0]
        assert page.is_enabled("[data-do=redo]")


def test_what_cannot_be_used_is_named_before_it_is_sent(pipeline):
    with running_server(create_app(pipeline)) as address, page_at(address) as page:
        car = CAR.read_bytes()
        picture = {"name": "car", "mimeType": "application/octet-stream", "buffer": car}
        page.set_input_files("#pictures", [picture] * 5)
        settled(page)
        assert status(page) == ("5 pictures: expected at most 4 of one object; leave some out.", True)
        page.set_input_files("#pictures", [picture])  # no suffix, no type: it is one by where it was put
        page.wait_for_selector("#download-row:not([hidden])")
        settled(page)
        page.evaluate(
            """async (address) => {
                const data = new DataTransfer(), picture = await (await fetch(address)).blob();
                for (const name of ["car", "car.ply"]) data.items.add(new File([picture], name));
                dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
            }""",
            page.get_attribute("#cutouts img", "src"),
        )
        until(page, "objects.length === 2")
        settled(page)
        assert status(page) == ("12 Gaussians from 6 queries. Left out: car.ply.", False)

        page.fill("#samples", "9")
        page.click("#again")
        settled(page)
        assert status(page) == ("Samples: expected a whole number from 1 to 4, found 9; correct it.", True)
        page.fill("#samples", "1")
        page.fill("#elevation", "-60")
        elevation = page.get_attribute("#dial-elevation", "aria-valuenow")
        page.focus("#azimuth")
        assert status(page) == ("Elevation°: expected -30 to 90, found -60.", True)
        assert page.input_value("#elevation") == elevation
        page.fill("#azimuth", "36.6")
        until(page, "objects.length === 3")
        settled(page)
        assert page.evaluate("editor.job.cameras[0].azimuth") == pytest.approx(36.6)
        assert page.input_value("#azimuth") == "36.6"
        assert status(page) == ("12 Gaussians from 6 queries.", False)
        page.locator("#estimates button").nth(1).press("Enter")
        until(page, "objects.length === 4")
        settled(page)
        assert page.evaluate("[...$('estimates').children].indexOf(document.activeElement)") == 1

        # what cannot be shown is no object to swap with
        page.evaluate("void (api.scene = () => Promise.reject(new Error('no answer')))")
        page.click("#again")
        settled(page)
        assert status(page) == ("no answer", True)
        assert page.evaluate("objects.length") == 4


@pytest.fixture
def gated(monkeypatch):
    """Jobs that wait for `go`, and what became of them."""
    go, ended, real = threading.Event(), [], Studio.make

    def waiting(studio, order, report):
        report("finding the camera", 0.25)
        go.wait()
        try:
            report("finding the camera", 0.5)
        except BaseException:
            ended.append("stopped")
            raise
        return real(studio, order, report)

    monkeypatch.setattr(Studio, "make", waiting)
    go.set()
    yield go, ended
    go.set()


def boxes(page):
    return page.evaluate("['stage', 'canvas', 'panel'].map((id) => $(id).getBoundingClientRect().toJSON())")


def working(page):
    until(page, "$('status').textContent.startsWith('Finding the camera…')")


def test_while_a_job_runs_the_page_says_so_and_stays_in_place(pipeline, gated):
    go, ended = gated
    with running_server(create_app(pipeline)) as address, page_at(address, 360, 740) as page:
        make(page)
        before, shown = boxes(page), page.get_attribute("#dial-elevation", "aria-valuenow")
        go.clear()
        page.focus("#again")
        page.keyboard.press("Enter")
        working(page)
        page.wait_for_selector("#working:not([hidden])")
        page.evaluate("scrollTo(0, 0)")
        assert boxes(page) == before
        for control in ("#again", "#download", "#detail", "#pictures", "#file"):
            assert page.is_disabled(control)
        page.evaluate("take([new File([], 'car.png')])")
        assert status(page) == ("Finding the camera… Busy: cancel first, or wait.", False)
        # a camera that is set now is that of the next object
        page.focus("#dial-elevation")
        page.keyboard.press("PageUp")
        go.set()
        until(page, "objects.length === 3")
        settled(page)
        raised = page.get_attribute("#dial-elevation", "aria-valuenow")
        assert int(raised) == int(shown) + 10
        assert page.evaluate("Math.round(editor.job.cameras[0].elevation)") == int(raised)

        # after a cancelled job the page shows the cameras and the detail of the object that is there
        go.clear()
        page.check("#detail")
        working(page)
        page.focus("#dial-elevation")
        page.keyboard.press("PageUp")
        page.focus("#cancel")
        page.keyboard.press("Enter")
        settled(page)
        assert status(page) == ("Cancelled.", False)
        assert not page.is_checked("#detail")
        assert page.get_attribute("#dial-elevation", "aria-valuenow") == raised
        assert focused(page) == "detail"
        go.set()
        press(page, "invert")
        assert status(page) == ("12 Gaussians from 6 queries.", False)

        page.set_viewport_size({"width": 740, "height": 360})
        assert all(box["height"] > 180 for box in boxes(page))  # of the 360 there are
        assert page.evaluate("document.documentElement.scrollWidth") == 740
        until(page, "document.body.ariaBusy === 'false'")
        go.clear()
        ended.clear()
        page.click("#again")
        working(page)
        page.reload()  # nobody waits for that job any more
        jobs = page.evaluate("api.job('x').catch((error) => error.status)")
        assert jobs == 404
        go.set()
        make(page)  # comes after it
        assert ended == ["stopped"]
