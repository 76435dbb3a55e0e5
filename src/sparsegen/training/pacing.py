"""When something in a run is due, and when the run is asked to end."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from tqdm import tqdm

# Steps over which the learning rate of `falling_steps` rises first.
_WARM_UP = 100

logger = logging.getLogger(__name__)


class Due:
    """Says when something is due again: every `steps` steps where that is set, else after `every` seconds."""

    def __init__(self, every: float | None, steps: int | None = None) -> None:
        self.every, self.steps = every, steps
        self.last = time.monotonic()

    def now(self, step: int) -> bool:
        if self.steps:
            return step % self.steps == 0
        if self.every is None or time.monotonic() - self.last < self.every:
            return False
        self.last = time.monotonic()
        return True


@contextmanager
def ending_signals() -> Iterator[list[str]]:
    """Collects the name of the first SIGINT or SIGTERM; a second one has its usual effect.

    Only the main thread can receive signals: elsewhere nothing is collected.
    """
    received: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def receive(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        restore()
        logger.info("%s: saving after this step", received[-1])

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        restore()


def falling_steps(
    optimizer: torch.optim.Optimizer, lr: float, steps: int, max_seconds: float | None
) -> Iterator[tuple[int, tqdm]]:
    """Numbers of the steps of a short training run, and its progress bar.

    The learning rate warms up, then falls to nothing over the steps or the clock, whichever is further;
    groups of parameters with a "share" get that share of it. SIGINT and SIGTERM end the run early.
    """
    began = time.monotonic()
    with ending_signals() as received, tqdm(total=steps, unit="step") as bar:
        for step in range(steps):
            clock = (time.monotonic() - began) / max_seconds if max_seconds else 0.0
            progress = max(step / steps, clock)
            if progress >= 1 or received:
                break
            now = lr * min(1, (step + 1) / _WARM_UP) * (1 - progress)
            for group in optimizer.param_groups:
                group["lr"] = now * group.get("share", 1.0)
            yield step, bar
            bar.update()
