"""The server as browsers, and others, meet it."""

import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gaussian_samples import damaged, recorded
from sparsegen.editing import attention_likeness
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians
from sparsegen.formats.ply import save_ply
from sparsegen.photos import frame, read_photo
from sparsegen.serving.limits import Limits
from sparsegen.serving.studio import Studio
from test_editing import row
from test_photos import save_blob


@pytest.fixture
def picture(tmp_path):
    return save_blob(tmp_path / "blob.png").read_bytes()


def cut_out(picture):
    """What `save_blob` draws."""
    rgba = torch.from_numpy(np.array(Image.open(io.BytesIO(picture)))).permute(2, 0, 1).float() / 255
    assert rgba.shape == (4, 60, 90)
    return rgba


def send(client, *pictures, **settings):
    files = [("pictures", (f"../../etc/{i}.txt", data)) for i, data in enumerate(pictures)]
    return client.post("/api/jobs", files=files, data={"azimuth": -30, **settings})


def done(client, answer):
    assert answer.status_code == 202, answer.text
    job = answer.json()
    while job["state"] in ("waiting", "running"):
        threading.Event().wait(0.02)
        job = client.get(f"/api/jobs/{job['id']}").json()
    return job


def opened(client, gaussians, tmp_path):
    save_ply(tmp_path / "open.ply", gaussians)
    answer = client.post("/api/files", files={"file": ("x", (tmp_path / "open.ply").read_bytes())})
    assert answer.status_code == 201, answer.text
    return answer.json()


def rows(scene):
    assert scene.status_code == 200, scene.text
    return np.frombuffer(scene.content, "<f4").reshape(-1, 16)


def test_a_picture_becomes_the_object_that_the_pipeline_makes(serve, picture, pipeline, tmp_path):
    client = serve()
    job = done(client, send(client, picture, samples=2, seed=3, elevation=20))
    assert (job["state"], job["samples"]) == ("done", 2)
    assert job["cameras"] == [{"azimuth": -30.0, "elevation": 20.0, "agrees": True}]
    (tmp_path / "blob.png").write_bytes(picture)
    views = frame(read_photo(tmp_path / "blob.png"), 32, -30, 20)
    for sample in range(2):
        found = rows(client.post(f"/api/jobs/{job['id']}/samples/{sample}/scene", json={}))
        expected = pipeline(views, seed=3 + sample)[0]
        np.testing.assert_allclose(found[:, :3], expected.means.numpy(), atol=1e-5)
        np.testing.assert_array_equal(found[:, 10], expected.query_ids.numpy())
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


def test_edits_keep_the_first_numbers_of_queries(serve, tmp_path):
    client = serve()
    job = opened(client, row(), tmp_path)
    edits = [
        {"kind": "delete", "queries": [1]},
        {"kind": "recolor", "queries": [1, 2], "color": [1, 0, 0]},
        {"kind": "scale", "queries": [3], "factor": 2},
    ]
    path = f"/api/jobs/{job['id']}/samples/0"
    found = rows(client.post(f"{path}/scene", json={"edits": edits}))
    assert found[:, 10].tolist() == [0, 0, 2, 2, 3, 3, 4, 4]
    assert found[2, 12] > 0.9
    assert found[4, 4] == pytest.approx(4 * 0.0004)
    undone = rows(client.post(f"{path}/scene", json={"edits": edits[:1]}))
    assert undone[4, 4] == pytest.approx(0.0004)
    # what was deleted is not selected again
    wide = {"edits": edits, "queries": [2], "distance": 0.11}
    assert client.post(f"{path}/selection", json=wide).json() == {"queries": [2, 3]}
    narrow = {"queries": [0, 1, 2], "distance": -0.11}
    assert client.post(f"{path}/selection", json=narrow).json() == {"queries": [0, 1]}


def test_swapping_with_another_object(serve, tmp_path):
    client = serve()
    first = opened(client, row(), tmp_path)
    other = opened(client, row(spacing=0.2), tmp_path)
    swap = {"kind": "swap", "queries": [4], "other_job": other["id"]}
    path = f"/api/jobs/{first['id']}/samples/0/scene"
    found = rows(client.post(path, json={"edits": [swap]}))
    np.testing.assert_allclose(found[[6, 8], 0], [0.3, 0.8], atol=1e-6)
    gone = client.post(path, json={"edits": [{**swap, "other_job": "gone"}]})
    assert (gone.status_code, gone.json()["detail"]) == (
        422,
        "the other object is gone; open or make it again",
    )


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


def test_fewer_queries_are_what_the_network_makes_of_them(serve, pipeline, picture):
    client = serve()
    job = done(client, send(client, picture, samples=2, steps=3, seed=5))
    assert (job["least_queries"], job["queries"]) == (2, 6)
    views = frame(cut_out(picture), 32, -30, 26)
    path = f"/api/jobs/{job['id']}/samples/1"
    for _ in range(2):  # the second time from memory
        found = rows(client.post(f"{path}/scene", json={"keep": 3}))
        expected = pipeline(views, steps=3, seed=6, queries=3)[0]
        np.testing.assert_allclose(found[:, :3], expected.means.numpy(), atol=1e-5)
    # edits name queries of the whole object: those that are not there now are passed over
    edits = [{"kind": "delete", "queries": [1, 5]}]
    found = rows(client.post(f"{path}/scene", json={"keep": 3, "edits": edits}))
    assert found[:, 10].tolist() == [0, 0, 2, 2]
    assert (
        client.post(f"{path}/scene", json={"keep": 3, "edits": [{**edits[0], "queries": [6]}]}).status_code
        == 422
    )
    for keep in (1, 7):
        answer = client.post(f"{path}/scene", json={"keep": keep})
        assert (answer.status_code, "expected 2 to 6" in answer.text) == (422, True)
    small_file = client.post(f"{path}/file?kind=splat", json={"keep": 2})
    assert len(small_file.content) == 2 * 2 * 32


def test_a_model_that_always_used_all_queries_makes_no_fewer(serve, pipeline, picture):
    client = serve(pipeline=replace(pipeline, least_queries=None))
    job = done(client, send(client, picture))
    assert job["least_queries"] is None
    answer = client.post(f"/api/jobs/{job['id']}/samples/0/scene", json={"keep": 3})
    assert (answer.status_code, "was not trained for that" in answer.text) == (422, True)


def test_swapping_at_fewer_queries(serve, picture):
    client = serve()
    first, other = (done(client, send(client, picture, azimuth=a)) for a in (0, 120))
    swap = [{"kind": "swap", "queries": [1, 4], "other_job": other["id"]}]
    path = f"/api/jobs/{first['id']}/samples/0/scene"
    found = rows(client.post(path, json={"keep": 3, "edits": swap}))
    theirs = rows(client.post(path.replace(first["id"], other["id"]), json={"keep": 3}))
    mine = rows(client.post(path, json={"keep": 3}))
    np.testing.assert_array_equal(found[2:4], theirs[2:4])
    np.testing.assert_array_equal(found[[0, 1, 4, 5]], mine[[0, 1, 4, 5]])


def test_selections_grow_by_attention(serve, pipeline, picture, tmp_path):
    client = serve()
    job = done(client, send(client, picture))
    path = f"/api/jobs/{job['id']}/samples/0/selection"
    likeness = attention_likeness(pipeline, frame(cut_out(picture), 32, -30, 26), 5)
    likeness[2] = likeness[:, 2] = -1  # deleted
    order = [i for i in likeness[0].argsort(descending=True).tolist() if i != 0]
    body = {"keep": 5, "edits": [{"kind": "delete", "queries": [2]}], "queries": [0]}
    grown = client.post(path, json={**body, "alike": 2}).json()["queries"]
    assert grown == sorted([0, *order[:2]])
    assert client.post(path, json={**body, "alike": 99}).json()["queries"] == [0, 1, 3, 4]
    assert len(client.post(path, json={**body, "queries": grown, "alike": -1}).json()["queries"]) == 2
    file = opened(client, row(), tmp_path)
    answer = client.post(f"/api/jobs/{file['id']}/samples/0/selection", json={"queries": [0], "alike": 1})
    assert (answer.status_code, "nothing of attention" in answer.text) == (422, True)


def test_again_with_another_camera_and_the_same_pictures(serve, pipeline, picture, tmp_path):
    client = serve()
    job = done(client, send(client, picture, azimuth=""))
    assert len(job["estimates"][0]) == 3
    path = f"/api/jobs/{job['id']}/again"
    moved = done(client, client.post(path, json={"cameras": [{"azimuth": 70, "elevation": 10}]}))
    assert moved["cameras"] == [{"azimuth": 70, "elevation": 10, "agrees": True}]
    assert moved["estimates"] == job["estimates"]
    found = rows(client.post(f"/api/jobs/{moved['id']}/samples/0/scene", json={}))
    expected = pipeline(frame(cut_out(picture), 32, 70, 10))[0]
    np.testing.assert_allclose(found[:, :3], expected.means.numpy(), atol=1e-5)
    back = done(client, client.post(path.replace(job["id"], moved["id"]), json={"cameras": [None]}))
    assert back["cameras"] == job["cameras"]
    many = client.post(path, json={"cameras": [None, None]})
    assert (many.status_code, "2 cameras for 1 pictures" in many.text) == (422, True)
    file = opened(client, row(), tmp_path)
    assert client.post(f"/api/jobs/{file['id']}/again", json={}).status_code == 422


def test_too_many_wait_and_cancelling_makes_room(serve, picture, monkeypatch):
    started, go = threading.Event(), threading.Event()

    def slow(studio, order, report):
        started.set()
        go.wait()
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


def test_what_is_too_large_is_refused(serve, picture, tmp_path):
    client = serve(limits=Limits(upload_bytes=20_000, pixels=1000, gaussians=4))
    assert send(client, bytes(30_000)).status_code == 413
    large = send(client, picture)
    assert (large.status_code, "more than 1,000 pixels" in large.text) == (422, True)
    save_ply(tmp_path / "row.ply", row())
    many = client.post("/api/files", files={"file": (tmp_path / "row.ply").read_bytes()})
    assert (many.status_code, "expected at most 4" in many.text) == (422, True)
    chunked = client.post("/api/jobs", content=iter([b"x"]))
    assert chunked.status_code == 411


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_type_is_told_by_content(serve, data):
    client = serve()
    answer = client.post("/api/jobs", files={"pictures": ("car.png", data, "image/png")})
    assert (answer.status_code, "not a picture" in answer.text) == (422, True)


def test_a_picture_that_cannot_be_used_tells_no_path(serve, tmp_path):
    empty = io.BytesIO()
    Image.new("RGBA", (20, 20)).save(empty, "PNG")
    client = serve()
    job = done(client, send(client, empty.getvalue()))
    assert job["state"] == "failed"
    assert job["error"].startswith("picture 1: its alpha is empty")
    answer = client.post("/api/files", files={"file": ("car.ply", b"ply\nnonsense")})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the file: ")


# Damaged copies of each file that are tried; the same ones in every run.
FUZZED = 8


@pytest.mark.parametrize("suffix", ["ply", "compressed.ply", "spz", "glb", "gltf"])
def test_damaged_files_are_never_a_fault_of_the_server(serve, tmp_path, suffix):
    save_gaussians(tmp_path / f"some.{suffix}", recorded())
    client = serve()
    for data in damaged((tmp_path / f"some.{suffix}").read_bytes(), FUZZED):
        answer = client.post("/api/files", files={"file": data or b"x"})
        assert answer.status_code in (201, 422)
        if answer.status_code == 201:  # what opens can be looked at
            path = f"/api/jobs/{answer.json()['id']}/samples/0/scene"
            assert np.isfinite(rows(client.post(path, json={}))).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_damaged_pictures_are_never_a_fault_of_the_server(serve, picture, kind):
    whole = io.BytesIO()
    image = Image.open(io.BytesIO(picture))
    image.convert("RGB" if kind in ("JPEG", "BMP") else "RGBA").save(whole, kind)
    client = serve(limits=Limits(queue=1000))
    for data in damaged(whole.getvalue(), FUZZED):
        answer = send(client, data or b"x", elevation=20)
        assert answer.status_code in (202, 422)
        if answer.status_code == 202:
            assert "see the log" not in done(client, answer)["error"]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(width, height, *extra):
    """A PNG of a few kilobytes that promises many pixels, of which it has a few rows."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    rest = chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + rest


def test_bombs_are_refused_in_words(serve):
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    client = serve()
    for bomb in (
        png_bomb(2**31 - 1, 2**31 - 1),
        png_bomb(100_000, 600),
        png_bomb(0, 10),
        png_bomb(3000, 3000),
        png_bomb(20, 20, text),
        png_bomb(20, 20, profile),
        b"P6 9000 9000 255\n",
        b"GIF89a\xff\xff\xff\xff\0\0\0",
    ):
        answer = send(client, bomb, elevation=20)
        if answer.status_code == 202:
            job = done(client, answer)
            assert job["state"] == "failed"
            assert job["error"].startswith("picture 1: ")
        else:
            assert answer.status_code == 422


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


def test_the_page_loads_nothing_from_elsewhere(serve):
    client = serve()
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    for name in ("page.css", "page.js", "api.js", "editor.js", "camera.js", "samples.js", "splat.js"):
        assert f'"{name}"' in page.text
        found = client.get(f"/{name}")
        assert found.status_code == 200
        assert "://" not in found.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    "edit",
    [
        {"kind": "explode", "queries": [0]},
        {"kind": "move", "queries": [0], "offset": [0, 0]},
        {"kind": "scale", "queries": [0], "factor": 0},
        {"kind": "recolor", "queries": [0], "color": [0, 0, 2]},
        {"kind": "delete", "queries": [5]},
        {"kind": "delete", "queries": [-1]},
        {"kind": "swap", "queries": [0]},
    ],
)
def test_senseless_edits_are_refused(serve, tmp_path, edit):
    client = serve()
    job = opened(client, row(), tmp_path)
    assert client.post(f"/api/jobs/{job['id']}/samples/0/scene", json={"edits": [edit]}).status_code == 422


def test_an_object_of_which_nothing_is_left(serve, tmp_path):
    client = serve()
    job = opened(client, row(), tmp_path)
    edits = {"edits": [{"kind": "delete", "queries": [0, 1, 2, 3, 4]}]}
    path = f"/api/jobs/{job['id']}/samples/0"
    assert client.post(f"{path}/scene", json=edits).content == b""
    assert client.post(f"{path}/file?kind=ply", json=edits).status_code == 422
    assert client.post(f"{path}/file?kind=html", json=edits).status_code == 422
    assert torch.isfinite(torch.from_numpy(rows(client.post(f"{path}/scene", json={})).copy())).all()


def test_objects_of_senseless_size_are_refused_in_words(serve, tmp_path):
    client = serve()
    save_ply(tmp_path / "far.ply", replace(row(), means=row().means + 3e38))
    far = client.post("/api/files", files={"file": (tmp_path / "far.ply").read_bytes()})
    assert (far.status_code, "units away" in far.text) == (422, True)
    job = opened(client, row(), tmp_path)
    edits = {"edits": [{"kind": "scale", "queries": [0], "factor": 100}] * 40}
    answer = client.post(f"/api/jobs/{job['id']}/samples/0/file?kind=spz", json=edits)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("object.spz: not written")
