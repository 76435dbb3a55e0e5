"""Objects found in a box: one of two alike, by every method, where it stands in the whole picture."""

import pytest
import torch
from test_network import RedNet
from torch.nn import functional as F

from onnx_file import red_model
from sparsegen.box import Box
from sparsegen.cli.main import main
from sparsegen.errors import InputError
from sparsegen.formats.images import load_image, save_image
from sparsegen.matting import remove_background
from sparsegen.matting.grabcut import refined

BOX = Box(184, 8, 292, 96)  # the second object, with some pixels around
METHODS = ["auto", "border", "network", "grabcut", "onnx"]


def overlap(coverage, truth):
    found, true = coverage > 0.5, truth > 0.5
    return float((found & true).sum() / (found | true).sum())


@pytest.fixture
def twins(cluttered, true_alpha):
    """Two shapes alike beside each other, in 120 x 320 pixels, opaque; and the coverage of the second."""
    return torch.cat([cluttered, cluttered], 2), F.pad(true_alpha, (160, 0))


@pytest.fixture
def red_everywhere(monkeypatch, tmp_path, no_onnx):
    monkeypatch.setattr("sparsegen.matting.network.load_net", lambda folder: RedNet())
    path = tmp_path / "red.onnx"
    path.write_bytes(red_model(size=320))
    return path


@pytest.mark.parametrize("method", METHODS)
def test_the_one_in_the_box_is_the_object(twins, true_alpha, red_everywhere, method):
    photo, truth = twins
    if method == "border":  # which wants a plain one
        both = torch.cat([true_alpha, true_alpha], 1)
        photo = torch.cat([both * photo[:3] + 0.8 * (1 - both), photo[3:]])
    method = str(red_everywhere) if method == "onnx" else method
    alone, boxed = remove_background(photo, method), remove_background(photo, method, box=BOX)
    assert overlap(alone.rgba[3], truth) < 0.6  # it takes both, or the wrong one
    assert boxed.rgba.shape == photo.shape
    assert overlap(boxed.rgba[3], truth) > 0.95
    assert boxed.method == f"{alone.method}, in the box"
    outside = torch.ones(120, 320, dtype=torch.bool)
    outside[8:96, 184:292] = False
    assert (boxed.rgba[3][outside] == 0).all()


def test_what_touches_it_from_outside_is_background(cluttered, true_alpha, no_models):
    """Something that the box leaves out; GrabCut takes it for a part of the object without the box."""
    photo = cluttered.clone()
    photo[:3, 45:75, 120:150] = torch.tensor([0.9, 0.7, 0.1])[:, None, None]
    box = Box(22, 8, 127, 114)
    found = remove_background(photo, "grabcut", box=box).rgba[3]
    assert overlap(found, true_alpha) > 0.9 > overlap(remove_background(photo, "grabcut").rgba[3], true_alpha)


def test_a_small_box_in_a_large_picture_keeps_its_pixels(twins, red_everywhere):
    """Where the whole is scaled down, what is in the box need not be."""
    photo, truth = (F.interpolate(x[None], scale_factor=12)[0] for x in (twins[0], twins[1][None]))
    box = Box(*(12 * edge for edge in BOX))
    found = remove_background(photo, box=box).rgba
    side = 1.12 * 12 * (BOX.right - BOX.left)
    assert 1024 / side * photo.shape[2] == pytest.approx(found.shape[2], rel=0.01)
    assert remove_background(photo).rgba.shape[2] == 1024
    scaled = F.interpolate(truth[None], found.shape[1:], mode="bilinear")[0, 0]
    assert overlap(found[3], scaled) > 0.95


def test_a_network_that_is_fairly_sure_is_believed_in_a_box(cluttered, true_alpha):
    """At 0.95 GrabCut may still take a part away that looks like the background; in a box it may not."""
    photo = cluttered.clone()
    photo[:3, 40:70, 60:90] = cluttered[:3, :30, :30]
    chance = 0.95 * true_alpha
    assert overlap(refined(photo[:3], chance, sure=0.9), true_alpha) > 0.97
    assert overlap(refined(photo[:3], chance), true_alpha) < 0.95


def test_what_does_not_fill_the_box_is_not_believed(cluttered, true_alpha, no_onnx, monkeypatch):
    """A network that knows a part of the object only: GrabCut, which has the box, finds all of it."""
    monkeypatch.setattr("sparsegen.matting.network.load_net", lambda folder: RedNet())
    photo = cluttered.clone()
    photo[:3, :, 75:] += true_alpha[:, 75:] * torch.tensor([-0.7, -0.1, 0.8])[:, None, None]  # a blue end
    box = Box(22, 8, 134, 114)
    found = remove_background(photo, box=box)
    assert found.method == "GrabCut, from its border, in the box"
    assert overlap(found.rgba[3], true_alpha) > 0.9
    assert overlap(remove_background(photo).rgba[3], true_alpha) < 0.6


@pytest.mark.parametrize(
    ("size", "box"),
    [((1143, 1259), Box(58, 0, 1174, 1143)), ((1259, 1143), Box(0, 58, 1143, 1174))],
)
def test_the_whole_picture_holds_what_is_scaled_down_with_its_box(size, box, red_everywhere):
    """From edge to edge, where roundings of the part's size and of the whole's could differ."""
    photo = torch.cat([torch.full((3, *size), 0.5), torch.ones(1, *size)])
    left, top, right, bottom = (round(edge) for edge in box)
    photo[:3, top + 9 : bottom - 9, left + 9 : right - 9] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    found = remove_background(photo, "network", box=box).rgba
    scale = found.shape[1] / size[0]
    assert found.shape[2] == pytest.approx(scale * size[1], abs=1)
    truth = (photo[0] > 0.8).float()[None, None]
    assert overlap(found[3], F.interpolate(truth, found.shape[1:], mode="bilinear")[0, 0]) > 0.95


def test_own_alpha_counts_in_the_box(twins, true_alpha):
    both = torch.cat([twins[0][:3], torch.cat([true_alpha, true_alpha], 1)[None]])
    cut = remove_background(both, box=BOX)
    assert torch.equal(cut.rgba[3], twins[1])
    assert cut.method == "its own alpha, in the box"
    with pytest.raises(InputError, match=r"a\.png: its alpha is empty in the box"):
        remove_background(both, name="a.png", box=Box(0, 0, 20, 20))


def test_boxes_may_reach_beyond_the_picture_but_not_miss_it(twins, red_everywhere):
    loose = remove_background(twins[0], box=Box(180.4, -30, 500, 95.6))
    assert overlap(loose.rgba[3], twins[1]) > 0.95
    for box in (Box(400, 0, 500, 50), Box(10, 10, 100, 12), Box(-50, -50, 2, 100)):
        with pytest.raises(InputError, match=r"a\.png: is 320 x 120 pixels, too little of it is in the box"):
            remove_background(twins[0], name="a.png", box=box)


def test_nothing_in_the_box_is_said(twins, no_models):
    with pytest.raises(InputError, match=r"a\.png: .*nothing was found"):
        remove_background(twins[0], "grabcut", "a.png", box=Box(0, 0, 5, 5))


def test_the_command_takes_a_box(twins, red_everywhere, tmp_path, capsys):
    save_image(tmp_path / "two.png", twins[0][:3])
    picture, out = str(tmp_path / "two.png"), str(tmp_path / "out")
    assert main(["generate", picture, "--box", "184,8,292,96", "-o", out, "--no-video"]) == 0
    assert "in the box" in capsys.readouterr().out
    assert load_image(tmp_path / "out" / "two_views.png").shape[0] == 4
    for words, said in [
        (["--box", "184,8,292"], "--box: expected LEFT,TOP,RIGHT,BOTTOM in pixels"),
        (["--box", "1,2,30,40", "--mask", picture], "leave --mask or --box out"),
        ([str(tmp_path / "other.png"), "--box", "1,2,30,40"], "--box: is for one picture, found 2"),
        (
            ["--box", "900,8,950,50"],
            "two.png: is 320 x 120 pixels, too little of it is in the box 900,8,950,50",
        ),
    ]:
        assert main(["generate", picture, *words, "-o", out]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
