"""Bars of what takes long: on stderr, only on a terminal, gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, unit: str, doing: str | None = None) -> Iterator[Callable[[], object]]:
    """A bar of `total` steps with the time that is left; what it gives is called after each of them.

    >>> with progress(2, "view") as tick:
    ...     tick()
    """
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, desc=doing, leave=False, disable=None) as bar:
        yield bar.update
