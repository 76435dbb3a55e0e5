"""All formats of Gaussian files behind `load_gaussians` and `save_gaussians`."""

import math
import tracemalloc
from dataclasses import replace

import pytest
import torch

from gaussian_samples import TENSORS, WRITTEN_ELSEWHERE, assert_close, damaged, matched, recorded, tiled
from sparsegen.cameras import orbit
from sparsegen.errors import InputError
from sparsegen.formats.axes import UPS, from_world, to_world
from sparsegen.formats.gaussian_files import FORMATS, format_of_suffix, load_gaussians, save_gaussians
from sparsegen.gaussians import Gaussians, cat
from sparsegen.splatting import render

# The largest differences that each format's number of bits allows. Angles: a component of a rotation is
# off by half a step at most, three or four components together by sqrt(3) or 2 times that, and the angle
# is twice as large. (Angles below 1.4e-3 cannot be told in float32.)
QUANTIZATION = {
    ".ply": {},
    ".compressed.ply": {"means": 6e-4, "angle": 6e-3, "log_scales": 4e-3, "opacities": 2e-3, "colors": 2e-3},
    ".splat": {"angle": 2e-2, "opacities": 2e-3, "colors": 2e-3},
    ".spz": {"means": 8e-6, "angle": 6e-3, "log_scales": 0.0313, "opacities": 2e-3, "colors": 3.7e-3},
    ".glb": {},
    ".gltf": {},
}
SUFFIXES = list(QUANTIZATION)


def psnr(first: Gaussians, second: Gaussians) -> float:
    cameras = orbit(4, size=128)
    pictures = [render(g, cameras, backend="cpu", depth=False).rgb for g in (first, second)]
    return -10 * math.log10(max(float((pictures[0] - pictures[1]).square().mean()), 1e-12))


def test_every_format_is_covered():
    assert {f.suffix for f in FORMATS} == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_round_trip_stays_within_quantization(tmp_path, suffix):
    gaussians = tiled()
    save_gaussians(tmp_path / f"a{suffix}", gaussians)
    loaded = load_gaussians(tmp_path / f"a{suffix}")
    assert_close(matched(loaded, gaussians), gaussians, **QUANTIZATION[suffix])
    assert psnr(loaded, gaussians) > (45 if format_of_suffix(f"a{suffix}").lossless else 35)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_object_gives_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        save_gaussians(tmp_path / f"{name}{suffix}", recorded())
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s != ".splat"])
def test_the_content_tells_the_format(tmp_path, suffix):
    save_gaussians(tmp_path / f"a{suffix}", recorded())
    (tmp_path / f"a{suffix}").rename(tmp_path / "upload.bin")
    gaussians = recorded()
    assert_close(
        matched(load_gaussians(tmp_path / "upload.bin"), gaussians), gaussians, **QUANTIZATION[suffix]
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("up", UPS)
def test_axes_can_be_chosen(tmp_path, suffix, up):
    gaussians = recorded()
    save_gaussians(tmp_path / f"a{suffix}", gaussians, up=up)
    loaded = load_gaussians(tmp_path / f"a{suffix}", up=up)
    assert_close(matched(loaded, gaussians), gaussians, **QUANTIZATION[suffix])


def test_an_unknown_axis(tmp_path):
    with pytest.raises(InputError, match="'x' is unknown: choose from z, y, -y"):
        save_gaussians(tmp_path / "a.ply", recorded(), up="x")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("up", "expected_up", "expected_front"), [("y", (0, 1, 0), (0, 0, 1)), ("-y", (0, -1, 0), (0, 0, 1))]
)
def test_what_is_up_and_in_front(up, expected_up, expected_front):
    """Two long Gaussians at the top and the front of an object, both drawn out along their direction."""
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0, 1], [1, 0, 0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]] * 2),
        scales=torch.tensor([[0.1, 0.1, 1], [1, 0.1, 0.1]]),
        opacities=torch.ones(2),
        colors=torch.ones(2, 3),
    )
    turned = from_world(gaussians, up)
    for i, expected in enumerate((expected_up, expected_front)):
        assert turned.means[i].tolist() == list(expected)
        w, x, y, z = turned.quats[i].double().tolist()
        rotation = torch.tensor(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        longest = rotation[:, int(turned.scales[i].argmax())].abs()
        torch.testing.assert_close(longest, torch.tensor(expected).abs().to(longest.dtype))
    back = to_world(turned, up)
    torch.testing.assert_close(back.means, gaussians.means)
    torch.testing.assert_close(back.quats, gaussians.quats)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_extremes_are_written_finite(tmp_path, suffix):
    gaussians = recorded().select(torch.arange(4))
    gaussians = replace(
        gaussians,
        scales=torch.zeros(4, 3),
        opacities=torch.tensor([0.0, 1, 1e-30, 1]),
        colors=torch.tensor([[0.0, 1, 0.5]] * 4),
        quats=torch.eye(4) * torch.tensor([1.0, -1, 1, -1]),
    )
    save_gaussians(tmp_path / f"a{suffix}", gaussians)
    loaded = matched(load_gaussians(tmp_path / f"a{suffix}"), gaussians)
    torch.testing.assert_close(loaded.opacities, gaussians.opacities, atol=2e-6, rtol=0)
    torch.testing.assert_close(loaded.colors, gaussians.colors, atol=4e-3, rtol=0)
    assert float((loaded.quats * gaussians.quats).sum(-1).abs().min()) > 1 - 1e-4
    assert float(loaded.scales.max()) < 1e-4


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_more_than_asked_for(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_gaussians(path, recorded())
    assert load_gaussians(path, most=recorded().count).count == recorded().count
    count = recorded().count
    with pytest.raises(InputError, match=f"has {count} Gaussians, expected at most {count - 1}"):
        load_gaussians(path, most=count - 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_gaussian(tmp_path, suffix):
    gaussians = recorded().select(torch.tensor([7]))
    save_gaussians(tmp_path / f"a{suffix}", gaussians)
    assert_close(load_gaussians(tmp_path / f"a{suffix}"), gaussians, **QUANTIZATION[suffix])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_one_finite_object_is_written(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    gaussians = recorded()
    with pytest.raises(ValueError, match="one object"):
        save_gaussians(path, cat([gaussians[None], gaussians[None]]))
    with pytest.raises(InputError, match="no Gaussians"):
        save_gaussians(path, gaussians.select(torch.arange(0)))
    gaussians.means[3, 1] = math.nan
    with pytest.raises(InputError, match="NaN"):
        save_gaussians(path, gaussians)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_nothing(tmp_path, suffix):
    with pytest.raises(InputError, match="No space left"):
        save_gaussians(tmp_path / f"a{suffix}", recorded())
    assert list(tmp_path.iterdir()) == []


def test_names_and_contents_that_are_no_format(tmp_path):
    with pytest.raises(InputError, match=r"a\.obj.*end it in one of \.compressed\.ply, \.ply"):
        save_gaussians(tmp_path / "a.obj", recorded())
    (tmp_path / "picture.ply").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"picture\.ply: not a file of 3D Gaussians"):
        load_gaussians(tmp_path / "picture.ply")
    with pytest.raises(InputError, match="no such file"):
        load_gaussians(tmp_path / "none.spz")


WHOLE_FILES = [
    *(WRITTEN_ELSEWHERE / name for name in ("tiled.compressed.ply", "recorded.glb")),
    *(WRITTEN_ELSEWHERE / f"recorded_v{version}.spz" for version in (3, 4)),
    *(f"ours{suffix}" for suffix in SUFFIXES),
]


@pytest.mark.parametrize("whole", WHOLE_FILES, ids=lambda path: str(path).rpartition("/")[2])
def test_damage_is_either_harmless_or_reported_in_one_line(tmp_path, whole):
    if isinstance(whole, str):
        save_gaussians(tmp_path / whole, recorded())
        whole = tmp_path / whole
    refused = 0
    for number, data in enumerate(damaged(whole.read_bytes(), 300)):
        path = tmp_path / f"{number}{format_of_suffix(whole).suffix}"
        path.write_bytes(data)
        gaussians, complaint = None, ""
        try:
            gaussians = load_gaussians(path)
        except InputError as error:
            complaint = str(error)
        if gaussians is None:
            refused += 1
            assert complaint.startswith(str(path))
            assert "\n" not in complaint
        else:
            assert all(getattr(gaussians, name).isfinite().all() for name in TENSORS)
            assert gaussians.count <= 1000
    assert refused > 60  # every file that was cut short


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_is_cut_short_is_refused(tmp_path, suffix):
    save_gaussians(tmp_path / f"a{suffix}", recorded().select(torch.arange(3)))
    data = (tmp_path / f"a{suffix}").read_bytes()
    whole_records = range(32, len(data), 32) if suffix == ".splat" else ()  # they are whole files too
    for length in (*range(0, len(data), 1 + len(data) // 60), len(data) - 1):
        if length not in whole_records:
            (tmp_path / f"b{suffix}").write_bytes(data[:length])
            with pytest.raises(InputError):
                load_gaussians(tmp_path / f"b{suffix}")


@pytest.mark.parametrize(
    ("suffix", "old", "new"),
    [
        (".ply", b"element vertex 128", b"element vertex 999999999999"),
        (".compressed.ply", b"element vertex 128", b"element vertex 999999999999"),
        (".compressed.ply", b"element chunk 1", b"element chunk 888888888888"),
        (".compressed.ply", b"element chunk 1", b"element chunk " + b"8" * 6000),
        (".gltf", b'"count": 128', b'"count": 999999999999'),
        (".gltf", b'"byteLength": 1536', b'"byteLength": 1e999'),
        (".gltf", b'"byteOffset": 0', b'"byteOffset": -99999'),
    ],
)
def test_hostile_counts_take_no_memory(tmp_path, suffix, old, new):
    path = tmp_path / f"a{suffix}"
    save_gaussians(path, recorded())
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            load_gaussians(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
