"""Rendering whole datasets: many objects over processes, in a way that can be stopped and continued."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sparsegen.cameras import Cameras
from sparsegen.data.packed import Viewset, load_packed, write_packed
from sparsegen.errors import InputError
from sparsegen.formats.files import atomic_path

if TYPE_CHECKING:
    import trimesh

    from sparsegen.data.render import Light

logger = logging.getLogger(__name__)


class Subject(Protocol):
    """An object to render. Crosses to another process, so it says how to get the mesh, not the mesh."""

    @property
    def name(self) -> str: ...

    def scene(self) -> trimesh.Scene: ...

    def lights(self) -> tuple[Light, ...]: ...


class Store(Protocol):
    """Where finished objects go."""

    def has(self, name: str, cameras: Cameras) -> bool: ...

    def write(self, viewset: Viewset) -> None: ...


@dataclass(frozen=True)
class SrnFolder:
    """Objects in the SRN layout under `folder`."""

    folder: Path

    def has(self, name: str, cameras: Cameras) -> bool:
        """Whether the object is there. Raises `InputError` if it is there with other cameras."""
        from sparsegen.data.layouts.srn import read_srn_cameras

        path = self.folder / name
        return path.exists() and _same_cameras(path, read_srn_cameras(path), cameras)

    def write(self, viewset: Viewset) -> None:
        from sparsegen.data.layouts.srn import write_srn_object

        write_srn_object(viewset, self.folder / viewset.name)


@dataclass(frozen=True)
class Parts:
    """One file an object in a folder beside the packed file that they become at the end."""

    final: Path

    @property
    def folder(self) -> Path:
        return self.final.with_name(f"{self.final.name}.parts")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def has(self, name: str, cameras: Cameras) -> bool:
        """Whether the object is there. Raises `InputError` if it is there with other cameras."""
        path = self.path(name)
        return path.exists() and _same_cameras(path, self.read(name).cameras, cameras)

    def write(self, viewset: Viewset) -> None:
        cameras = viewset.cameras
        with atomic_path(self.path(viewset.name)) as temporary:
            np.savez(
                temporary,
                images=viewset.images,
                viewmats=cameras.viewmats.numpy(),
                Ks=cameras.Ks.numpy(),
            )

    def read(self, name: str) -> Viewset:
        path = self.path(name)
        try:
            with np.load(path) as arrays:
                images = arrays["images"]
                matrices = torch.from_numpy(arrays["viewmats"]), torch.from_numpy(arrays["Ks"])
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({error}); remove it and render again") from None
        return Viewset(name, images, Cameras(*matrices, images.shape[2], images.shape[1]))

    def join(self, names: Sequence[str]) -> None:
        """Write the packed file from the parts, then remove them."""
        write_packed(names, (self.read(name) for name in names), self.final)
        shutil.rmtree(self.folder, ignore_errors=True)


def render_folder(
    subjects: Sequence[Subject], cameras: Sequence[Cameras], folder: Path, jobs: int = 2
) -> None:
    """Render every subject from its cameras into the SRN layout; those already there are kept.

    Raises `InputError` at the end if some subjects could not be rendered, naming the first.
    """
    from sparsegen.data.layouts.srn import check_srn_cameras

    for subject, views in zip(subjects, cameras, strict=True):
        check_srn_cameras(subject.name, views)
    _render_missing(subjects, cameras, SrnFolder(folder), jobs)


def render_packed(subjects: Sequence[Subject], cameras: Sequence[Cameras], path: Path, jobs: int = 2) -> None:
    """The same into one packed file. Stopped, it continues from the parts in the folder `path`.parts."""
    names = [subject.name for subject in subjects]
    if path.exists():
        found = load_packed(path)
        if list(found.names) != names or not _close(found.cameras, cameras):
            raise InputError(
                f"{path}: is there already, with other objects or cameras; remove it or choose another"
            )
        logger.info("%s: is there already, nothing to do", path)
        return
    parts = Parts(path)
    _render_missing(subjects, cameras, parts, jobs)
    parts.join(names)


def _render_missing(subjects: Sequence[Subject], cameras: Sequence[Cameras], store: Store, jobs: int) -> None:
    names = [subject.name for subject in subjects]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two objects are called {twice!r}; rename one of their files")
    tasks = [
        (subject, views, store)
        for subject, views in zip(subjects, cameras, strict=True)
        if not store.has(subject.name, views)
    ]
    if len(tasks) < len(names):
        logger.info("%d of %d objects are there already", len(names) - len(tasks), len(names))
    failures: list[str] = []
    # Ten seconds between redraws would be too coarse for a few objects, one object too fine for a log.
    bar = tqdm(total=len(names), initial=len(names) - len(tasks), unit="object", smoothing=0.05)
    try:
        with logging_redirect_tqdm(), bar:
            for failure in _results(tasks, min(jobs, len(tasks))):
                bar.update()
                if failure is not None:
                    logger.warning("%s", failure)
                    failures.append(failure)
    except KeyboardInterrupt:
        kept = bar.n - len(failures)
        raise KeyboardInterrupt(f"{kept} of {len(names)} are kept; the same command goes on") from None
    if failures:
        more = f" ({len(failures)} of {len(names)} objects failed)" if len(failures) > 1 else ""
        raise InputError(failures[0] + more)


_Task = tuple[Subject, Cameras, Store]


def _results(tasks: Sequence[_Task], jobs: int) -> Iterator[str | None]:
    """Run the tasks, and yield what went wrong with each, or None, as they end."""
    if jobs <= 1:
        yield from map(_run, tasks)
        return
    # Not fork: PyTorch and Mitsuba keep threads, which a forked child would lack.
    context = multiprocessing.get_context("spawn")
    waiting, running = iter(tasks), set[Future[str | None]]()
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker) as pool:
        try:
            with _ctrl_c_ignored():  # processes start with the first tasks, and inherit this
                running.update(pool.submit(_run, task) for task in islice(waiting, jobs))
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.remove(future)
                    yield future.result()
                # No more than there are processes: what a pool has taken in, it does not give back.
                running.update(pool.submit(_run, task) for task in islice(waiting, jobs - len(running)))
        except KeyboardInterrupt:
            logger.info("interrupted; the objects in hand are finished")
            for future in as_completed(running):
                yield future.result()
            raise
        except BrokenProcessPool:
            raise InputError(
                "a rendering process was killed, most likely for want of memory; use --jobs 1"
            ) from None


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal's job; only the first one is to say something."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _start_worker() -> None:
    """One thread a process: so small pictures gain more from processes."""
    torch.set_num_threads(1)
    from sparsegen.data.render import use_threads

    use_threads(1)


def _run(task: _Task) -> str | None:
    from sparsegen.data.render import normalize, render_views

    subject, cameras, store = task
    try:
        images = render_views(normalize(subject.scene()), cameras, lights=subject.lights())
    except InputError as error:
        message = str(error)
        return message if subject.name in message else f"{subject.name}: {message}"
    # Not caught: where one object cannot be written, rendering the others would be in vain.
    store.write(Viewset(subject.name, images, cameras))
    return None


def _same_cameras(path: Path, found: Cameras, expected: Cameras) -> bool:
    if not _close(found, [expected]):
        raise InputError(
            f"{path}: is there already, seen by other cameras; remove it or choose another output"
        )
    return True


def _close(found: Cameras, expected: Sequence[Cameras]) -> bool:
    from sparsegen.cameras import stack

    wanted = stack(list(expected)) if len(expected) > 1 or len(found.batch_shape) > 1 else expected[0]
    return (
        found.batch_shape == wanted.batch_shape
        and (found.width, found.height) == (wanted.width, wanted.height)
        and torch.allclose(found.viewmats, wanted.viewmats, atol=1e-5)
        and torch.allclose(found.Ks, wanted.Ks, atol=1e-3)
    )
