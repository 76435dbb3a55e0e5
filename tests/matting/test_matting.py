"""Which way a background is taken away, and how well, on pictures whose coverage is known."""

import importlib.util
import json

import pytest
import torch

from onnx_file import red_model
from sparsegen.errors import InputError
from sparsegen.matting import apply_mask, check_method, onnx_model, remove_background

RED = torch.tensor([0.9, 0.1, 0.1])[:, None, None]


def overlap(alpha, truth):
    found, true = alpha > 0.5, truth > 0.5
    return float((found & true).sum() / (found | true).sum())


def without(monkeypatch, module):
    find = importlib.util.find_spec
    for user in ("sparsegen.matting", "sparsegen.matting.onnx_model"):
        monkeypatch.setattr(f"{user}.find_spec", lambda name: None if name == module else find(name))


def test_grabcut_finds_the_object_in_clutter(cluttered, true_alpha, no_models):
    with pytest.raises(InputError, match="not plain"):
        remove_background(cluttered, "border")
    cut = remove_background(cluttered)
    assert "GrabCut" in cut.method
    assert overlap(cut.rgba[3], true_alpha) > 0.93
    # No fringe of the background is left along the edge.
    edge = cut.rgba[3] > 0.3
    assert ((cut.rgba[:3] - RED).abs().amax(0) < 0.1)[edge].float().mean() > 0.99
    torch.testing.assert_close(remove_background(cluttered, "grabcut").rgba, cut.rgba)


def test_a_plain_background_needs_neither_model_nor_opencv(true_alpha, no_models, monkeypatch):
    without(monkeypatch, "cv2")
    photo = torch.cat([true_alpha * RED + 0.8 * (1 - true_alpha), torch.ones(1, *true_alpha.shape)])
    cut = remove_background(photo)
    assert "plain background" in cut.method
    assert overlap(cut.rgba[3], true_alpha) > 0.98


def test_without_opencv_a_busy_background_is_refused(cluttered, no_models, monkeypatch):
    without(monkeypatch, "cv2")
    with pytest.raises(InputError, match="not plain"):
        remove_background(cluttered)
    with pytest.raises(InputError, match="pip install opencv-python-headless"):
        check_method("grabcut")


def test_its_own_alpha_goes_before_everything(cluttered, true_alpha):
    rgba = torch.cat([cluttered[:3], true_alpha[None]])
    assert remove_background(rgba, "grabcut").rgba is rgba


def test_a_picture_without_an_object_is_refused(no_models):
    with pytest.raises(InputError, match=r"plain\.png"):
        remove_background(torch.full((4, 60, 80), 1.0), "auto", "plain.png")
    with pytest.raises(InputError, match=r"dot\.png"):
        remove_background(torch.ones(4, 1, 1), "grabcut", "dot.png")


@pytest.mark.parametrize("logits", [False, True])
def test_a_model_of_the_users_is_run(tmp_path, cluttered, true_alpha, logits):
    path = tmp_path / "isnet-mine.onnx"
    path.write_bytes(red_model(256, logits=logits))
    cut = remove_background(cluttered, str(path))
    assert "isnet-mine.onnx" in cut.method
    assert overlap(cut.rgba[3], true_alpha) > 0.97


def test_rembgs_models_are_found_and_the_best_is_taken(tmp_path, cluttered, monkeypatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    assert onnx_model.find_model() is None
    for name in ("u2netp", "isnet-general-use"):
        (tmp_path / f"{name}.onnx").write_bytes(red_model(64))
    assert "isnet-general-use.onnx" in remove_background(cluttered).method
    without(monkeypatch, "onnxruntime")
    assert "GrabCut" in remove_background(cluttered).method


def test_families_get_the_pixels_that_they_were_trained_on(tmp_path):
    for name, size, mean in (("u2netp", 320, 0.485), ("isnet-general-use", 1024, 0.5), ("x", 320, 0.485)):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(red_model(size))
        assert onnx_model.load_segmenter(path).mean[0] == mean


def test_a_model_in_pieces_is_put_together(tmp_path, cluttered):
    data = red_model(128)
    for i, piece in enumerate((data[:50], data[50:])):
        (tmp_path / f"piece{i}").write_bytes(piece)
    chunks = [{"hash": "piece0"}, {"hash": "piece1"}]
    index = {"/models/small": {"size": len(data), "chunks": chunks}}
    (tmp_path / "resources.json").write_text(json.dumps(index))
    whole = tmp_path / "isnet.onnx"
    whole.write_bytes(data)
    by_pieces = remove_background(cluttered, str(tmp_path)).rgba
    torch.testing.assert_close(by_pieces, remove_background(cluttered, str(whole)).rgba)
    (tmp_path / "piece1").write_bytes(data[50:-1])
    onnx_model.load_segmenter.cache_clear()
    with pytest.raises(InputError, match="install it again"):
        check_method(str(tmp_path))


@pytest.mark.parametrize("fault", ["missing", "empty", "text", "cut", "gray", "folder"])
def test_a_bad_model_is_one_line(tmp_path, fault):
    path = tmp_path / "model.onnx"
    contents = {"empty": b"", "text": b"hello", "cut": red_model(64)[:-40], "gray": red_model(64, channels=1)}
    if fault == "folder":
        path.mkdir()
    elif fault != "missing":
        path.write_bytes(contents[fault])
    with pytest.raises(InputError, match=r"model\.onnx") as raised:
        check_method(str(path))
    assert "\n" not in str(raised.value)


def gray(values):
    return torch.cat([values.expand(3, *values.shape), torch.ones(1, *values.shape)])


def test_a_mask_says_what_the_object_is(cluttered, true_alpha):
    cut = apply_mask(cluttered, gray(true_alpha), "photo.png", "mask.png")
    torch.testing.assert_close(cut.rgba[3], true_alpha)
    half = gray(true_alpha[::2, ::2])
    assert overlap(apply_mask(cluttered, half, "photo.png", "mask.png").rgba[3], true_alpha) > 0.95
    by_alpha = torch.cat([torch.zeros(3, *true_alpha.shape), true_alpha[None]])
    torch.testing.assert_close(apply_mask(cluttered, by_alpha, "a", "b").rgba[3], true_alpha)
    with pytest.raises(InputError, match=r"mask\.png: is 120 x 160 pixels.*photo\.png is 160 x 120"):
        apply_mask(cluttered, gray(true_alpha.T), "photo.png", "mask.png")
    with pytest.raises(InputError, match="black"):
        apply_mask(cluttered, gray(true_alpha * 0), "photo.png", "mask.png")
    with pytest.raises(InputError, match=r"mask\.png: is white everywhere"):
        apply_mask(cluttered, gray(true_alpha * 0 + 1), "photo.png", "mask.png")


@pytest.mark.parametrize(
    ("picture", "mask", "fits"),
    [
        ((384, 384), (5, 7), False),
        ((384, 384), (7, 7), True),
        ((333, 500), (67, 100), True),  # of 66.6: rounded
        ((333, 500), (66, 100), True),  # cut
        ((333, 500), (70, 100), False),
        ((67, 100), (333, 500), True),  # the picture may be the smaller one
        ((5, 7), (384, 384), False),
        ((3000, 4000), (2950, 4000), True),  # 1.7 % off
        ((3000, 4000), (2900, 4000), False),
    ],
)
def test_a_mask_has_the_shape_of_its_picture(picture, mask, fits):
    half = torch.zeros(mask)
    half[: mask[0] // 2] = 1
    rgba = torch.ones(4, *picture)
    if fits:
        assert apply_mask(rgba, gray(half), "a.png", "m.png").rgba.shape == rgba.shape
        return
    with pytest.raises(InputError, match=r"m\.png: is .* give a mask of its shape"):
        apply_mask(rgba, gray(half), "a.png", "m.png")


@pytest.mark.parametrize("method", ["auto", "border", "network", "grabcut"])
def test_a_picture_of_hardly_any_pixels_is_told_so(method):
    with pytest.raises(InputError, match=r"a\.png: is 1 x 1 pixels, too few"):
        remove_background(torch.ones(4, 1, 1), method, "a.png")
