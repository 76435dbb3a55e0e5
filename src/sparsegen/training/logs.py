"""What a run leaves to read: a JSON-lines file, TensorBoard scalars, a progress bar, where time went."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from sparsegen.formats.files import atomic_path

logger = logging.getLogger("sparsegen.training")


class RunLog:
    """`log.jsonl` and `tensorboard/` of a run folder, and a progress bar where there is a terminal.

    A resumed run continues them from `step`: what a killed process logged after its last checkpoint
    is dropped. Of a run's processes only one `writes`.
    """

    def __init__(self, folder: Path, step: int, writes: bool = True) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm

        self._writes = writes
        if not writes:
            return
        self._path = folder / "log.jsonl"
        if self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if _step(line) <= step]
            with atomic_path(self._path) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept))
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        layout = "{percentage:5.1f}% |{bar}| {postfix}"
        self._bar = tqdm(total=1.0, bar_format=layout, disable=None, dynamic_ncols=True, leave=False)

    def write(self, event: str, step: int, values: Mapping[str, float]) -> None:
        """Log the finite ones among some numbers: one line of JSON, one scalar each in TensorBoard."""
        if not self._writes:
            return
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        with self._path.open("a") as file:
            file.write(json.dumps({"event": event, "step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{event}/{name}", value, step)

    def progress(self, share: float, text: str) -> None:
        """Move the bar to `share` of the run."""
        if not self._writes:
            return
        self._bar.n = min(share, 1.0)
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        if self._writes:
            self._bar.close()
            self._board.close()


class Stopwatch:
    """Where the time of a step goes. Phases are exact on a CPU; on CUDA `synchronize` makes them so."""

    def __init__(self, device: torch.device, synchronize: bool = False) -> None:
        self._device = device
        self._synchronize = synchronize and device.type == "cuda"
        self._totals: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap under `phase`."""
        if self._synchronize:
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self._totals[phase] = self._totals.get(phase, 0.0) + now - self._last
        self._last = now

    def lap_in_backward(self, tensor: Tensor, phase: str) -> None:
        """A lap at the moment when the backward pass has computed this tensor's gradient."""
        if tensor.requires_grad:
            tensor.register_hook(lambda _: self.lap(phase))

    def read(self) -> dict[str, float]:
        """Seconds spent in each phase since the last reading."""
        totals = dict(self._totals)
        self._totals.clear()
        return totals


@contextmanager
def log_redirected() -> Iterator[None]:
    """Log lines appear above the progress bar instead of tearing it."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm():
        yield


def _step(line: str) -> float:
    """The step of a log line; one that a killed process left half-written counts as lost."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return math.inf


def clock(seconds: float) -> str:
    """3725 -> 1:02:05."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"
