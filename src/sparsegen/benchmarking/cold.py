"""The whole `generate` command in a process of its own, as a person waits for it."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from sparsegen.formats.images import save_image
from sparsegen.models.presets import preset
from sparsegen.models.pretrained import save_pretrained
from sparsegen.timing import Row, interleaved

PRESETS = ("tiny", "base")
# Processes take seconds: fewer of them tell as much.
_MOST_REPEATS = 5


def measure(device: torch.device, repeats: int) -> tuple[list[Row], list[str]]:
    """From the start of Python to Gaussians, video and sheet on disk; rows, and where the last time went.

    Weights are random, and the camera is given. The first run, which may compile kernels, is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {name: _command(Path(folder), name, device) for name in PRESETS}
        runs = {name: functools.partial(generate, command) for name, command in commands.items()}
        timings = interleaved(runs, min(repeats, _MOST_REPEATS), warmup=1)
        stages = {name: run() for name, run in runs.items()}
    rows = [Row("cold", f"sparsegen generate, {name}, video included", timings[name]) for name in PRESETS]
    return rows, [f"cold: {name}: {stages[name]}" for name in PRESETS]


def generate(command: list[str]) -> str:
    """Run the command, and return its last line, the seconds of its stages."""
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return result.stdout.strip().splitlines()[-1].strip()


def _command(folder: Path, name: str, device: torch.device) -> list[str]:
    torch.manual_seed(0)
    model, picture = folder / name, folder / f"{name}.png"
    save_pretrained(preset(name).build(), model)
    save_image(picture, _disc())
    what = ["-m", "sparsegen", "generate", str(picture), "--model", str(model), "-o", str(folder / "out")]
    return [sys.executable, *what, "--azimuth", "-36", "--device", device.type]


def _disc(size: int = 256) -> torch.Tensor:
    """A colored disc (4, h, w) on nothing."""
    axis = torch.linspace(-1, 1, size)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    inside = (rows**2 + columns**2 < 0.5).float()
    return torch.stack([(rows + 1) / 2, (columns + 1) / 2, torch.full_like(rows, 0.5), inside])
