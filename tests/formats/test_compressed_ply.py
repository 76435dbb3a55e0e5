"""Compressed PLY files: what other programs wrote and read, and what is no such file."""

import numpy as np
import pytest

from gaussian_samples import WRITTEN_ELSEWHERE, assert_close, matched, recorded, tiled
from sparsegen.errors import InputError
from sparsegen.formats import compressed_ply
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians

# Chunks of 256 of the 384 Gaussians span 1.6 units; y has 10 bits.
BITS = {"means": 8e-4, "angle": 6e-3, "log_scales": 4e-3, "opacities": 2e-3, "colors": 2e-3}


def test_reads_what_another_program_wrote():
    loaded = load_gaussians(WRITTEN_ELSEWHERE / "tiled.compressed.ply")
    gaussians = tiled()
    assert_close(matched(loaded, gaussians), gaussians, **BITS)


def test_another_reader_agrees(tmp_path):
    gsply = pytest.importorskip("gsply")
    save_gaussians(tmp_path / "a.compressed.ply", tiled(), up="z")
    read = gsply.plyread(str(tmp_path / "a.compressed.ply"))
    loaded = load_gaussians(tmp_path / "a.compressed.ply", up="z")
    np.testing.assert_allclose(read.means, loaded.means, atol=1e-6)
    np.testing.assert_allclose(read.scales, loaded.scales.log(), atol=1e-5)
    np.testing.assert_allclose(0.5 + 0.28209479 * read.sh0.reshape(-1, 3), loaded.colors, atol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-read.opacities.ravel())), loaded.opacities, atol=1e-5)
    np.testing.assert_allclose(np.abs((read.quats * loaded.quats.numpy()).sum(-1)), 1, atol=1e-5)


def test_chunks_without_bounds_of_colors():
    """Early files give colors in 8 bits of [0, 1]."""
    gaussians = recorded()
    data = compressed_ply.encode(gaussians)
    head, end, body = data.partition(b"end_header\n")
    bounds = np.frombuffer(body[:72], "<f4")
    for line in [f"property float {bound}_{c}\n".encode() for bound in ("min", "max") for c in "rgb"]:
        head = head.replace(line, b"")
    old = compressed_ply.decode(head + end + body[:48] + body[72:], "a.compressed.ply")
    new = compressed_ply.decode(data, "a.compressed.ply")
    low, high = bounds[12:15], bounds[15:18]
    np.testing.assert_allclose(low + (high - low) * old.colors.numpy(), new.colors, atol=1e-6)
    np.testing.assert_array_equal(old.means, new.means)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"ply\n", b"plx\n", "not a whole"),
        (b"binary_little_endian", b"binary_big_endian", "not a whole"),
        (b"end_header", b"endheader", "not a whole"),
        (b"element vertex 384", b"element vertex 385", "promises 385 of element vertex, the file holds 384"),
        (b"element vertex 384", b"element vertex 0", "not a whole"),
        (b"element vertex 384", b"element vertex -1", "not a whole"),
        (b"element chunk 2", b"element chunk 1", "384 Gaussians in 1 chunks"),
        (b"uint packed_scale", b"uint scale", "not a whole"),
        (b"uint packed_scale", b"float packed_scale", "not a whole"),
        (b"uint packed_scale", b"uint packed_color", "not a whole"),
        (b"float min_x", b"double min_x", "not a whole"),
        (b"property uint packed_scale", b"property list uchar uint packed_scale", "not a whole"),
    ],
)
def test_bad_headers_are_refused(old, new, words):
    data = compressed_ply.encode(tiled())
    assert old in data
    with pytest.raises(InputError, match=words) as caught:
        compressed_ply.decode(data.replace(old, new, 1), "a.compressed.ply")
    assert str(caught.value).startswith("a.compressed.ply: ")


def test_bounds_that_are_not_finite_are_refused(tmp_path):
    head, end, body = compressed_ply.encode(recorded()).partition(b"end_header\n")
    for place, value in ((0, np.nan), (3, np.inf), (9, 200.0), (12, np.nan)):
        bounds = np.frombuffer(body[:72], "<f4").copy()
        bounds[place] = value
        path = tmp_path / "a.compressed.ply"
        path.write_bytes(head + end + bounds.tobytes() + body[72:])
        with pytest.raises(InputError, match="not finite"):
            load_gaussians(path)
