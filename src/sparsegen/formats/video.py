"""MP4 videos that every browser and player shows."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import IO

from jaxtyping import Float
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path

# 4:2:0 needs even sizes: odd ones grow by a white line. Colors are converted and tagged as BT.709, so
# that players need not guess.
_FILTERS = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white,scale=out_color_matrix=bt709:out_range=tv"
_TAGS = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
# Half the work of the encoder's defaults (medium, 18 for as good a picture) for files a sixth larger.
_CODEC = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-pix_fmt", "yuv420p")
# The index goes to the front so that a page can play while it loads; no program version is written.
_CONTAINER = ("-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-f", "mp4")


def save_video(path: str | Path, frames: Iterable[Float[Tensor, "3 h w"]], fps: float = 30) -> None:
    """Write pictures in [0, 1] of one size as H.264 with `fps` frames a second.

    Frames are taken one at a time, so a generator keeps memory small. Raises `InputError` if there is no
    frame, the name does not end in .mp4, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".mp4":
        raise InputError(f"{path}: videos are written as MP4; give a name that ends in .mp4")
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InputError(f"{path}: a video needs at least one frame, got none")
    _, height, width = first.shape
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as log:
        command = _command(temporary, width, height, fps)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as encoder:
            try:
                _feed(encoder, chain([first], iterator), (height, width))
            except BaseException:
                encoder.kill()
                raise
        if encoder.returncode:
            raise _failure(log)


def _feed(encoder: subprocess.Popen[bytes], frames: Iterable[Tensor], size: tuple[int, int]) -> None:
    """All frames, or as many as it takes: an encoder that gave up has closed its pipe; its log tells why."""
    assert encoder.stdin is not None
    with suppress(BrokenPipeError), closing(encoder.stdin) as pipe:  # closing writes what is left
        for frame in frames:
            if frame.shape != (3, *size):
                raise ValueError(f"frames must have one size {(3, *size)}, got {tuple(frame.shape)}")
            levels = (frame.detach().cpu().clamp(0, 1) * 255).round().byte()
            pipe.write(levels.permute(1, 2, 0).contiguous().numpy().tobytes())


def _command(path: Path, width: int, height: int, fps: float) -> list[str]:
    from imageio_ffmpeg import get_ffmpeg_exe

    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-")
    quiet = ("-hide_banner", "-loglevel", "error", "-y")
    return [get_ffmpeg_exe(), *quiet, *source, "-vf", _FILTERS, *_CODEC, *_TAGS, *_CONTAINER, f"file:{path}"]


def _failure(log: IO[bytes]) -> OSError:
    """The system's error that the encoder reports, or its last words."""
    log.seek(0)
    text = log.read().decode(errors="replace").strip()
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        if os.strerror(code) in text:
            return OSError(code, os.strerror(code))
    return OSError(f"the video encoder stopped: {text.splitlines()[-1] if text else 'it gave no reason'}")
