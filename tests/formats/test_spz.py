"""`.spz` files: what other programs wrote and read, versions, and bounds."""

import gzip
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch

from gaussian_samples import WRITTEN_ELSEWHERE, assert_close, recorded
from sparsegen.errors import InputError
from sparsegen.formats import spz
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians

BITS = {"angle": 6e-3, "log_scales": 0.0313, "opacities": 2e-3, "colors": 3.7e-3}
COARSE = {**BITS, "means": 1.3e-4}  # 12 bits after the point, as others write


@pytest.mark.parametrize("version", [3, 4])
def test_reads_what_another_program_wrote(version):
    """splat-transform 3.7.0 leaves the axes of the PLY that it was given, -Y up, as they are."""
    assert_close(
        load_gaussians(WRITTEN_ELSEWHERE / f"recorded_v{version}.spz", up="-y"), recorded(), **COARSE
    )


def test_a_file_in_the_axes_of_the_specification_stands_upright():
    """Turning the PLY's y and z over makes it upright, and half a turn about the vertical away from ours."""
    gaussians, loaded = recorded(), load_gaussians(WRITTEN_ELSEWHERE / "recorded_rub.spz")
    half_turn = gaussians.means * torch.tensor([-1.0, -1.0, 1.0])
    torch.testing.assert_close(loaded.means, half_turn, atol=1.3e-4, rtol=0)


def test_another_reader_agrees(tmp_path):
    gsply = pytest.importorskip("gsply")
    gaussians = recorded()
    save_gaussians(tmp_path / "a.spz", gaussians, up="z", spz_version=3)
    read = gsply.read_spz(str(tmp_path / "a.spz"))
    loaded = load_gaussians(tmp_path / "a.spz", up="z")
    np.testing.assert_allclose(read.means, gaussians.means, atol=8e-6)
    np.testing.assert_allclose(read.scales, loaded.scales.log(), atol=1e-6)
    np.testing.assert_allclose(0.5 + 0.28209479 * read.sh0.reshape(-1, 3), loaded.colors, atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-read.opacities.ravel())), loaded.opacities, atol=1e-5)
    np.testing.assert_allclose((read.quats * loaded.quats.numpy()).sum(-1), 1, atol=1e-5)


def version_2() -> bytes:
    """A file of version 2, written from its description: x, y, z of rotations in 8 bits, w positive."""
    gaussians = recorded()
    quats = gaussians.quats * gaussians.quats[:, :1].sign()
    fixed = (gaussians.means * 2**12).round().int().flatten().tolist()
    parts = [
        struct.pack("<4sIIBBBB", b"NGSP", 2, gaussians.count, 0, 12, 0, 0),
        b"".join(value.to_bytes(3, "little", signed=True) for value in fixed),
        bytes((255 * gaussians.opacities).round().int().tolist()),
        bytes((255 * (0.5 + 0.15 / 0.28209479 * (gaussians.colors - 0.5))).round().int().flatten().tolist()),
        bytes((16 * (gaussians.scales.log() + 10)).round().int().flatten().tolist()),
        bytes((127.5 + 127.5 * quats[:, 1:]).round().int().flatten().tolist()),
    ]
    return b"".join(parts)


def test_reads_version_2():
    loaded = spz.decode(gzip.compress(version_2()), "a.spz")
    # Where w is near 0, the square root in it magnifies the steps of x, y, z.
    assert_close(loaded, recorded(), **{**COARSE, "angle": 0.3})
    error = (loaded.quats * recorded().quats).sum(-1).abs().clamp(max=1).acos() * 2
    assert float(error.median()) < 0.02


def test_higher_harmonics_are_left_out(caplog):
    body = bytearray(version_2())
    body[12] = 1
    with caplog.at_level("INFO", "sparsegen"):
        loaded = spz.decode(gzip.compress(bytes(body) + bytes(9 * 128)), "a.spz")
    assert_close(loaded, recorded(), **{**COARSE, "angle": 0.3})
    assert "view-dependent" in caplog.text


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, b"NOPE", "not a .spz file"),
        (4, struct.pack("<I", 1), "version 1 is not read"),
        (4, struct.pack("<I", 4), "version 4 is not read"),  # version 4 is never inside gzip
        (8, struct.pack("<I", 0), "no Gaussians"),
        (8, struct.pack("<I", 127), "damaged"),
        (8, struct.pack("<I", 129), "damaged"),
        (8, struct.pack("<I", 2**32 - 1), "has 4,294,967,295 Gaussians, expected at most 10,000,000"),
        (8, struct.pack("<I", 9_999_999), "promises 9,999,999"),
        (12, b"\x05", "damaged"),
        (13, b"\xff", "damaged"),
        (14, b"\x02", "extensions"),
    ],
)
def test_bad_headers_are_refused(place, value, words):
    body = bytearray(version_2())
    body[place : place + len(value)] = value
    with pytest.raises(InputError, match=words):
        spz.decode(gzip.compress(bytes(body)), "a.spz")


def test_bad_tables_are_refused():
    whole = spz.encode(recorded(), version=4)
    for place in (8, 15, 16, 17, 32, 39, 40, 47, 112):  # count, streams, table's place, sizes
        for value in (0, 1, 4, 33, 127, 255):
            body = bytearray(whole)
            if body[place] != value:
                body[place] = value
                with pytest.raises(InputError):
                    spz.decode(bytes(body), "a.spz")


def bomb_of_gzip() -> bytes:
    """A small honest count, then 64 MB of zeros."""
    compressor = zlib.compressobj(9, wbits=31)
    parts = [compressor.compress(version_2())]
    parts += [compressor.compress(bytes(2**20)) for _ in range(64)]
    return b"".join([*parts, compressor.flush()])


def bomb_of_zstd() -> bytes:
    """A stream of 64 MB where the table promises 1,152 bytes."""
    zstd = spz._zstd()
    whole = spz.encode(recorded(), version=4)
    first = struct.unpack_from("<Q", whole, 32)[0]
    bomb = zstd.compress(bytes(2**26))
    return whole[:32] + struct.pack("<Q", len(bomb)) + whole[40:112] + bomb + whole[112 + first :]


def big_claim(version: int) -> bytes:
    """9,999,999 Gaussians in a few bytes."""
    header = struct.pack("<4sIIBBBB", b"NGSP", version, 9_999_999, 0, 12, 0, 5)
    return gzip.compress(header + bytes(10_000)) if version < 4 else header + bytes(200)


@pytest.mark.parametrize("make", [bomb_of_gzip, bomb_of_zstd, lambda: big_claim(3), lambda: big_claim(4)])
def test_bombs_take_no_memory(make):
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            spz.decode(data, "a.spz")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_far_gaussians_take_fewer_fractional_bits():
    gaussians = recorded()
    gaussians.means[0, 0] = 5000.0
    decoded = spz.decode(spz.encode(gaussians), "a.spz")
    torch.testing.assert_close(decoded.means, gaussians.means, atol=5000 / 2**23, rtol=0)
    gaussians.means[0, 0] = 1e9
    with pytest.raises(InputError, match="too far"):
        spz.encode(gaussians)


def test_only_versions_3_and_4_are_written():
    with pytest.raises(InputError, match="version 2 is not written"):
        spz.encode(recorded(), version=2)
