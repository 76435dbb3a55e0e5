"""One job at a time, bounded, cancellable, forgotten after a while."""

import threading
import time

import pytest

from asking import PATIENCE
from sparsegen.errors import InputError
from sparsegen.serving.jobs import Jobs, QueueFull
from sparsegen.serving.limits import Limits


class Bench:
    """Work that waits at each report until it is let through, and a clock that is set by hand."""

    def __init__(self, **limits):
        self.now = 0.0
        self.started, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.finished = threading.Semaphore(0)
        self.jobs = Jobs(self.work, Limits(**limits), lambda: self.now)

    def work(self, order, report):
        self.started.release()
        self.go.acquire()
        try:
            report("half way", 0.5)
            if isinstance(order, Exception):
                raise order
            return order * 2
        finally:
            self.finished.release()

    def finish_one(self):
        self.started.acquire()
        self.go.release()
        self.finished.acquire()

    def wait_for(self, job, state):
        give_up = time.monotonic() + PATIENCE
        while (now := self.jobs.get(job.id)) and now.state != state:
            assert time.monotonic() < give_up, now.state
            threading.Event().wait(0.001)


@pytest.fixture
def bench():
    made = []

    def make(**limits):
        made.append(Bench(**limits))
        return made[-1]

    yield make
    for one in made:
        one.go.release(1000)
        one.jobs.close()


def test_jobs_run_in_order_and_keep_their_own_results(bench):
    b = bench()
    jobs = [b.jobs.submit(i) for i in range(4)]
    b.started.acquire()
    assert [b.jobs.get(j.id).state for j in jobs] == ["running", "waiting", "waiting", "waiting"]
    assert [b.jobs.ahead(j.id) for j in jobs] == [0, 0, 1, 2]
    b.started.release()
    for i, job in enumerate(jobs):
        b.finish_one()
        b.wait_for(job, "done")
        assert b.jobs.get(job.id).result == 2 * i
        assert b.jobs.get(job.id).order is None
    assert len({job.id for job in jobs}) == 4


def test_the_queue_is_bounded_and_opens_again(bench):
    b = bench(queue=2)
    b.jobs.submit(0)
    b.started.acquire()
    waiting = [b.jobs.submit(i) for i in (1, 2)]
    with pytest.raises(QueueFull):
        b.jobs.submit(3)
    b.jobs.cancel(waiting[0].id)
    assert b.jobs.submit(4).state == "waiting"


def test_cancelling_stops_a_running_job_and_the_next_one_runs(bench):
    b = bench()
    first, second = b.jobs.submit(1), b.jobs.submit(2)
    b.started.acquire()
    assert b.jobs.cancel(first.id).state == "cancelled"
    b.go.release()
    b.finished.acquire()
    b.finish_one()
    b.wait_for(second, "done")
    assert b.jobs.get(first.id).state == "cancelled"
    assert b.jobs.get(first.id).result is None
    assert b.jobs.cancel("no such job") is None


def test_faults_are_told_and_do_not_stop_the_next_job(bench, caplog):
    b = bench()
    mistake, fault, sound = (b.jobs.submit(o) for o in (InputError("too dark"), KeyError("secret"), 1))
    for job, state in ((mistake, "failed"), (fault, "failed"), (sound, "done")):
        b.finish_one()
        b.wait_for(job, state)
    assert b.jobs.get(mistake.id).error == "too dark"
    assert "secret" not in b.jobs.get(fault.id).error
    assert "secret" in caplog.text


def test_results_expire_and_only_some_are_kept(bench):
    b = bench(results=2, seconds_kept=10)
    kept = []
    for i in range(4):
        b.now = float(i)
        kept.append(b.jobs.add(i))
    b.jobs.add(5)
    assert [b.jobs.get(j.id) is not None for j in kept] == [False, False, False, True]
    b.now = 12.9
    assert b.jobs.get(kept[3].id) is not None
    b.now = 13.1
    assert b.jobs.get(kept[3].id) is None
