"""Bars of what takes long: on stderr, only on a terminal, gone at the end; and lines printed meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def progress(total: int, unit: str, doing: str | None = None) -> Iterator[Callable[[], object]]:
    """A bar of `total` steps with the time that is left; what it gives is called after each of them.

    There is none where all is done in one step.

    >>> with progress(2, "view") as tick:
    ...     tick()
    """
    from tqdm import tqdm

    hidden = None if total > 1 else True
    with tqdm(total=total, unit=unit, desc=doing, leave=False, disable=hidden) as bar:
        yield bar.update


@contextmanager
def stages(count: int) -> Iterator[Callable[[str], object]]:
    """A bar of stages, whose steps nobody counts; what it gives is called with the name of each."""
    from tqdm import tqdm

    with tqdm(total=count, unit="stage", leave=False, disable=None) as bar:

        def begin(name: str) -> None:
            bar.set_description(name, refresh=False)
            bar.update()
            bar.refresh()

        yield begin


def tell(line: str, file: TextIO | None = None) -> None:
    """Print a line above the bars that there are, on stdout or `file`."""
    from tqdm import tqdm

    tqdm.write(line, file=file or sys.stdout)
