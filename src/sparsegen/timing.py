"""Fair timing on machines whose speed drifts: candidates take turns, and medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

_PRODUCTS = 9  # of matrices, of which the median counts


@dataclass(frozen=True)
class Timing:
    """Seconds of every run of one candidate, after warm-up."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Fastest and slowest run."""
        return min(self.seconds), max(self.seconds)


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table. `ratio` says how many times faster than what, where it does."""

    part: str
    what: str
    timing: Timing
    ratio: str = ""


def interleaved(
    candidates: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 2
) -> dict[str, Timing]:
    """Time every candidate `repeats` times, in turns, so that a slow spell of the machine hits them all."""
    for candidate in candidates.values():
        for _ in range(warmup):
            candidate()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            _finish_device_work()
            start = time.perf_counter()
            candidate()
            _finish_device_work()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Median rate of a square matrix product in FLOP/s: what this machine could do at best."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device, dtype=dtype)
    timing = interleaved({"product": lambda: a @ a}, _PRODUCTS)["product"]
    return 2 * size**3 / timing.median


def _finish_device_work() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
