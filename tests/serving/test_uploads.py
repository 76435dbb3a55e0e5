"""What is uploaded: too large, damaged, not what its name says."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from asking import done, rows, send
from gaussian_samples import damaged, recorded
from sparsegen.formats.gaussian_files import save_gaussians
from sparsegen.formats.ply import save_ply
from sparsegen.serving.limits import Limits
from test_editing import row


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


def test_files_that_only_a_name_or_a_library_tells(serve, tmp_path):
    client = serve()
    save_gaussians(tmp_path / "row.splat", row())
    data = (tmp_path / "row.splat").read_bytes()
    opened = client.post("/api/files", files={"file": ("Row.SPLAT", data)})
    assert (opened.status_code, opened.json()["gaussians"]) == (201, row().count)
    assert client.post("/api/files", files={"file": ("row", data)}).status_code == 422
    heif = pytest.importorskip("pillow_heif")
    photo = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 30))).save(photo)
    assert send(client, photo.getvalue()).status_code == 202
    few = send(serve(limits=Limits(pixels=1000)), photo.getvalue())
    assert (few.status_code, "more than 1,000 pixels" in few.text) == (422, True)


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
    full = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(full, "PNG")
    job = done(client, send(client, full.getvalue()))
    assert job["error"].startswith("picture 1: ")
    assert job["error"].endswith("(RGBA PNG), or draw a box around the object")  # the page takes no masks
    answer = client.post("/api/files", files={"file": ("car.ply", b"ply\nnonsense")})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the file: ")


@pytest.mark.parametrize(
    ("kind", "mode", "words"),
    [("ICO", "RGB", "not a picture"), ("EPS", "RGB", "not a picture"), ("TIFF", "F", "32-bit values")],
)
def test_pictures_that_no_command_opens_are_refused_at_once(serve, kind, mode, words):
    data = io.BytesIO()
    Image.new(mode, (32, 32)).save(data, kind)
    answer = send(serve(), data.getvalue())
    assert (answer.status_code, words in answer.text) == (422, True)


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
