"""GIF and WebP, read back by Pillow."""

import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.animation import frame_times, save_animation


def moving_squares(count: int, size: int = 48) -> list[Tensor]:
    """A red square that moves to the right over white, above a blue ramp."""
    frames = []
    for i in range(count):
        frame = torch.ones(3, size, size)
        frame[:, size // 2 :] = torch.stack(
            [torch.linspace(0, 0.4, size), torch.zeros(size), torch.ones(size)]
        )[:, None]
        frame[:, 6:16, 2 * i + 1 : 2 * i + 11] = torch.tensor([0.9, 0.1, 0.2])[:, None, None]
        frames.append(frame)
    return frames


def read(path) -> tuple[list[int], Tensor, int | None]:
    with Image.open(path) as image:
        times, pictures = [], []
        for frame in ImageSequence.Iterator(image):
            pictures.append(
                torch.tensor(list(frame.convert("RGB").tobytes())).reshape(*frame.size[::-1], 3) / 255
            )
            times.append(frame.info["duration"])
        return times, torch.stack(pictures).permute(0, 3, 1, 2), image.info.get("loop")


@pytest.mark.parametrize(("suffix", "error"), [(".gif", 0.04), (".webp", 0.02)])
def test_frames_times_and_colors_come_back(tmp_path, suffix, error):
    frames = moving_squares(12)
    save_animation(tmp_path / f"a{suffix}", iter(frames), fps=24)
    times, pictures, loop = read(tmp_path / f"a{suffix}")
    assert len(times) == 12
    assert sum(times) == 500
    assert max(times) - min(times) <= (10 if suffix == ".gif" else 1)
    assert loop == 0  # for ever
    assert (pictures - torch.stack(frames)).abs().mean() < error
    # Each frame shows its own moment: the square where it is, white where it was.
    assert (pictures[11, :, 10, 28] - frames[11][:, 10, 28]).abs().max() < 0.1
    assert (pictures[11, :, 10, 3] - 1).abs().max() < 0.05


def test_times_add_up():
    for fps, tick in ((30, 10), (24, 10), (29.97, 1), (60, 1)):
        ends = torch.tensor(frame_times(200, fps, tick)).cumsum(0)
        truth = 1000 * torch.arange(1, 201) / fps
        assert (ends - truth).abs().max() <= tick / 2 + 1e-3


def test_mp4_goes_to_the_video_encoder(tmp_path):
    save_animation(tmp_path / "a.mp4", moving_squares(3), fps=10)
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def test_mistakes_leave_nothing(tmp_path):
    for name, frames, fps, words in (
        ("a.gif", [], 30, "at least one frame"),
        ("a.webp", [], 30, "at least one frame"),
        ("a.avi", moving_squares(2), 30, r"end it in \.mp4, \.gif, \.webp"),
        ("a.gif", moving_squares(2), 60, "at most 50 frames a second, found 60"),
    ):
        with pytest.raises(InputError, match=words):
            save_animation(tmp_path / name, frames, fps)
    with pytest.raises(ValueError, match="one size"):
        save_animation(tmp_path / "a.gif", [torch.zeros(3, 8, 8), torch.zeros(3, 8, 10)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"a\.gif: cannot be written .*No space left"):
        save_animation(tmp_path / "a.gif", moving_squares(3))
    assert list(tmp_path.iterdir()) == []
