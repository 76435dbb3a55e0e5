"""The server as browsers, and others, meet it."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from asking import PATIENCE, done, opened, rows, send
from sparsegen.cameras import RADIUS
from sparsegen.formats.cutout import level
from sparsegen.formats.gaussian_files import load_gaussians
from sparsegen.models.camera_head import CameraHead, CameraHeadConfig, cell_targets
from sparsegen.photos import distance_of, frame, read_photo
from sparsegen.serving.limits import Limits
from sparsegen.serving.studio import Studio
from test_editing import row
from test_photos import save_blob


def test_a_picture_becomes_the_object_that_the_pipeline_makes(serve, picture, pipeline, tmp_path):
    client = serve()
    job = done(client, send(client, picture, samples=2, seed=3, elevation=20))
    assert (job["state"], job["samples"]) == ("done", 2)
    [camera] = job["cameras"]
    assert (camera["azimuth"], camera["elevation"], camera["agrees"]) == (-30, 20, True)
    assert (camera["distance"], camera["lens_known"]) == (pytest.approx(RADIUS), False)
    (tmp_path / "blob.png").write_bytes(picture)
    views = frame(read_photo(tmp_path / "blob.png"), 32, -30, 20)
    for sample in range(2):
        found = rows(client.post(f"/api/jobs/{job['id']}/samples/{sample}/scene", json={}))
        expected = pipeline(views, seed=3 + sample)[0]
        np.testing.assert_allclose(found[:, :3], expected.means.numpy(), atol=1e-5)
        np.testing.assert_array_equal(found[:, 7], expected.query_ids.numpy())
    cutout = client.get(f"/api/jobs/{job['id']}/cutouts/0")
    assert Image.open(io.BytesIO(cutout.content)).mode == "RGBA"


def test_cameras_of_several_pictures_are_found_unless_they_are_known(serve, picture):
    client = serve()
    job = done(client, send(client, picture, picture, elevation=20))
    assert job["state"] == "done", job
    assert [len(found) for found in job["estimates"]] == [0, 3]
    assert job["cameras"][0]["azimuth"] == pytest.approx(-30, abs=1e-3)
    cameras = [{"azimuth": 33, "elevation": 12}, {"azimuth": 120, "elevation": -4}]
    again = done(client, client.post(f"/api/jobs/{job['id']}/again", json={"cameras": cameras}))
    for found, given in zip(again["cameras"], cameras, strict=True):
        assert found["azimuth"] == pytest.approx(given["azimuth"], abs=1e-3)
        assert found["elevation"] == pytest.approx(given["elevation"], abs=1e-3)


def test_a_noted_lens_says_how_far_away_the_object_stood_though_the_picture_is_cut(serve, tmp_path):
    """An object half as large in a picture of the same lens stood twice as far away."""
    near, far = np.full((2, 300, 400, 3), 255, np.uint8)
    near[60:240, 50:350] = far[105:195, 125:275] = (200, 30, 30)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 32
    client, distances = serve(), []
    for k, pixels in enumerate((near, far)):
        path = tmp_path / f"{k}.jpg"
        Image.fromarray(pixels).save(path, exif=exif, quality=95)
        job = done(client, send(client, path.read_bytes(), elevation=20))
        [camera] = job["cameras"]
        assert camera["lens_known"]
        expected = distance_of(read_photo(path), 32, -30, 20)
        assert camera["distance"] == pytest.approx(expected, rel=0.02)
        again = client.post(
            f"/api/jobs/{job['id']}/again", json={"cameras": [{"azimuth": -30, "elevation": 20}]}
        )
        assert done(client, again)["cameras"] == [camera]
        distances.append(camera["distance"])
    assert 1.5 < distances[1] / distances[0] < 2.2


class Tilted(CameraHead):
    """Finds every picture taken from five degrees up, and turned clockwise by nine."""

    def directions_of(self, crops):
        found = cell_targets(torch.zeros(1), torch.full((1,), 5.0)).log()
        return found.expand(len(crops), -1, -1)

    def rolls_of(self, crops):
        return torch.full((len(crops),), 9.0)


def test_a_tilted_picture_is_turned_level_and_the_page_told(serve, picture, pipeline, tmp_path):
    head = Tilted(CameraHeadConfig(size=16, width=8, rolls=True)).eval()
    client = serve(replace(pipeline, camera_head=head))
    job = done(client, send(client, picture, elevation=20))
    assert job["cameras"][0]["roll"] == 9
    url, direction = f"/api/jobs/{job['id']}/again", {"azimuth": -30, "elevation": 20}
    again = done(client, client.post(url, json={"cameras": [direction]}))
    level_one = done(client, client.post(url, json={"cameras": [{**direction, "roll": 0}]}))
    assert [each["cameras"][0]["roll"] for each in (again, level_one)] == [9, 0]
    (tmp_path / "blob.png").write_bytes(picture)
    found = rows(client.post(f"/api/jobs/{job['id']}/samples/0/scene", json={}))[:, :3]
    tilted = read_photo(tmp_path / "blob.png")
    upright, as_it_is = (
        pipeline(frame(rgba, 32, -30, 20))[0].means.numpy() for rgba in (level(tilted, 9.0), tilted)
    )
    np.testing.assert_allclose(found, upright, atol=3e-4)  # the page's cut-out has lost its empty border
    assert np.abs(found - as_it_is).max() > 1e-3
    found = rows(client.post(f"/api/jobs/{level_one['id']}/samples/0/scene", json={}))[:, :3]
    np.testing.assert_allclose(found, as_it_is, atol=1e-5)


@pytest.mark.parametrize("kind", ["ply", "compressed.ply", "splat", "spz", "glb"])
def test_downloads_open_again(serve, tmp_path, kind):
    client = serve()
    job = opened(client, row(), tmp_path)
    edits = [{"kind": "delete", "queries": [0]}, {"kind": "move", "queries": [4], "offset": [0, 0.5, 0]}]
    answer = client.post(f"/api/jobs/{job['id']}/samples/0/file?kind={kind}", json={"edits": edits})
    assert f'filename="object.{kind}"' in answer.headers["content-disposition"]
    (tmp_path / f"got.{kind}").write_bytes(answer.content)
    found = load_gaussians(tmp_path / f"got.{kind}")
    assert found.count == 8
    assert sorted(found.means[:, 1].round(decimals=1).abs().tolist()) == pytest.approx([0] * 6 + [0.5] * 2)


def test_browsers_at_once_get_their_own_objects(serve, pipeline, tmp_path):
    client = serve(limits=Limits(queue=50))
    colors = [(i / 11, 1 - i / 11, 0.3) for i in range(12)]
    pictures = [save_blob(tmp_path / f"{i}.png", color=c).read_bytes() for i, c in enumerate(colors)]

    def one(i):
        job = done(client, send(client, pictures[i], elevation=26))
        path = f"/api/jobs/{job['id']}/samples/0/scene"
        return [rows(client.post(path, json={"keep": keep})) for keep in (6, 3, 4)]

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(one, range(12)))
    for i, scenes in enumerate(found):
        views = frame(read_photo(tmp_path / f"{i}.png"), 32, -30, 26)
        for scene, queries in zip(scenes, (6, 3, 4), strict=True):
            expected = pipeline(views, queries=queries)[0]
            np.testing.assert_allclose(scene[:, 12:15], expected.colors.numpy(), atol=1e-5)


def test_too_many_wait_and_cancelling_makes_room(serve, picture, monkeypatch):
    started, go = threading.Event(), threading.Event()

    def slow(studio, order, report):
        started.set()
        go.wait(PATIENCE)
        report("too late", 0.5)
        raise AssertionError("a cancelled job goes on")

    monkeypatch.setattr(Studio, "make", slow)
    client = serve(limits=Limits(queue=1))
    running = send(client, picture).json()
    started.wait()
    waiting = send(client, picture).json()
    full = send(client, picture)
    assert full.status_code == 429
    assert int(full.headers["retry-after"]) > 0
    assert client.get(f"/api/jobs/{running['id']}/cutouts/0").status_code == 409
    assert client.delete(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
    assert send(client, picture).status_code == 202
    for job in (running, waiting):
        assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
    go.set()


def test_results_expire(serve, tmp_path):
    now = [0.0]
    client = serve(limits=Limits(seconds_kept=60), clock=lambda: now[0])
    job = opened(client, row(), tmp_path)
    path = f"/api/jobs/{job['id']}"
    assert client.get(path).status_code == 200
    now[0] = 61
    assert client.get(path).status_code == 404
    assert client.post(f"{path}/samples/0/scene", json={}).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/page/index.html",
        "/%2e%2e/app.py",
        "/api/jobs/../../x",
        "/api/jobs/%2Fetc%2Fpasswd",
    ],
)
def test_paths_of_requests_open_no_files(serve, path):
    assert serve().get(path).status_code == 404


def test_other_sites_and_other_names_are_refused(serve, picture):
    client = serve()
    files = {"pictures": picture}
    assert (
        client.post("/api/jobs", files=files, headers={"Origin": "https://evil.example"}).status_code == 403
    )
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    for malformed in ("http://[", "http://[x]/", "null", ""):
        assert client.get("/", headers={"Origin": malformed}).status_code == 403


LAN = {"hosts": ("localhost", "studio.example.com"), "any_address": True}


@pytest.mark.parametrize(
    "host", ["192.168.1.7", "192.168.1.7:8000", "[fe80::1]:8000", "LocalHost:8000", "studio.example.com"]
)
def test_other_machines_reach_it_by_its_addresses_and_its_names(serve, host):
    assert serve(**LAN).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "192.168.1.7.evil.example",
        "192.168.1.256",
        "studio.example.com.evil.example",
        "evil.studio.example.com",
        "[evil.example]",
        "",
    ],
)
def test_names_that_others_point_here_are_refused(serve, host):
    """A page of such a name would be of the same site as the server: its origin and its host are the same."""
    client = serve(**LAN)
    assert client.get("/", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 400


def test_addresses_of_other_machines_are_refused_where_only_this_one_is_answered(serve):
    for host in ("192.168.1.7", "[fe80::1]"):
        assert serve().get("/", headers={"Host": host}).status_code == 400


def test_the_page_loads_nothing_from_elsewhere(serve):
    client = serve()
    page = client.get("/")
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == page.headers["content-length"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    scripts = ("api", "working", "editor", "camera", "samples", "files", "page", "splat")
    for name in ("page.css", *(f"{script}.js" for script in scripts)):
        assert f'"{name}"' in page.text
        found = client.get(f"/{name}")
        assert found.status_code == 200
        assert "://" not in found.text.replace("http://www.w3.org/2000/svg", "")


def test_the_schema_says_what_is_answered(serve, picture):
    client = serve()
    schema = client.get("/openapi.json").json()
    sample = "/api/jobs/{job_id}/samples/{sample}"
    binary, page = "application/octet-stream", "text/html"
    for path, kinds in (
        ("/api/jobs/{job_id}/cutouts/{index}", {"image/png"}),
        (f"{sample}/scene", {binary}),
        (f"{sample}/file", {binary, page}),
    ):
        [method] = schema["paths"][path].values()
        assert set(method["responses"]["200"]["content"]) == kinds
    answer = schema["paths"]["/api/jobs/{job_id}"]["get"]["responses"]["200"]["content"]["application/json"]
    told = schema["components"]["schemas"][answer["schema"]["$ref"].rsplit("/", 1)[1]]["properties"]
    job = done(client, send(client, picture, detail=True))
    assert set(job) == set(told)
    assert job["detail"]


def two_cars():
    """A red shape and, far to the right, a blue one, over white."""
    pixels = np.full((60, 160, 3), 255, np.uint8)
    pixels[20:45, 10:60] = (200, 30, 30)
    pixels[15:45, 100:150] = (30, 30, 200)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("box", "color"), [("8,16,64,50", 0), ("96 12 155 48", 2)])
def test_the_object_is_the_one_in_the_box(serve, box, color):
    client = serve()
    job = done(client, send(client, two_cars(), boxes=[box]))
    cutout = Image.open(io.BytesIO(client.get(f"/api/jobs/{job['id']}/cutouts/0").content))
    assert cutout.size == ((50, 25) if color == 0 else (50, 30))
    assert np.array(cutout)[10, 10, :3].argmax() == color
    both = done(client, send(client, two_cars(), boxes=[""]))
    assert Image.open(io.BytesIO(client.get(f"/api/jobs/{both['id']}/cutouts/0").content)).size == (140, 30)


def test_boxes_belong_to_their_pictures(serve, picture):
    client = serve()
    job = done(client, send(client, picture, two_cars(), boxes=["", "96,12,155,48"]))
    sizes = [
        Image.open(io.BytesIO(client.get(f"/api/jobs/{job['id']}/cutouts/{i}").content)).size for i in (0, 1)
    ]
    assert sizes[1] == (50, 30) != sizes[0]


@pytest.mark.parametrize(
    ("boxes", "said"),
    [(["1,2,3"], "box 1: expected LEFT,TOP"), (["", "1,2,3,4"], "2 boxes for 1 pictures"), (["x"] * 9, "")],
)
def test_boxes_that_cannot_be_used_are_refused(serve, boxes, said):
    answer = send(serve(), two_cars(), boxes=boxes)
    assert (answer.status_code, said in answer.text) == (422, True)


def test_a_box_without_an_object_is_said(serve):
    client = serve()
    job = done(client, send(client, two_cars(), boxes=["62,5,98,12"]))
    assert job["state"] == "failed"
    assert job["error"].startswith("picture 1: ")
    assert job["error"].endswith("or draw a box around the object")
