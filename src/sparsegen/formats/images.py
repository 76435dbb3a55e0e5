"""Pictures on disk: reading what people have, writing PNG, and sheets of many pictures."""

from __future__ import annotations

import importlib
import io
import logging
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.files import check_readable, write_bytes

logger = logging.getLogger(__name__)

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
# A phone's MPO file is a JPEG picture with a preview or a second lens behind it, not an animation.
_FIRST_OF_MANY = ("MPO",)
_CURE = "save it as an 8-bit PNG or JPEG"
_GIVE = "give a PNG, JPEG or WebP file"
_DEEP = "32-bit values, whose white is not known; save it with 8 or 16 bits"
# What a folder's pictures are told by; a file's format is told by its content.
PICTURE_SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".heic", ".heif"),
        *(".bmp", ".tif", ".tiff", ".gif", ".ppm"),
    )
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_EXIF_BLOCK, _EXIF_FOCAL_35 = 0x8769, 0xA405
_GAP = 4  # pixels between the pictures of a sheet


def pictures_below(folder: Path) -> list[Path]:
    """All picture files of a folder and of those in it, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)


def load_image(path: str | Path) -> Float[Tensor, "4 h w"]:
    """A picture as RGBA in [0, 1], straight alpha, sRGB, turned the way its EXIF orientation says.

    Gray, palette, CMYK and 16-bit pictures are converted, by their color profile where they have one.
    Raises `InputError` for a file that is missing, cut short, animated, too large or not a picture.
    """
    path = check_readable(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities that it then handles
        try:
            return _decode(path)
        except InputError:
            raise
        except Image.DecompressionBombError:
            limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise InputError(f"{path}: more than {limit} million pixels; scale it down") from None
        except Image.UnidentifiedImageError:
            raise InputError(f"{path}: not a picture, or of an unknown format; {_GIVE}") from None
        except Exception as error:  # a damaged file can make Pillow's decoders raise almost anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{path}: damaged or cut short ({reason}); {_CURE}") from None


def check_image(data: bytes, most: int) -> None:
    """Raise `InputError` for what is no picture that `load_image` takes, or has more than `most` pixels.

    Nothing is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if _is_heic(data[:12]):
                (width, height), deep = _heif().open_heif(io.BytesIO(data)).size, False
            else:
                with _identify(io.BytesIO(data)) as image:
                    (width, height), deep = image.size, _is_deep(image.mode, image.format)
    except InputError:
        raise
    except Image.DecompressionBombError:
        width, height, deep = most + 1, 1, False
    except Exception:  # a damaged file can make Pillow's decoders raise almost anything
        raise InputError(f"not a picture, or of an unknown format; {_GIVE}") from None
    if width * height > most:
        raise InputError(f"the picture has more than {most:,} pixels; scale it down")
    if deep:
        raise InputError(f"the picture has {_DEEP}")


def load_focal_length(path: str | Path) -> float | None:
    """The focal length that a camera noted, as its equivalent in millimetres on 35 mm film, if it did.

    It is that of the whole picture: cropping, which programs do not note, makes it too short.
    """
    try:
        with _open(check_readable(path)) as image:
            noted = image.getexif().get_ifd(_EXIF_BLOCK).get(_EXIF_FOCAL_35)
        focal = float(noted)  # type: ignore[arg-type]
    except InputError:
        raise
    except Exception:  # a damaged note is no note
        return None
    return focal if 5 <= focal <= 3000 else None


def save_image(path: str | Path, image: Float[Tensor, "c h w"]) -> None:
    """Write a picture of 3 or 4 channels in [0, 1]; the suffix gives the format. Raises `InputError`."""
    suffix = Path(path).suffix.lower()
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    if suffix not in formats:
        raise InputError(f"{path}: cannot write pictures as {suffix or 'a file without suffix'}; use .png")
    if image.shape[0] == 4 and formats[suffix] == "JPEG":
        raise InputError(f"{path}: JPEG has no alpha; use .png")
    buffer = io.BytesIO()
    to_pil(image).save(buffer, formats[suffix], quality=92)
    write_bytes(path, buffer.getvalue())


def encode_png(image: Float[Tensor, "c h w"]) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_pil(image: Float[Tensor, "c h w"]) -> Image.Image:
    """A Pillow picture from 3 or 4 channels in [0, 1]."""
    levels = (image.detach().cpu().float().clamp(0, 1) * 255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def contact_sheet(
    rows: Iterable[Iterable[Float[Tensor, "3 h w"]]],
    path: str | Path,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> None:
    """Write rows of pictures as one, with optional names of the columns above and of the rows on the left.

    Pictures keep their size; each column is as wide and each row as high as its largest.
    """
    pictures = [[to_pil(image) for image in row] for row in rows]
    font = ImageFont.load_default(12)
    left = max((int(font.getlength(label)) for label in labels), default=-_GAP) + 2 * _GAP
    top = 12 + 3 * _GAP if columns else _GAP
    xs = _edges([[p.width for p in column] for column in _columns(pictures)], left)
    ys = _edges([[p.height for p in row] for row in pictures], top)
    sheet = Image.new("RGB", (xs[-1], ys[-1]), "white")
    for y, row in zip(ys, pictures, strict=False):
        for x, picture in zip(xs, row, strict=False):
            sheet.paste(picture, (x, y))
    draw = ImageDraw.Draw(sheet)
    for x, text in zip(xs, columns, strict=False):
        draw.text((x, _GAP), text, "black", font)
    for y, text in zip(ys, labels, strict=False):
        draw.text((_GAP, y), text, "black", font)
    save_image(path, torch.from_numpy(np.array(sheet)).permute(2, 0, 1) / 255)


def _decode(path: Path) -> Float[Tensor, "4 h w"]:
    with _open(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in _FIRST_OF_MANY:
            raise InputError(f"{path}: holds {frames} pictures (animated or many pages); save one as PNG")
        if not image.width or not image.height:
            raise InputError(f"{path}: {image.width} x {image.height} pixels; give a picture with content")
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):  # Pillow would only warn
            raise Image.DecompressionBombError
        image.load()
        turned = ImageOps.exif_transpose(image)
    if _is_deep(turned.mode, image.format):
        raise InputError(f"{path}: {_DEEP}")
    if turned.mode.startswith("I"):
        gray = torch.from_numpy(np.asarray(turned).astype(np.float32) / 65535)
        return torch.stack([gray, gray, gray, torch.ones_like(gray)])
    levels = torch.from_numpy(np.array(_to_srgb(turned, path).convert("RGBA")))
    return levels.permute(2, 0, 1).float() / 255


def _open(path: Path) -> Image.Image:
    with path.open("rb") as file:
        head = file.read(12)
    return _open_heic(path) if _is_heic(head) else _identify(path)


def _identify(source: Path | io.BytesIO) -> Image.Image:
    Image.init()  # registers every format that this Pillow was built with
    return Image.open(source, formats=[f for f in _FORMATS if f in Image.OPEN])


def _is_deep(mode: str, kind: str | None) -> bool:
    return mode == "F" or (mode == "I" and kind != "PPM")


def _is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS


def _heif() -> Any:
    try:
        return importlib.import_module("pillow_heif")
    except ImportError:
        raise InputError("HEIC pictures need pillow-heif; pip install pillow-heif") from None


def _open_heic(path: Path) -> Image.Image:
    """What iPhones write; their main picture, turned upright by the library."""
    try:
        opened = _heif().open_heif(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if opened.size[0] * opened.size[1] > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise Image.DecompressionBombError
    return opened.to_pillow()


def _to_srgb(image: Image.Image, path: Path) -> Image.Image:
    """Colors by the embedded profile: phones write Display P3, printers' files CMYK."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        logger.info("%s: its color profile cannot be used, colors are taken as they are", path)
        return image
    return converted or image


def _columns(pictures: list[list[Image.Image]]) -> list[list[Image.Image]]:
    longest = max(map(len, pictures))
    return [[row[i] for row in pictures if i < len(row)] for i in range(longest)]


def _edges(sizes: list[list[int]], start: int) -> list[int]:
    """Where each row or column begins, and where the sheet ends."""
    edges = [start]
    for group in sizes:
        edges.append(edges[-1] + max(group) + _GAP)
    return edges
