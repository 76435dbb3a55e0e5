"""Pictures as people have them."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from sparsegen.errors import InputError
from sparsegen.formats.images import contact_sheet, load_focal_length, load_image, save_image

HEIGHT, WIDTH = 6, 8


def picture() -> np.ndarray:
    """A smooth RGB picture, dark on the left and red at the bottom."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([20 + 30 * y + x, 10 + 25 * x, 200 - 20 * x], axis=-1).astype(np.uint8)


def channels(levels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(levels.astype(np.float32) / 255).permute(2, 0, 1)


def test_png_with_alpha_is_exact(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    torch.testing.assert_close(load_image(tmp_path / "a.png"), channels(levels))


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("ppm", {}, 0),
        ("jpg", {"quality": 98, "subsampling": 0}, 8 / 255),
        ("gif", {}, 0),
    ],
)
def test_opaque_formats(tmp_path, suffix, options, tolerance):
    Image.fromarray(picture()).save(tmp_path / f"a.{suffix}", **options)
    loaded = load_image(tmp_path / f"a.{suffix}")
    torch.testing.assert_close(loaded[:3], channels(picture()), atol=tolerance + 1e-6, rtol=0)
    assert (loaded[3] == 1).all()


def test_gray_of_8_and_16_bits_agree(tmp_path):
    gray = picture()[..., 0]
    Image.fromarray(gray).save(tmp_path / "8.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.tiff")
    expected = channels(np.stack([gray] * 3, axis=-1))
    for name in ("8.png", "16.png", "16.tiff"):
        torch.testing.assert_close(load_image(tmp_path / name)[:3], expected)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_color_of_16_bits_is_scaled_not_clipped(tmp_path):
    levels = picture().astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in levels)  # PNG filter 0 before every row
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    torch.testing.assert_close(load_image(tmp_path / "a.png")[:3], channels(picture()), atol=1e-6, rtol=0)


def test_palette_with_a_transparent_color(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    loaded = load_image(tmp_path / "a.png")
    assert loaded[:, 0, 1].tolist() == [0, 0, 1, 1]
    assert loaded[3].sum() == 1


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    torch.testing.assert_close(load_image(tmp_path / "a.jpg")[:3], channels(picture()), atol=0.06, rtol=0)


def test_the_color_profile_counts(tmp_path):
    swapped = swapped_primaries_profile()
    Image.fromarray(picture()[..., [1, 0, 2]].copy()).save(tmp_path / "a.png", icc_profile=swapped)
    torch.testing.assert_close(load_image(tmp_path / "a.png")[:3], channels(picture()), atol=0.03, rtol=0)
    Image.fromarray(picture()).save(tmp_path / "b.png", icc_profile=b"not a profile")
    torch.testing.assert_close(load_image(tmp_path / "b.png")[:3], channels(picture()))


def swapped_primaries_profile() -> bytes:
    """sRGB's profile with the tags of its red and green primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")


@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (3, 2), (8, 1)])
def test_exif_rotation(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(picture(), turns).copy()
    torch.testing.assert_close(load_image(tmp_path / "a.png")[:3], channels(expected))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png())).save(buffer, "JPEG")
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def floats() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ones((4, 4), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


BAD = {
    "empty.png": (lambda: b"", "0 bytes"),
    "text.png": (lambda: b"hello", "not a picture"),
    "page.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "short.png": (lambda: png()[:2000], "damaged or cut short"),
    "head.png": (lambda: png()[:20], "damaged or cut short|not a picture"),
    "short.jpg": (lambda: jpeg()[:1500], "damaged or cut short"),
    "flipped.png": (lambda: png()[:3000] + b"\0\1\2" * 50 + png()[3150:], "damaged or cut short"),
    "no pixels.png": (lambda: png().replace(b"\0\0\0\x40\0\0\0\x40", bytes(8), 1), "not a picture|0 x 0"),
    "bomb.ppm": (lambda: b"P6 100000 100000 255\n" + bytes(100), "million pixels"),
    "large.ppm": (lambda: b"P6 10000 10000 255\n" + bytes(100), "million pixels"),
    "animated.gif": (lambda: animated("GIF"), "holds 3 pictures"),
    "animated.webp": (lambda: animated("WEBP"), "holds 3 pictures"),
    "animated.png": (lambda: animated("PNG"), "holds 3 pictures"),
    "pages.tiff": (lambda: animated("TIFF"), "holds 3 pictures"),
    "float.tiff": (floats, "32-bit"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_refused_in_one_line(tmp_path, name):
    make, words = BAD[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(InputError, match=words) as caught:
        load_image(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="folder"):
        load_image(tmp_path)


def test_what_is_saved_is_read_back(tmp_path):
    image = channels(picture())
    save_image(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as read:
        np.testing.assert_array_equal(np.array(read), picture())
    rgba = torch.cat([image, image[:1]])
    save_image(tmp_path / "b.webp", rgba)
    with Image.open(tmp_path / "b.webp") as read:
        assert read.mode == "RGBA"
    for name in ("a.bmp", "a", "b.jpg"):
        with pytest.raises(InputError, match=r"use \.png"):
            save_image(tmp_path / name, rgba)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.webp"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"a\.png.*No space left"):
        save_image(tmp_path / "a.png", channels(picture()))
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_holds_every_picture(tmp_path):
    generator = torch.Generator().manual_seed(0)
    small, large = (torch.rand(3, n, n, generator=generator) for n in (16, 32))
    contact_sheet(
        [[small, large], [large, small], [small]], tmp_path / "a.png", ["input", "view"], ["x", "y"]
    )
    sheet = load_image(tmp_path / "a.png")[:3]
    for image, count in ((small, 3), (large, 2)):
        size = image.shape[-1]
        windows = sheet.unfold(1, size, 1).unfold(2, size, 1)  # (3, y, x, size, size)
        same = (windows - image[:, None, None]).abs().amax(dim=(0, 3, 4)) < 0.5 / 255 + 1e-6
        assert same.sum() == count
    plain = [[small, small]]
    contact_sheet(plain, tmp_path / "b.png")
    assert load_image(tmp_path / "b.png").shape == (4, 4 + 20, 4 + 2 * 20)


@pytest.mark.parametrize(("noted", "expected"), [(26, 26.0), (None, None), (0, None)])
def test_the_focal_length_that_a_camera_noted(tmp_path, noted, expected):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    if noted is not None:
        exif.get_ifd(0x8769)[0xA405] = noted
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif)
    assert load_focal_length(tmp_path / "a.jpg") == expected


def test_a_heic_picture_is_read_upright(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    upright = Image.fromarray(picture()).resize((64, 48), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn clockwise to show
    turned = heif.from_pillow(upright.transpose(Image.Transpose.ROTATE_90))
    turned.save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    loaded = load_image(tmp_path / "a.heic")
    expected = channels(np.asarray(upright))
    assert loaded.shape[1:] == (48, 64)
    assert (loaded[:3] - expected).abs().mean() < 0.03


def test_without_pillow_heif_a_heic_picture_is_refused_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError, match=r"a\.heic.*pip install pillow-heif"):
        load_image(tmp_path / "a.heic")


def test_a_damaged_heic_picture_is_one_line(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    with pytest.raises(InputError, match=r"a\.heic: damaged"):
        load_image(tmp_path / "a.heic")
