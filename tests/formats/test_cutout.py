"""Cutting out and framing, against pictures whose coverage is known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.cutout import cut_out, fit, is_cut_out, level, object_boxes, turned, whole

W, H = 200, 150


def scene(background: tuple[int, int, int], gradient: float = 0, noise: float = 0) -> tuple[Tensor, Tensor]:
    """An opaque photo (4, H, W) and the true RGBA: a ring on a box, background-colored in the middle."""
    large = Image.new("RGBA", (4 * W, 4 * H), (0, 0, 0, 0))
    draw = ImageDraw.Draw(large)
    draw.rounded_rectangle([160, 280, 640, 440], 40, fill=(180, 20, 30, 255))
    draw.ellipse([240, 120, 560, 380], fill=(40, 60, 160, 255))
    draw.ellipse([340, 190, 460, 300], fill=(*background, 255))
    truth = np.asarray(large.resize((W, H), Image.Resampling.BOX)).astype(np.float32) / 255
    y, x = np.mgrid[0:H, 0:W]
    behind = np.array(background) / 255 + gradient * ((x / W - 0.5) + (y / H - 0.5) ** 2)[..., None]
    photo = truth[..., 3:] * truth[..., :3] + (1 - truth[..., 3:]) * behind
    photo += np.random.default_rng(0).normal(0, noise, photo.shape)
    opaque = np.concatenate([photo.clip(0, 1), np.ones((H, W, 1))], axis=-1)
    return torch.from_numpy(opaque).permute(2, 0, 1).float(), torch.from_numpy(truth).permute(2, 0, 1)


def over(rgba: Tensor, color: tuple[float, float, float]) -> Tensor:
    return rgba[:3] * rgba[3] + torch.tensor(color)[:, None, None] * (1 - rgba[3])


@pytest.mark.parametrize(
    ("background", "gradient", "noise"),
    [((255, 255, 255), 0, 0), ((200, 205, 210), 0.12, 0.01), ((20, 90, 40), 0.05, 0.02)],
)
def test_the_object_is_cut_out_and_its_inner_parts_stay(background, gradient, noise):
    photo, truth = scene(background, gradient, noise)
    result = cut_out(photo)
    assert result.shape == truth.shape
    error = (result[3] - truth[3]).abs()
    assert error.mean() < 0.004
    assert error.max() < 0.7
    assert result[3, 61, 100] == 1  # the middle has the background's color
    assert (result[3, :20] == 0).all()
    # Over another color no fringe of the old background is left.
    difference = (over(result, (0, 1, 0)) - over(truth, (0, 1, 0))).abs().amax(dim=0)
    assert difference.mean() < 0.01 + noise


def test_the_edge_is_soft():
    photo, truth = scene((255, 255, 255))
    edge = (truth[3] > 0.1) & (truth[3] < 0.9)
    assert (cut_out(photo)[3] - truth[3])[edge].abs().mean() < 0.15


def test_alpha_is_left_alone():
    _, truth = scene((255, 255, 255))
    assert is_cut_out(truth)
    assert cut_out(truth) is truth


def test_large_pictures_are_scaled_down():
    photo, _ = scene((230, 230, 230))
    large = photo.repeat_interleave(10, 1).repeat_interleave(10, 2)
    assert cut_out(large).shape == (4, 768, 1024)


def test_dust_is_dropped_and_thin_parts_stay():
    photo, _ = scene((230, 230, 230))
    photo[:3, 10, 10] = 0
    photo[:3, 90:92, 20:60] = 0  # a handle on the box
    alpha = cut_out(photo)[3]
    assert alpha[10, 10] == 0
    assert alpha[90, 25] > 0.9


def test_what_cannot_be_cut_out_is_refused():
    generator = torch.Generator().manual_seed(0)
    busy = torch.cat([torch.rand(3, 60, 80, generator=generator), torch.ones(1, 60, 80)])
    with pytest.raises(InputError, match=r"^photo\.jpg: its background is not plain.*RGBA.*background$"):
        cut_out(busy, "photo.jpg")
    stripes = torch.ones(4, 60, 80)
    stripes[:3, :, ::16] = stripes[:3, :, 1::16] = stripes[:3, :, 2::16] = stripes[:3, :, 3::16] = 0
    stripes[:3, :, 4::16] = stripes[:3, :, 5::16] = 0
    with pytest.raises(InputError, match="not plain"):
        cut_out(stripes)
    with pytest.raises(InputError, match=r"photo\.jpg: nothing stands out.*RGBA PNG\)$"):
        cut_out(torch.full((4, 60, 80), 1.0), "photo.jpg")
    one = torch.ones(4, 1, 1)
    with pytest.raises(InputError, match="nothing stands out"):
        cut_out(one)
    with pytest.raises(InputError, match=r"photo\.png: its alpha is empty"):
        fit(torch.zeros(4, 60, 80), 32, name="photo.png")


def rectangle(height: int, width: int, box: tuple[int, int, int, int]) -> Tensor:
    rgba = torch.zeros(4, height, width)
    top, left, bottom, right = box
    rgba[:, top:bottom, left:right] = torch.tensor([0.8, 0.2, 0.1, 1.0])[:, None, None]
    return rgba


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(300, 500, (20, 30, 60, 190)), (500, 200, (0, 0, 480, 200)), (40, 30, (10, 10, 20, 14))],
)
def test_the_larger_side_spans_its_share_and_the_middle_is_the_middle(height, width, box):
    image, alpha = fit(rectangle(height, width, box), 128, span=0.75)
    top, left, bottom, right = box
    scale = 0.75 * 128 / max(bottom - top, right - left)
    assert image.shape == (3, 128, 128)
    # Coverage is conserved: an average over areas loses nothing.
    assert alpha.sum() == pytest.approx((bottom - top) * (right - left) * scale**2, rel=1e-3)
    for dim in (0, 1):
        profile = alpha.sum(dim)
        center = (profile * (torch.arange(128) + 0.5)).sum() / profile.sum()
        assert center == pytest.approx(64, abs=1e-2)
    torch.testing.assert_close(image[:, 64, 64], torch.tensor([0.8, 0.2, 0.1]))
    assert (image[:, 0] == 1).all()
    # Transparent pixels' own color (black here) does not darken the edge over white.
    expected = alpha * torch.tensor([0.8, 0.2, 0.1])[:, None, None] + (1 - alpha)
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)


def test_whole_is_the_average_of_blocks():
    generator = torch.Generator().manual_seed(0)
    rgba = torch.rand(4, 64, 64, generator=generator)
    image, alpha = whole(rgba, 16)
    blocks = over(rgba, (1, 1, 1)).reshape(3, 16, 4, 16, 4).mean(dim=(2, 4))
    torch.testing.assert_close(image, blocks)
    torch.testing.assert_close(alpha, rgba[3].reshape(16, 4, 16, 4).mean(dim=(1, 3)))
    same, _ = whole(rgba, 64)
    torch.testing.assert_close(same, over(rgba, (1, 1, 1)))
    wide, _ = whole(rectangle(32, 64, (0, 0, 32, 64)), 64)
    assert (wide[:, :16] == 1).all()
    assert (wide[0, 16:48] < 0.81).all()


def test_boxes_have_edges_within_pixels():
    """Rectangles drawn sixteen times finer and averaged: pixels at their edges are covered in part."""
    fine = torch.zeros(2, 16 * 20, 16 * 30)
    fine[0, 37:250, 100:411] = 1
    fine[1, 0:320, 5:480] = 1
    coarse = fine.unflatten(1, (20, 16)).unflatten(3, (30, 16)).mean((2, 4))
    expected = torch.tensor([[37, 250, 100, 411], [0, 320, 5, 480]]) / 16
    torch.testing.assert_close(object_boxes(coarse), expected)
    torch.testing.assert_close(object_boxes(torch.zeros(1, 20, 30)), torch.tensor([[0.0, 20, 0, 30]]))
    torch.testing.assert_close(object_boxes(fine), 16 * expected)


@pytest.mark.parametrize("size", [None, (40, 50)])
def test_a_picture_turned_by_ninety_degrees_has_its_right_below(size):
    """Against the exact turn of its pixels, on a canvas of its own size and on a larger one."""
    maps = torch.rand(1, 2, 24, 24)
    moved = turned(maps, torch.tensor([90.0]), size)
    exact = maps.rot90(-1, (2, 3))  # PyTorch counts counterclockwise
    if size:
        assert moved[0, 0, :8].abs().max() < 1e-4
        assert moved[0, 0, :, :13].abs().max() < 1e-4
        moved = moved[:, :, 8:32, 13:37]
    torch.testing.assert_close(moved, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("roll", [-30.0, 4.0, 12.0])
def test_a_level_picture_shows_all_of_the_object_upright(roll):
    """A bar to the picture's very corners: its ends lie in one row, as far apart as before, in its color."""
    angle = math.radians(roll)
    row, column = torch.meshgrid(torch.arange(80.0) - 39.5, torch.arange(120.0) - 59.5, indexing="ij")
    along = column * math.cos(angle) + row * math.sin(angle)
    across = row * math.cos(angle) - column * math.sin(angle)
    bar = (across.abs() < 6) & (along.abs() < 50)
    assert bar.sum() > 0
    rgba = torch.rand(4, 80, 120)  # what is transparent has any color
    rgba[:, bar] = torch.tensor([0.8, 0.3, 0.1, 1.0])[:, None]
    rgba[3] = bar
    found = level(rgba, roll)
    top, bottom, left, right = object_boxes(found[3:])[0].tolist()
    shown = bar.sum() / 12  # as long as it is in the picture, whose edges may cut it
    assert (bottom - top, right - left) == (pytest.approx(12, abs=1.5), pytest.approx(shown, abs=8))
    assert found[3].sum() == pytest.approx(float(bar.sum()), rel=0.01)
    color = found[:3, found[3] > 0.99]
    torch.testing.assert_close(color, torch.tensor([0.8, 0.3, 0.1])[:, None].expand_as(color))
