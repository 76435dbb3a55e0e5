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
SHIPPED = "the shipped weights"
# Processes take seconds: fewer of them tell as much.
_MOST_REPEATS = 5


def measure(device: torch.device, repeats: int) -> tuple[list[Row], list[str]]:
    """From the start of Python to Gaussians, video and sheet on disk; rows, and where the last time went.

    Presets have random weights, and are given the camera; the shipped weights come with what estimates it.
    The first run, which may compile kernels, is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {SHIPPED: _command(Path(folder), device)}
        commands |= {name: _command(Path(folder), device, name) for name in PRESETS}
        runs = {name: functools.partial(generate, command) for name, command in commands.items()}
        timings = interleaved(runs, min(repeats, _MOST_REPEATS), warmup=1)
        stages = {name: run() for name, run in runs.items()}
    rows = [Row("cold", f"sparsegen generate, {name}, video included", timings[name]) for name in commands]
    return rows, [f"cold: {name}: {stages[name]}" for name in commands]


def generate(command: list[str]) -> str:
    """Run the command, and return its last line, the seconds of its stages."""
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return result.stdout.strip().splitlines()[-1].strip()


def _command(folder: Path, device: torch.device, name: str | None = None) -> list[str]:
    """`sparsegen generate` with a preset's random weights, or with the shipped ones."""
    picture = folder / f"{name}.png"
    save_image(picture, _disc())
    what = ["generate", str(picture), "-o", str(folder / "out"), "--device", device.type]
    if name is not None:
        torch.manual_seed(0)
        save_pretrained(preset(name).build(), folder / name)
        what += ["--model", str(folder / name), "--azimuth", "-36", "--elevation", "26"]
    return [sys.executable, "-m", "sparsegen", *what]


def _disc() -> torch.Tensor:
    """A colored disc (4, h, w) on nothing."""
    axis = torch.linspace(-1, 1, 256)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    inside = (rows**2 + columns**2 < 0.5).float()
    return torch.stack([(rows + 1) / 2, (columns + 1) / 2, torch.full_like(rows, 0.5), inside])
