"""An evaluation shared between processes: each scores every n-th object into a file of its own, and the first
one waits for the others' files. Nothing else passes between them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from sparsegen.errors import InputError
from sparsegen.evaluation.contestants import Settings
from sparsegen.evaluation.progress import WHOLE, Share

logger = logging.getLogger(__name__)


Help = Callable[[Settings, Share], None]


@contextmanager
def shared(settings: Settings, helper: Help) -> Iterator[tuple[Settings, Share]]:
    """This process's share and the settings for it.

    Under `torchrun` the processes are there already; else the first one starts the others here, which call
    `helper` with their own. Raises `InputError` for a number of processes that cannot be.
    """
    if settings.devices < 1:
        raise InputError(f"--devices must be at least 1, got {settings.devices}")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        share = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        if settings.devices not in (1, share.world):
            raise InputError(f"--devices {settings.devices}: torchrun has started {share.world} processes")
        yield _on_own_device(settings, int(os.environ["LOCAL_RANK"]), share.world), share
    elif settings.devices == 1:
        yield settings, WHOLE
    else:
        with _helpers(settings, helper) as share:
            yield _on_own_device(settings, 0, share.world), share


@contextmanager
def _helpers(settings: Settings, helper: Help) -> Iterator[Share]:
    world = settings.devices
    # Not fork: PyTorch keeps threads, which a forked child would lack.
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=_help,
            args=(helper, _on_own_device(settings, rank, world), Share(rank, world)),
            daemon=True,
        )
        for rank in range(1, world)
    ]

    def check() -> None:
        for process in processes:
            if process.exitcode:
                raise InputError(
                    f"a process of --devices {world} was lost (exit status {process.exitcode}); the same "
                    "command goes on from what is scored"
                )

    threads = torch.get_num_threads()
    for process in processes:
        process.start()
    try:
        torch.set_num_threads(max(1, threads // world))
        yield Share(0, world, check)
    finally:
        torch.set_num_threads(threads)
        for process in processes:
            process.terminate()
            process.join()


def _help(helper: Help, settings: Settings, share: Share) -> None:
    """All that a helping process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends it, and says so
    torch.set_num_threads(max(1, torch.get_num_threads() // share.world))
    try:
        helper(settings, share)
    except InputError as error:
        logger.error("process %d of %d: %s", share.rank, share.world, error)
        sys.exit(1)


def _on_own_device(settings: Settings, place: int, world: int) -> Settings:
    """With the `place`-th CUDA device, where CUDA is asked for and there."""
    if settings.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return settings
    if place >= torch.cuda.device_count():
        raise InputError(f"--devices {world}: PyTorch finds {torch.cuda.device_count()} CUDA devices here")
    return replace(settings, device=f"cuda:{place}")
