"""glTF files: against another program's, other readers, the extension's text, and broken documents."""

import base64
import json
import math

import numpy as np
import pytest
import torch

from gaussian_samples import WRITTEN_ELSEWHERE, assert_close, recorded
from sparsegen.errors import InputError
from sparsegen.formats import gltf
from sparsegen.formats.axes import from_world
from sparsegen.formats.gaussian_files import load_gaussians, save_gaussians


def document() -> dict:
    return json.loads(gltf.encode(recorded(), binary=False))


def decode(changed: dict, name: str = "a.gltf"):
    return gltf.decode(json.dumps(changed).encode(), name)


def test_reads_what_another_program_wrote():
    """It turns the PLY, -Y up, into glTF's +Y up, so axes are judged as well."""
    assert_close(load_gaussians(WRITTEN_ELSEWHERE / "recorded.glb"), recorded(), opacities=1e-6, colors=1e-6)


def test_writes_what_another_program_writes():
    """Attribute by attribute: names, types, axes and values."""

    def attributes(data: bytes) -> dict[str, np.ndarray]:
        parsed, buffer = gltf._parse(data, "a.glb")
        assert buffer is not None
        assert parsed["extensionsUsed"] == ["KHR_gaussian_splatting"]
        primitive = parsed["meshes"][0]["primitives"][0]
        assert primitive["mode"] == 0
        assert primitive["extensions"]["KHR_gaussian_splatting"]["kernel"] == "ellipse"
        assert primitive["extensions"]["KHR_gaussian_splatting"]["colorSpace"] == "srgb_rec709_display"
        found = {}
        for semantic, index in primitive["attributes"].items():
            accessor = parsed["accessors"][index]
            view = parsed["bufferViews"][accessor["bufferView"]]
            kind = {5126: "<f4", 5121: "u1"}[accessor["componentType"]]
            data = buffer[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
            width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
            assert accessor.get("normalized", False) == (kind == "u1")
            found[semantic] = np.frombuffer(data, kind).reshape(accessor["count"], width).astype(float)
            if semantic == "POSITION":
                np.testing.assert_allclose(accessor["min"], found[semantic].min(axis=0), rtol=1e-6)
                np.testing.assert_allclose(accessor["max"], found[semantic].max(axis=0), rtol=1e-6)
        return found

    theirs = attributes((WRITTEN_ELSEWHERE / "recorded.glb").read_bytes())
    ours = attributes(gltf.encode(from_world(recorded(), "y")))
    assert ours.keys() == theirs.keys()
    rotation = "KHR_gaussian_splatting:ROTATION"
    np.testing.assert_allclose(np.abs((ours.pop(rotation) * theirs.pop(rotation)).sum(axis=1)), 1, atol=1e-6)
    for semantic, values in ours.items():
        np.testing.assert_allclose(values, theirs[semantic], atol=1 if semantic == "COLOR_0" else 3e-6)


def test_a_mesh_program_sees_the_points(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    gaussians = recorded()
    save_gaussians(tmp_path / "a.glb", gaussians)
    (cloud,) = trimesh.load_scene(tmp_path / "a.glb").geometry.values()
    expected = gaussians.means[:, [1, 2, 0]]
    np.testing.assert_allclose(cloud.vertices, expected, rtol=1e-6)
    np.testing.assert_allclose(cloud.colors[:, :3] / 255, gaussians.colors, atol=3e-3)


def test_nodes_move_turn_and_scale():
    """A node's matrix, and the same as translation, rotation and scale, in a chain of two nodes."""
    gaussians = recorded()
    half = math.sqrt(0.5)
    turned, matrix_form = document(), document()
    turned["nodes"] = [
        {"children": [1], "translation": [1, 2, 3], "scale": [2, 2, 2]},
        {"mesh": 0, "rotation": [0, 0, half, half]},
    ]
    # A quarter turn about z takes x to y; then twice the size, then the move. Column by column.
    matrix_form["nodes"][0]["matrix"] = [0, 2, 0, 0, -2, 0, 0, 0, 0, 0, 2, 0, 1, 2, 3, 1]
    x, y, z = gaussians.means.unbind(-1)
    for form in (turned, matrix_form):
        loaded = decode(form)
        torch.testing.assert_close(loaded.means, torch.stack([1 - 2 * y, 2 + 2 * x, 3 + 2 * z], -1))
        torch.testing.assert_close(loaded.scales, 2 * gaussians.scales)
        w, i, j, k = gaussians.quats.unbind(-1)
        expected = half * torch.stack([w - k, i - j, j + i, k + w], dim=-1)
        assert float((loaded.quats * expected).sum(-1).abs().min()) > 1 - 1e-6


def test_linear_colors_become_displayed_ones():
    changed = document()
    changed["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]["colorSpace"] = (
        "lin_rec709_display"
    )
    linear, shown = recorded().colors.double(), decode(changed).colors
    expected = torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    torch.testing.assert_close(shown.double(), expected, atol=1e-5, rtol=0)


def test_normalized_integers():
    """Opacities as unsigned bytes, rotations as signed shorts: both are allowed."""
    gaussians, changed = recorded(), document()
    quats = (32767 * gaussians.quats.roll(-1, dims=-1)).round().short().numpy()
    opacities = (255 * gaussians.opacities).round().byte().numpy()
    attributes = changed["meshes"][0]["primitives"][0]["attributes"]
    for semantic, array, kind in (("ROTATION", quats, 5122), ("OPACITY", opacities, 5121)):
        accessor = changed["accessors"][attributes[f"KHR_gaussian_splatting:{semantic}"]]
        accessor.update(componentType=kind, normalized=True, bufferView=len(changed["bufferViews"]))
        data = array.tobytes()
        changed["bufferViews"].append({"buffer": len(changed["buffers"]), "byteLength": len(data)})
        uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        changed["buffers"].append({"byteLength": len(data), "uri": uri})
    assert_close(decode(changed), gaussians, opacities=2e-3)


def test_data_in_a_file_beside(tmp_path):
    changed = document()
    data = base64.b64decode(changed["buffers"][0].pop("uri").partition(",")[2])
    changed["buffers"][0]["uri"] = "a%20car.bin"
    (tmp_path / "a.gltf").write_text(json.dumps(changed))
    with pytest.raises(InputError, match=r"its data, a car\.bin, are missing"):
        load_gaussians(tmp_path / "a.gltf")
    (tmp_path / "a car.bin").write_bytes(data)
    assert_close(load_gaussians(tmp_path / "a.gltf", up="z"), recorded())


@pytest.mark.parametrize("beside", [False, True])
def test_one_file_as_many_buffers_holds_no_more_than_once(tmp_path, beside):
    changed = document()
    buffer = changed["buffers"][0]
    if beside:
        (tmp_path / "a.bin").write_bytes(base64.b64decode(buffer["uri"].partition(",")[2]))
        buffer["uri"] = "a.bin"
    changed["buffers"] = [buffer] * 1000
    changed["nodes"] = [{"mesh": 0}] * 1000
    changed["scenes"][0]["nodes"] = list(range(1000))
    (tmp_path / "a.gltf").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="more Gaussians than its size can hold"):
        load_gaussians(tmp_path / "a.gltf")
    changed["buffers"][0]["uri"] = "../secret.bin"
    with pytest.raises(InputError, match="expected a file in the same folder"):
        decode(changed, str(tmp_path / "a.gltf"))


def change(path: str, value: object) -> dict:
    """The document with one thing changed, or taken out for None."""
    changed = document()
    *parents, last = [int(key) if key.isdecimal() else key for key in path.split("/")]
    place: object = changed
    for key in parents:
        place = place[key]  # pyright: ignore[reportIndexIssue]
    if value is None:
        del place[last]  # pyright: ignore[reportIndexIssue]
    else:
        place[last] = value  # pyright: ignore[reportIndexIssue]
    return changed


PRIMITIVE = "meshes/0/primitives/0"
BROKEN = [
    ("meshes/0/primitives", [], "holds no Gaussians"),
    (f"{PRIMITIVE}/extensions", {}, "holds no Gaussians"),
    (f"{PRIMITIVE}/extensions/KHR_gaussian_splatting/colorSpace", "aces", "color space 'aces'"),
    (
        f"{PRIMITIVE}/extensions/KHR_gaussian_splatting/extensions",
        {"KHR_gaussian_splatting_compression_spz_2": {}},
        "compressed by KHR_gaussian_splatting_compression_spz_2",
    ),
    (f"{PRIMITIVE}/attributes/KHR_gaussian_splatting:SCALE", None, "damaged"),
    (f"{PRIMITIVE}/attributes/POSITION", 99, "damaged"),
    (f"{PRIMITIVE}/attributes/POSITION", 1, "damaged"),
    (f"{PRIMITIVE}/attributes/POSITION", "0", "damaged"),
    ("accessors/0/count", 129, "damaged"),
    ("accessors/0/count", 0, "damaged"),
    ("accessors/0/count", -1, "damaged"),
    ("accessors/0/count", 2.5, "damaged"),
    ("accessors/0/count", math.nan, "damaged"),
    ("accessors/0/count", 10**18, "more Gaussians than its size can hold"),
    ("accessors/0/bufferView", None, "damaged"),
    ("accessors/0/componentType", 5125, "damaged"),
    ("bufferViews/0/byteOffset", -12, "damaged"),
    ("bufferViews/0/byteLength", 10**9, "damaged"),
    ("bufferViews/0/byteStride", 4, "damaged"),
    ("bufferViews/0/byteStride", 10**12, "damaged"),
    ("buffers/0/byteLength", 10**12, "damaged"),
    ("buffers/0/uri", "data:;base64,%%%", "damaged"),
    ("buffers/0/uri", "data:;base64,AAAA", "damaged"),
    ("nodes/0/children", [0], "damaged"),
    ("nodes/0/mesh", 7, "damaged"),
    ("nodes/0/scale", [1, 2, 1], "scales unevenly"),
    ("nodes/0/scale", [-1, -1, -1], "mirrors"),
    ("nodes/0/scale", [0, 0, 0], "mirrors or scales"),
    ("nodes/0/matrix", [1, 2, 3], "damaged"),
    ("nodes/0/matrix", [math.nan] * 16, "mirrors or scales"),
    ("scenes", None, "damaged"),
    ("scene", [], "damaged"),
    ("nodes", "nodes", "damaged"),
]


@pytest.mark.parametrize(("path", "value", "words"), BROKEN)
def test_broken_documents_are_refused_in_one_line(path, value, words):
    with pytest.raises(InputError, match=words) as caught:
        decode(change(path, value))
    assert str(caught.value).startswith("a.gltf: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"{", b"{}", b"[]", b"{" * 100_000, b'{"nodes": ' + b"[" * 100_000, b"\xff{"]
)
def test_text_that_is_no_document(text):
    with pytest.raises(InputError):
        gltf.decode(text, "a.gltf")


def test_a_mesh_in_too_many_places_is_refused():
    changed = document()
    changed["nodes"] = [{"mesh": 0}] * 1000
    changed["scenes"][0]["nodes"] = list(range(1000))
    with pytest.raises(InputError, match="more Gaussians than its size can hold"):
        decode(changed)


def test_more_gaussians_than_asked_for_are_counted_before_they_are_read():
    """All of them: what stands in three places, of two primitives, is there six times."""
    changed = document()
    changed["meshes"][0]["primitives"] *= 2
    changed["nodes"] = [{"mesh": 0}] * 3
    changed["scenes"][0]["nodes"] = [0, 1, 2]
    data, count = json.dumps(changed).encode(), 6 * recorded().count
    assert gltf.decode(data, "a.gltf", most=count).count == count
    del changed["accessors"][1:]
    with pytest.raises(InputError, match=f"^a.gltf: has {count} Gaussians, expected at most {count - 1}$"):
        gltf.decode(json.dumps(changed).encode(), "a.gltf", most=count - 1)


def test_values_out_of_range_are_refused(tmp_path):
    gaussians = recorded()
    gaussians.scales[5, 1] = -0.1
    (tmp_path / "a.glb").write_bytes(gltf.encode(gaussians))
    with pytest.raises(InputError, match="scales below 0"):
        load_gaussians(tmp_path / "a.glb")
    gaussians.scales[5, 1] = math.nan
    (tmp_path / "a.glb").write_bytes(gltf.encode(gaussians))
    with pytest.raises(InputError, match="scales of Gaussian 5 are not finite"):
        load_gaussians(tmp_path / "a.glb")
