"""One job at a time, a bounded queue before it, and results that expire."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from sparsegen.errors import InputError
from sparsegen.serving.limits import Limits

logger = logging.getLogger(__name__)

Order = TypeVar("Order")
Result = TypeVar("Result")
# Tells the stage and how far it is, 0 to 1; raises `Cancelled` if nobody wants the job any more.
Report = Callable[[str, float], None]
State = Literal["waiting", "running", "done", "failed", "cancelled"]


class QueueFull(Exception):
    """As many jobs wait as may."""


class Cancelled(Exception):
    """The job that is running was cancelled."""


@dataclass(frozen=True)
class Job(Generic[Order, Result]):
    """A job as it stands at one moment."""

    id: str
    order: Order | None
    state: State = "waiting"
    stage: str = "waiting"
    progress: float = 0.0
    error: str = ""
    result: Result | None = None
    changed: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Jobs(Generic[Order, Result]):
    """Runs `work(order, report)` for one job after the other, in a thread of its own."""

    def __init__(
        self,
        work: Callable[[Order, Report], Result],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._limits, self._clock = work, limits, clock
        self._jobs: dict[str, Job[Order, Result]] = {}
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sparsegen-jobs", daemon=True)
        self._thread.start()

    def submit(self, order: Order) -> Job[Order, Result]:
        """Queue an order. Raises `QueueFull`."""
        with self._changed:
            self._forget()
            if len(self._waiting) >= self._limits.queue:
                raise QueueFull
            job = self._put(Job(secrets.token_urlsafe(16), order, changed=self._clock()))
            self._waiting.append(job.id)
            self._changed.notify()
            return job

    def add(self, result: Result) -> Job[Order, Result]:
        """A job that is done from the start."""
        with self._changed:
            self._forget()
            return self._put(
                Job(secrets.token_urlsafe(16), None, "done", "done", 1.0, "", result, self._clock())
            )

    def get(self, job_id: str) -> Job[Order, Result] | None:
        """The job as it stands; None if there is none by this name, or not any more."""
        with self._changed:
            self._forget()
            return self._jobs.get(job_id)

    def ahead(self, job_id: str) -> int:
        """How many jobs wait before this one."""
        with self._changed:
            return self._waiting.index(job_id) if job_id in self._waiting else 0

    def cancel(self, job_id: str) -> Job[Order, Result] | None:
        """Stop a job that waits at once, and one that runs at its next report; forget its result."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is None:
                return None
            if job_id in self._waiting:
                self._waiting.remove(job_id)
            return self._change(job_id, state="cancelled", stage="cancelled", result=None, order=None)

    def close(self) -> None:
        """Take no more jobs and wait for the one that runs to stop at its next report."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._change(self._waiting.popleft(), state="running", stage="starting")
            self._finish(job)

    def _finish(self, job: Job[Order, Result]) -> None:
        assert job.order is not None
        try:
            result = self._work(job.order, lambda stage, progress: self._report(job.id, stage, progress))
            outcome = {"state": "done", "stage": "done", "progress": 1.0, "result": result}
        except Cancelled:
            return
        except InputError as error:
            outcome = {"state": "failed", "stage": "failed", "error": str(error)}
        except Exception:  # a fault of ours must not stop the jobs of others
            logger.exception("a job failed")
            outcome = {"state": "failed", "stage": "failed", "error": "this went wrong here; see the log"}
        with self._changed:
            current = self._jobs.get(job.id)
            if current is not None and current.state == "running":
                self._change(job.id, order=None, **outcome)

    def _report(self, job_id: str, stage: str, progress: float) -> None:
        with self._changed:
            job = self._jobs.get(job_id)
            if job is None or job.state != "running" or self._closed:
                raise Cancelled
            self._change(job_id, stage=stage, progress=progress)

    def _put(self, job: Job[Order, Result]) -> Job[Order, Result]:
        self._jobs[job.id] = job
        return job

    def _change(self, job_id: str, **changes: object) -> Job[Order, Result]:
        return self._put(replace(self._jobs[job_id], changed=self._clock(), **changes))  # type: ignore[arg-type]

    def _forget(self) -> None:
        """Drop finished jobs that are too old, and the oldest of too many."""
        finished = sorted((j for j in self._jobs.values() if j.finished), key=lambda j: j.changed)
        too_many = max(0, len(finished) - self._limits.results)
        oldest = self._clock() - self._limits.seconds_kept
        for i, job in enumerate(finished):
            if i < too_many or job.changed < oldest:
                del self._jobs[job.id]
