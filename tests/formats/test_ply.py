"""Gaussian PLY files, judged by two readers and a writer that are not ours."""

import logging
import math

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from sparsegen.errors import InputError
from sparsegen.formats.ply import load_ply, save_ply
from sparsegen.gaussians import Gaussians, cat

LAYOUT = [
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
]


def random_gaussians(count: int = 30, expansion: int = 10, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    quats = torch.randn(count, 4, generator=generator)
    return Gaussians(
        means=uniform(count, 3) - 0.5,
        quats=quats / quats.norm(dim=-1, keepdim=True),
        scales=0.001 + 0.1 * uniform(count, 3),
        opacities=uniform(count),
        colors=uniform(count, 3),
        expansion=expansion,
    )


def assert_same(first: Gaussians, second: Gaussians, atol: float = 2e-6) -> None:
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=atol, rtol=1e-5)


def vertex_table(gaussians: Gaussians, kind: str = "f4") -> np.ndarray:
    """The layout's formulas, written a second time in NumPy."""
    g = {k: v.double().numpy() for k, v in vars(gaussians).items() if k != "expansion"}
    columns = np.concatenate(
        [
            g["means"],
            0 * g["means"],
            (g["colors"] - 0.5) * math.sqrt(4 * math.pi),
            -np.log(1 / g["opacities"] - 1)[:, None],
            np.log(g["scales"]),
            g["quats"],
        ],
        axis=1,
    )
    table = np.empty(len(columns), [(name, kind) for name in LAYOUT])
    for i, name in enumerate(LAYOUT):
        table[name] = columns[:, i]
    return table


def test_plyfile_reads_what_we_write(tmp_path):
    gaussians = random_gaussians()
    save_ply(tmp_path / "a.ply", gaussians)
    ply = PlyData.read(tmp_path / "a.ply")
    vertex = ply["vertex"]
    assert [p.name for p in vertex.properties] == LAYOUT
    assert ply.byte_order == "<"
    assert not ply.text
    assert ply.comments == ["sparsegen expansion 10"]
    expected = vertex_table(gaussians)
    for name in LAYOUT:
        np.testing.assert_allclose(vertex[name], expected[name], rtol=1e-5, atol=1e-5)


def test_a_splat_program_reads_what_we_write(tmp_path):
    gsply = pytest.importorskip("gsply")
    gaussians = random_gaussians()
    save_ply(tmp_path / "a.ply", gaussians)
    read = gsply.plyread(str(tmp_path / "a.ply"))
    np.testing.assert_allclose(read.means, gaussians.means, rtol=1e-6)
    np.testing.assert_allclose(read.quats, gaussians.quats, rtol=1e-6)
    np.testing.assert_allclose(np.exp(read.scales), gaussians.scales, rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-read.opacities)), gaussians.opacities, rtol=1e-4)
    colors = 0.5 + read.sh0 / math.sqrt(4 * math.pi)
    np.testing.assert_allclose(colors, gaussians.colors, rtol=1e-4, atol=1e-6)


def test_a_round_trip_keeps_everything(tmp_path):
    gaussians = random_gaussians()
    save_ply(tmp_path / "a.ply", gaussians)
    loaded = load_ply(tmp_path / "a.ply")
    assert_same(loaded, gaussians)
    assert loaded.expansion == 10
    assert loaded.query_ids.tolist() == gaussians.query_ids.tolist()


@pytest.mark.parametrize(
    ("text", "byte_order", "kind"), [(True, "=", "f4"), (False, "<", "f8"), (False, ">", "f4")]
)
def test_files_of_another_program(tmp_path, caplog, text, byte_order, kind):
    gaussians = random_gaussians()
    table = vertex_table(gaussians, kind)
    order = np.random.default_rng(0).permutation(LAYOUT)
    fields = [(name, kind) for name in [*order, "f_rest_0", "f_rest_1"]]
    shuffled = np.zeros(len(table), fields)
    for name in order:
        shuffled[name] = table[name]
    before = PlyElement.describe(np.zeros(3, [("a", "u1"), ("b", "f8")]), "camera")
    after = PlyElement.describe(np.zeros(2, [("c", "i4")]), "extra")
    vertex = PlyElement.describe(shuffled, "vertex")
    PlyData([before, vertex, after], text=text, byte_order=byte_order, comments=["made elsewhere"]).write(
        tmp_path / "a.ply"
    )
    with caplog.at_level(logging.INFO, "sparsegen"):
        loaded = load_ply(tmp_path / "a.ply")
    assert_same(loaded, gaussians, atol=1e-5)
    assert loaded.expansion == 1
    assert "f_rest" in caplog.text


def test_windows_line_ends(tmp_path):
    gaussians = random_gaussians()
    PlyData([PlyElement.describe(vertex_table(gaussians), "vertex")], text=True).write(tmp_path / "a.ply")
    (tmp_path / "b.ply").write_bytes((tmp_path / "a.ply").read_bytes().replace(b"\n", b"\r\n"))
    assert_same(load_ply(tmp_path / "b.ply"), gaussians, atol=1e-4)


def test_extremes_are_written_finite(tmp_path):
    gaussians = random_gaussians(4, expansion=2)
    gaussians = Gaussians(
        gaussians.means,
        gaussians.quats,
        torch.zeros(4, 3),
        torch.tensor([0.0, 1.0, 1e-30, 1 - 1e-7]),
        torch.tensor([[0.0, 1.0, 0.5]] * 4),
        expansion=2,
    )
    save_ply(tmp_path / "a.ply", gaussians)
    vertex = PlyData.read(tmp_path / "a.ply")["vertex"]
    assert all(np.isfinite(vertex[name]).all() for name in LAYOUT)
    torch.testing.assert_close(load_ply(tmp_path / "a.ply").opacities, gaussians.opacities, atol=2e-6, rtol=0)


def test_an_edited_file_loses_its_queries_and_rotations_are_made_unit(tmp_path):
    gaussians = random_gaussians(20)
    table = vertex_table(gaussians)[:13]
    for name in LAYOUT[-4:]:
        table[name] *= 7
        table[name][0] = 0
    PlyData([PlyElement.describe(table, "vertex")], comments=["sparsegen expansion 10"]).write(
        tmp_path / "a.ply"
    )
    loaded = load_ply(tmp_path / "a.ply")
    assert loaded.expansion == 1
    assert loaded.quats[0].tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(loaded.quats[1:], gaussians.quats[1:13])


def test_only_one_finite_object_is_written(tmp_path):
    gaussians = random_gaussians()
    with pytest.raises(ValueError, match="one object"):
        save_ply(tmp_path / "a.ply", cat([gaussians[None], gaussians[None]]))
    gaussians.means[3, 1] = math.nan
    with pytest.raises(InputError, match=r"a\.ply.*NaN"):
        save_ply(tmp_path / "a.ply", gaussians)
    assert list(tmp_path.iterdir()) == []


def header(count: object = 1, names: list[str] = LAYOUT, kind: str = "binary_little_endian") -> bytes:
    properties = "".join(f"property float {name}\n" for name in names)
    return f"ply\nformat {kind} 1.0\nelement vertex {count}\n{properties}end_header\n".encode()


def one_vertex(**values: float) -> bytes:
    return np.array([values.get(name, 0.5) for name in LAYOUT], "<f4").tobytes()


FACES = b"element face 0\nproperty list uchar int vertex_indices\nend_header\n"

BAD = {
    "nothing": (b"", "empty"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a PLY file"),
    "a header without an end": (header()[:-20], "does not end"),
    "one endless line": (b"ply\n" + b"x" * 5000, "does not end"),
    "an unknown format": (header(kind="binary"), "format binary"),
    "no format": (header().replace(b"format binary_little_endian 1.0\n", b""), "no known format"),
    "a negative count": (header(-1), "element vertex -1"),
    "no vertices": (b"ply\nformat ascii 1.0\nend_header\n", "no vertices"),
    "zero vertices": (header(0), "0 vertices"),
    "a point cloud": (header(names=LAYOUT[:6]), "point cloud.* f_dc_0, f_dc_1, f_dc_2 and 8 more"),
    "a mesh": (header(names=LAYOUT[:3]).replace(b"end_header\n", FACES) + bytes(12), "a mesh"),
    "a compressed splat": (header(names=["packed_position", "packed_color"]), "compressed splat"),
    "without rotation": (header(names=LAYOUT[:-1]) + bytes(64), "no rot_3;"),
    "a name twice": (header(names=[*LAYOUT, "x"]) + bytes(72), "repeated"),
    "cut short": (header(2) + one_vertex() + bytes(60), "promises 2 Gaussians, the file holds 1;"),
    "a huge count": (header(10**15) + one_vertex(), "promises 1,000,000,000,000,000"),
    "a huge count as text": (header(10**15, kind="ascii") + b"0 " * 17, "holds 1;"),
    "words": (header(kind="ascii") + b"x " * 17, "17 numbers a line"),
    "short lines": (header(2, kind="ascii") + b"1 " * 17 + b"\n1 2", "17 numbers a line"),
    "NaN": (header(2) + one_vertex() + one_vertex(y=math.nan), "means of Gaussian 1 are not finite"),
    "infinity": (header() + one_vertex(f_dc_0=math.inf, opacity=-math.inf, rot_1=math.inf), "not finite"),
    "a scale that overflows": (header() + one_vertex(scale_1=200), "scales of Gaussian 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name):
    data, words = BAD[name]
    path = tmp_path / "bad.ply"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        load_ply(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_ply(tmp_path / "none.ply")


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"a\.ply.*No space left"):
        save_ply(tmp_path / "a.ply", random_gaussians())
    assert list(tmp_path.iterdir()) == []
