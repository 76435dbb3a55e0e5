"""The sheet shows the picture, its cut-out and a row for each object."""

import torch
from PIL import Image

from gaussian_samples import recorded
from sparsegen.formats.images import load_image
from sparsegen.photos import frame, open_photo
from sparsegen.sheets import write_sheet
from test_photos import save_blob


def test_the_names_of_the_smallest_columns_do_not_touch(tmp_path):
    """Above the eight views around an object there is white between what is written."""
    write_sheet(tmp_path / "s.png", [], None, [recorded()], 32)
    sheet = load_image(tmp_path / "s.png")[:3]
    ink = (sheet[:, 4:22].mean((0, 1)) < 0.95).nonzero()[:, 0]
    wide = (ink[1:] - ink[:-1] >= 6).sum()
    assert wide == 7


def test_the_cut_out_lies_on_a_checkerboard_beside_the_picture(tmp_path):
    photo = open_photo(save_blob(tmp_path / "a.png", size=(60, 60), alpha=False))
    views = frame(photo.rgba, 32)
    write_sheet(tmp_path / "s.png", [photo], views, [recorded(), recorded()], 60, ["first", "second"])
    sheet = load_image(tmp_path / "s.png")[:3]
    with Image.open(tmp_path / "s.png") as image:
        assert image.height > 2 * 60
    red = (sheet[0] > 0.7) & (sheet[1] < 0.3)
    levels = (sheet * 255).round()
    gray = ((levels == 140) | (levels == 191)).all(0) & (levels.amax(0) == levels.amin(0))
    rows = torch.where(gray.float().mean(1) > 0.02)[0]
    # One checkerboard of 60 pixels, in the first row only; the object lies on it too.
    assert 55 <= rows.max() - rows.min() < 62
    columns = torch.where(gray[rows].float().mean(0) > 0.3)[0]
    assert 55 <= columns.max() - columns.min() < 62
    board = red[:, columns.min() : columns.max()]
    assert board.sum() > 0.2 * red.sum()
