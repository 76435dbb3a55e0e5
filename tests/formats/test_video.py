"""Videos, judged by ffmpeg's own decoder."""

import re
import subprocess

import numpy as np
import pytest
import torch
from imageio_ffmpeg import count_frames_and_secs, get_ffmpeg_exe
from torch import Tensor

from sparsegen.errors import InputError
from sparsegen.formats.video import save_video


def moving_disc(count: int, height: int, width: int) -> list[Tensor]:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    frames = []
    for i in range(count):
        inside = torch.sigmoid(height / 4 - torch.hypot(y - height / 2, x - width * (i + 1) / (count + 1)))
        color = torch.tensor([0.8, 0.1, 0.2])[:, None, None]
        frames.append(inside * color + (1 - inside) * torch.tensor([0.9, 0.95, 1.0])[:, None, None])
    return frames


def decode(path, height: int, width: int) -> Tensor:
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3) / 255)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (33, 47)])
def test_frames_come_back(tmp_path, height, width):
    frames = moving_disc(12, height, width)
    save_video(tmp_path / "a.mp4", iter(frames), fps=24)
    assert count_frames_and_secs(str(tmp_path / "a.mp4")) == (12, 0.5)
    report = subprocess.run(
        [get_ffmpeg_exe(), "-i", str(tmp_path / "a.mp4")], capture_output=True, text=True, check=False
    ).stderr
    even = (height + height % 2, width + width % 2)
    assert re.search(rf"Video: h264.*yuv420p\(tv, bt709.*{even[1]}x{even[0]}.* 24 fps", report)
    decoded = decode(tmp_path / "a.mp4", *even)
    truth = torch.stack(frames).permute(0, 2, 3, 1)
    mse = (decoded[:, :height, :width] - truth).square().mean()
    assert -10 * mse.log10() > 32
    assert (decoded[:, height:] > 0.8).all()
    # The colors themselves, away from edges: no shift from a wrong conversion.
    assert (decoded[0, 2, -3] - truth[0, 2, -3]).abs().max() < 0.02


def test_the_index_is_at_the_front_and_bytes_repeat(tmp_path):
    frames = moving_disc(6, 32, 32)
    save_video(tmp_path / "a.mp4", frames)
    save_video(tmp_path / "b.mp4", frames)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert data == (tmp_path / "b.mp4").read_bytes()


def test_faults_leave_nothing(tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4: .*at least one frame"):
        save_video(tmp_path / "a.mp4", [])
    with pytest.raises(InputError, match=r"a\.avi: .*\.mp4"):
        save_video(tmp_path / "a.avi", moving_disc(2, 8, 8))
    with pytest.raises(ValueError, match="one size"):
        save_video(tmp_path / "a.mp4", [torch.zeros(3, 8, 8), torch.zeros(3, 8, 10)])

    def interrupted():
        yield from moving_disc(3, 32, 32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_video(tmp_path / "a.mp4", interrupted())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4: cannot be written .*No space left") as caught:
        save_video(tmp_path / "a.mp4", moving_disc(40, 128, 128))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
