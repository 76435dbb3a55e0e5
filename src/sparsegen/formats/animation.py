"""Turning pictures as files: MP4, and GIF and WebP that pages and chats show like a picture."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.files import write_bytes
from sparsegen.formats.images import to_pil
from sparsegen.formats.video import save_video

MOVING_SUFFIXES = (".mp4", ".gif", ".webp")

# GIF counts time in hundredths of a second. Browsers slow down what is shown for less than two.
_GIF_TICK, _GIF_SHORTEST = 10, 20  # milliseconds
_WEBP_QUALITY = 85
# Pictures that the colors of a GIF are chosen from.
_PALETTE_FRAMES = 8
_PALETTE_SIDE = 128


def save_animation(path: str | Path, frames: Iterable[Float[Tensor, "3 h w"]], fps: float = 30) -> None:
    """Write pictures in [0, 1] of one size, `fps` a second, as `.mp4`, `.gif` or `.webp`.

    GIF and WebP repeat for ever; their times are whole ticks that add up to the right length. All
    frames of these two are held in memory. Raises `InputError` for another suffix, no frames, more
    frames a second than the format shows, or a file that cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in MOVING_SUFFIXES:
        raise InputError(
            f"{path}: cannot write moving pictures as that; end it in {', '.join(MOVING_SUFFIXES)}"
        )
    if suffix == ".mp4":
        save_video(path, frames, fps)
        return
    pictures = [to_pil(frame) for frame in frames]
    if not pictures:
        raise InputError(f"{path}: an animation needs at least one frame, got none")
    if len({picture.size for picture in pictures}) > 1:
        raise ValueError("frames must have one size")
    buffer = io.BytesIO()
    (_save_gif if suffix == ".gif" else _save_webp)(buffer, pictures, fps, path)
    write_bytes(path, buffer.getvalue())


def frame_times(count: int, fps: float, tick: int = 1) -> list[int]:
    """Milliseconds that each frame is shown: whole ticks, whose sums stay within half a tick of the truth."""
    ends = [round(1000 * (i + 1) / (fps * tick)) * tick for i in range(count)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _save_gif(buffer: io.BytesIO, pictures: list[Image.Image], fps: float, path: str | Path) -> None:
    times = frame_times(len(pictures), fps, _GIF_TICK)
    if min(times) < _GIF_SHORTEST:
        most = 1000 // _GIF_SHORTEST
        raise InputError(
            f"{path}: GIF shows at most {most} frames a second, found {fps:g}; use .webp or .mp4"
        )
    # One set of colors for all frames: with its own for each, flat areas would flicker.
    palette = _palette(pictures)
    indexed = [p.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for p in pictures]
    indexed[0].save(
        buffer, "GIF", save_all=True, append_images=indexed[1:], duration=times, loop=0, optimize=False
    )


def _palette(pictures: list[Image.Image]) -> Image.Image:
    step = -(-len(pictures) // _PALETTE_FRAMES)
    chosen = pictures[::step]
    strip = Image.new("RGB", (_PALETTE_SIDE * len(chosen), _PALETTE_SIDE))
    for i, picture in enumerate(chosen):
        small = picture.resize((_PALETTE_SIDE, _PALETTE_SIDE), Image.Resampling.NEAREST)
        strip.paste(small, (_PALETTE_SIDE * i, 0))
    return strip.quantize(256, method=Image.Quantize.MEDIANCUT)


def _save_webp(buffer: io.BytesIO, pictures: list[Image.Image], fps: float, path: str | Path) -> None:
    times = frame_times(len(pictures), fps)
    if min(times) < 1:
        raise InputError(f"{path}: WebP shows at most 1000 frames a second, found {fps:g}; ask for fewer")
    pictures[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=times,
        loop=0,
        quality=_WEBP_QUALITY,
        method=4,
    )
