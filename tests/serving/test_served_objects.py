"""Objects on the server: edited, of fewer queries, made again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asking import cut_out, done, opened, rows, send
from sparsegen.detail import add_detail
from sparsegen.editing import attention_likeness
from sparsegen.formats.ply import save_ply
from sparsegen.photos import frame, full_size
from sparsegen.pose import view_from
from test_editing import row


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
    assert found[:, 7].tolist() == [0, 0, 2, 2, 3, 3, 4, 4]
    assert found[2, 12] > 0.9
    assert found[4, 4] == pytest.approx(2 * 0.02)
    undone = rows(client.post(f"{path}/scene", json={"edits": edits[:1]}))
    assert undone[4, 4] == pytest.approx(0.02)
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
    assert found[:, 7].tolist() == [0, 0, 2, 2]
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


def test_detail_is_taken_from_the_picture(serve, pipeline, picture):
    client = serve()
    job = done(client, send(client, picture))
    again = client.post(f"/api/jobs/{job['id']}/again", json={"cameras": [None], "detail": True})
    detailed = done(client, again)
    assert (detailed["queries"], detailed["gaussians"]) == (6, 9 * job["gaussians"])
    assert detailed["least_queries"] is None
    cutout, camera = cut_out(picture), detailed["cameras"][0]
    views = view_from(pipeline, cutout, camera["azimuth"], camera["elevation"])
    large = view_from(
        pipeline, cutout, camera["azimuth"], camera["elevation"], size=full_size([cutout], views)
    )
    expected, _ = add_detail(pipeline(views)[0], large, pipeline.model.symmetric)
    path = f"/api/jobs/{detailed['id']}/samples/0/scene"
    found = rows(client.post(path, json={}))
    np.testing.assert_allclose(found[:, :3], expected.means.numpy(), atol=2e-3)
    edits = [{"kind": "delete", "queries": [1]}]
    assert len(rows(client.post(path, json={"edits": edits}))) == 5 * 18
    fewer = client.post(path, json={"keep": 3})
    assert (fewer.status_code, "without detail" in fewer.text) == (422, True)


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
    job = done(client, send(client, picture, azimuth="", elevation=""))
    assert len(job["estimates"][0]) == 3
    path = f"/api/jobs/{job['id']}/again"
    moved = done(client, client.post(path, json={"cameras": [{"azimuth": 70, "elevation": 10}]}))
    assert (moved["cameras"][0]["azimuth"], moved["cameras"][0]["elevation"]) == (70, 10)
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


def posted(client, path, body):
    """The answer to JSON as it is written here: also to what JSON does not have."""
    return client.post(path, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("samples/0/scene", '{"keep": NaN}'),
        ("samples/0/scene", '{"keep": Infinity}'),
        ("samples/0/scene", '{"edits": [{"kind": "move", "queries": [0], "offset": [NaN, 0, 0]}]}'),
        ("samples/0/scene", '{"edits": [{"kind": "\\ud800", "queries": [0]}]}'),
        ("samples/0/scene", '{"edits": [{"kind": "swap", "queries": [0], "other_job": "\\ud800"}]}'),
        ("samples/0/selection", '{"queries": [0], "distance": 1e400}'),
        ("again", '{"cameras": [{"azimuth": NaN, "elevation": 0}]}'),
    ],
)
def test_what_json_cannot_say_back_is_refused_in_words(serve, tmp_path, path, body):
    client = serve()
    answer = posted(client, f"/api/jobs/{opened(client, row(), tmp_path)['id']}/{path}", body)
    assert answer.status_code == 422
    assert answer.content.isascii()
    [wrong] = answer.json()["detail"]
    assert set(wrong) == {"loc", "msg", "type"}
    assert wrong["loc"][0] == "body"


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
    for times in (12, 40):  # the scales overflow where they are multiplied, or by themselves
        edits = {"edits": [{"kind": "scale", "queries": [0], "factor": 100}] * times}
        for path in ("scene", "file?kind=spz", "file?kind=html"):
            answer = client.post(f"/api/jobs/{job['id']}/samples/0/{path}", json=edits)
            assert answer.status_code == 422
            assert answer.json()["detail"].endswith("undo one")
