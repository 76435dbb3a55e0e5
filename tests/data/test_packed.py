"""One file for a whole dataset: equal bytes, mapped, and no damage goes unnoticed."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sparsegen.cli.main import main
from sparsegen.data.packed import Viewset, collect, load_packed, save_packed, write_packed
from sparsegen.errors import InputError


def test_what_is_written_is_read(make_viewsets, tmp_path):
    viewsets = make_viewsets(names=("a", "größer", "c"))
    save_packed(viewsets, tmp_path / "x.pack")
    back = load_packed(tmp_path / "x.pack")
    assert back.names == viewsets.names
    assert back.has_alpha
    assert np.array_equal(back.images, viewsets.images)
    assert torch.equal(back.cameras.viewmats, viewsets.cameras.viewmats)
    assert torch.equal(back.cameras.Ks, viewsets.cameras.Ks)
    assert (back.cameras.width, back.cameras.height) == (8, 8)


def test_the_same_viewsets_are_the_same_bytes(make_viewsets, tmp_path):
    viewsets = make_viewsets()
    save_packed(viewsets, tmp_path / "x.pack")
    save_packed(load_packed(tmp_path / "x.pack"), tmp_path / "y.pack")
    assert (tmp_path / "x.pack").read_bytes() == (tmp_path / "y.pack").read_bytes()


def test_datasets_are_packed_together(make_viewsets, tmp_path, capsys):
    one, two = make_viewsets(names=("a", "b")), make_viewsets(names=("c",))
    paths = [str(tmp_path / name) for name in ("one.pack", "two.pack", "both.pack")]
    save_packed(one, paths[0])
    save_packed(two, paths[1])
    assert main(["data", "pack", *paths]) == 0
    both = load_packed(paths[2])
    assert list(both.names) == ["a", "b", "c"]
    assert np.array_equal(both.images, np.concatenate([one.images, two.images]))
    assert torch.equal(both.cameras.viewmats[2], two.cameras.viewmats[0])
    assert main(["data", "pack", paths[0], paths[2], str(tmp_path / "twice.pack")]) == 2
    assert "'a'" in capsys.readouterr().err
    assert not (tmp_path / "twice.pack").exists()


def test_safetensors_reads_it(make_viewsets, tmp_path):
    viewsets = make_viewsets()
    save_packed(viewsets, tmp_path / "x.pack")
    tensors = load_file(tmp_path / "x.pack")
    assert np.array_equal(tensors["images"], viewsets.images)
    assert np.array_equal(tensors["viewmats"], viewsets.cameras.viewmats.numpy())
    assert np.array_equal(tensors["Ks"], viewsets.cameras.Ks.numpy())


def test_pictures_stay_in_the_file(make_viewsets, tmp_path):
    """A byte that changes in the file changes in memory: nothing was read."""
    path = tmp_path / "x.pack"
    save_packed(make_viewsets(), path)
    images = load_packed(path).images
    assert not images.flags.owndata
    assert not images.flags.writeable
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    before = int(images[0, 0, 0, 0, 0])
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes([before ^ 255]))
    assert images[0, 0, 0, 0, 0] == before ^ 255


def test_unknown_coverage_stays_unknown(make_viewsets, tmp_path):
    save_packed(make_viewsets(has_alpha=False), tmp_path / "x.pack")
    back = load_packed(tmp_path / "x.pack")
    assert not back.has_alpha
    assert back.views(torch.tensor([0]), torch.tensor([[0, 2]])).alphas is None


@pytest.mark.parametrize("kept", [1, 7, 60, 1000, -1])
def test_a_file_cut_short_is_refused(make_viewsets, tmp_path, kept):
    path = tmp_path / "x.pack"
    save_packed(make_viewsets(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"x\.pack: .*cut short"):
        load_packed(path)


def damaged(path, change) -> None:
    """Rewrite the header of a packed file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h["__metadata__"].update(format="another"), "not a packed dataset"),
        (lambda h: h.pop("__metadata__"), "not a packed dataset"),
        (lambda h: h.update(__metadata__=3), "not a packed dataset"),
        (lambda h: h.pop("Ks"), "damaged header"),
        (lambda h: h.update(Ks=None), "damaged header"),
        (lambda h: h["images"].pop("shape"), "damaged header"),
        (lambda h: h["images"].update(dtype="F32"), "damaged header"),
        (lambda h: h["images"].update(shape=[2, 3, 8, 8]), "damaged header"),
        (lambda h: h["images"].update(shape=[2, 3, 8, 4, 8]), "damaged header"),
        (lambda h: h["viewmats"].update(shape=[3, 2, 4, 4]), "damaged header"),
        (lambda h: h["viewmats"].update(data_offsets=[-8, 376]), "damaged header"),
        (lambda h: h["__metadata__"].update(names="["), "damaged header"),
        (lambda h: h["__metadata__"].update(names='["a"]'), "damaged header"),
        (lambda h: h["__metadata__"].pop("has_alpha"), "damaged header"),
    ],
)
def test_a_wrong_header_is_refused(make_viewsets, tmp_path, change, words):
    path = tmp_path / "x.pack"
    save_packed(make_viewsets(), path)
    damaged(path, change)
    with pytest.raises(InputError, match=words) as caught:
        load_packed(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"PK\x03\x04" + 99 * b"\0", "not a packed dataset"), (99 * b"\xff", "not a packed")],
)
def test_other_files_are_refused(tmp_path, content, words):
    (tmp_path / "x.pack").write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_packed(tmp_path / "x.pack")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nosuch\.pack: no such file"):
        load_packed(tmp_path / "nosuch.pack")


def test_objects_must_agree(make_viewsets, tmp_path):
    one, other = make_viewsets(views=3), make_viewsets(views=2)
    singles = [
        Viewset("one", one.images[0], one.cameras[0]),
        Viewset("two", other.images[0], other.cameras[0]),
    ]
    expected = "two has 2 views of 8 x 8 pixels but one has 3 views of 8 x 8 pixels"
    with pytest.raises(InputError, match=expected):
        collect(singles, "there")
    with pytest.raises(InputError, match=expected):
        write_packed(["one", "two"], singles, tmp_path / "x.pack")
    assert not list(tmp_path.iterdir())
    mixed = [singles[0], Viewset("two", one.images[1], one.cameras[1], has_alpha=False)]
    with pytest.raises(InputError, match="only one of one and two"):
        collect(mixed, "there")
    with pytest.raises(InputError, match="holds no objects"):
        collect([], "there")


def test_a_full_disk_is_an_input_error(make_viewsets, tmp_path, full_disk):
    with pytest.raises(InputError, match=r"x\.pack: cannot be written \(No space left"):
        save_packed(make_viewsets(size=64), tmp_path / "x.pack")
    assert not list(tmp_path.iterdir())


def test_views_are_composited_over_white(make_viewsets):
    viewsets = make_viewsets()
    views = viewsets.views(torch.tensor([1, 0]), torch.tensor([[2], [1]]))
    assert views.alphas is not None
    color, alpha = viewsets.images[1, 2, 3, 4, :3] / 255, viewsets.images[1, 2, 3, 4, 3] / 255
    assert views.images[0, 0, :, 3, 4].numpy() == pytest.approx(color * alpha + 1 - alpha, abs=1e-6)
    assert views.alphas[0, 0, 3, 4].item() == pytest.approx(alpha)
    assert (views.images[:, :, :, 0] == 1).all()  # nothing there: white
    assert torch.equal(views.cameras.viewmats[1, 0], viewsets.cameras.viewmats[0, 1])
