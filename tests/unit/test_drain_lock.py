"""Drains from the web: one at a time, and no update is left behind by one that ends just when the update arrives.

Real locks and a real queue; a starter does here what it does in the webhook, only that the drain it starts is a loop in
this process, run when the test says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.pool.drain_lock import (
    LONGEST_RETRY_WAIT_SECONDS,
    POLL_SECONDS,
    DrainLock,
    DrainSession,
    take_drain_lock,
    write_report,
)
from scalable.lib.worker.loop import Limits, WorkerLoop
from scalable.lib.worker.wakeup import WaitForInterval
from tests.support.fakes.worker_bench import FAILED, Bench
from tests.support.servers.databases import let_pass

# What a drain does when it ends, in this order; at each of them something may come in between.
POINTS = ("before the last claim", "after the last claim", "when the lock is released", "after the last snapshot")


class TestTheLock:
    def test_there_is_one_and_it_can_be_had_again(self, tmp_path: Path):
        lock = take_drain_lock(tmp_path / "lock")
        assert lock is not None
        assert take_drain_lock(tmp_path / "lock") is None

        lock.release()

        assert take_drain_lock(tmp_path / "lock") is not None

    def test_a_starter_that_leaves_does_not_let_go_what_its_drain_has(self, tmp_path: Path):
        starter = take_drain_lock(tmp_path / "lock")
        assert starter is not None
        drain = DrainLock(os.dup(starter.descriptor))

        starter.close()

        assert take_drain_lock(tmp_path / "lock") is None
        drain.release()
        assert take_drain_lock(tmp_path / "lock") is not None

    def test_a_starter_that_dies_lets_it_go(self, tmp_path: Path):
        lock = take_drain_lock(tmp_path / "lock")
        assert lock is not None

        lock.close()

        assert take_drain_lock(tmp_path / "lock") is not None

    def test_no_bot_inherits_it(self, tmp_path: Path):
        lock = take_drain_lock(tmp_path / "lock")
        assert lock is not None
        inherited = os.dup(lock.descriptor)
        os.set_inheritable(inherited, True)

        DrainLock(inherited)

        assert not os.get_inheritable(lock.descriptor)
        assert not os.get_inheritable(inherited)


class Drains:
    """A queue, a lock, and drains. `at` holds what happens at a point of the drain that is ending."""

    def __init__(self, folder: Path, drain_session: type[DrainSession] = DrainSession) -> None:
        self.bench = Bench(folder)
        self.path = folder / "lock"
        self.drain_session = drain_session
        self.at: dict[str, list[Callable[[], None]]] = {point: [] for point in POINTS}
        self.drains = 0
        self.running = 0
        self.most_running = 0

    def start(self) -> None:
        """What the webhook's start_drain does: nothing when a drain has the lock."""
        lock = take_drain_lock(self.path)
        if lock is not None:
            self.drain(lock)

    def drain(self, lock: DrainLock) -> None:
        self.drains += 1
        assert self.drains < 10, "one drain after the other"
        self._claim_and_run()
        drain_session = self.drain_session(
            self.bench.queue,
            _WatchedLock(lock, self),
            self.path.with_name("finishing"),
            waits_for_retries=False,
            successor=self.start,
        )
        happen(self.at["after the last claim"])
        drain_session.finish()
        happen(self.at["after the last snapshot"])
        lock.close()

    def _claim_and_run(self) -> None:
        bench = self.bench
        worker = bench.make_worker()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        happen(self.at["before the last claim"])
        WorkerLoop(bench.queue, worker, bench.stop, WaitForInterval(1.0), Limits(drain=True), clock=bench.clock).run()
        self.running -= 1


class _WatchedLock(DrainLock):
    def __init__(self, lock: DrainLock, drains: Drains) -> None:
        super().__init__(lock.descriptor)
        self._airport = drains

    def release(self) -> None:
        super().release()
        happen(self._airport.at["when the lock is released"])


def happen(events: list[Callable[[], None]]) -> None:
    """Each of them once."""
    while events:
        events.pop(0)()


@pytest.mark.parametrize(
    ("stored_at", "started_at"), [(first, then) for n, first in enumerate(POINTS) for then in POINTS[n:]]
)
def test_an_update_is_run_wherever_in_the_end_of_a_drain_it_arrives(tmp_path: Path, stored_at: str, started_at: str):
    drains = Drains(tmp_path)
    drains.at[stored_at].append(lambda: drains.bench.enqueue() and None)
    drains.at[started_at].append(drains.start)

    drains.start()

    assert [job.status for job in drains.bench.queue.newest(10)] == ["done"]
    assert drains.most_running == 1


def test_a_drain_that_did_not_look_again_would_leave_it_behind(tmp_path: Path):
    """The test above would be worth nothing if it could not fail."""

    class Careless(DrainSession):
        def finish(self) -> None:
            self.lock.release()

    drains = Drains(tmp_path, Careless)
    drains.at["after the last claim"] += [lambda: drains.bench.enqueue() and None, drains.start]

    drains.start()

    assert [job.status for job in drains.bench.queue.newest(10)] == ["pending"]


def test_one_that_looked_before_it_let_go_would_leave_it_behind_too(tmp_path: Path):
    class Hasty(DrainSession):
        def finish(self) -> None:
            is_left = self._work_is_left()
            drains.bench.enqueue()
            drains.start()
            self.lock.release()
            assert not is_left

    drains = Drains(tmp_path, Hasty)

    drains.start()

    assert [job.status for job in drains.bench.queue.newest(10)] == ["pending"]


# --- what a drain does when there is nothing to do ---


def drain_session(
    bench: Bench, folder: Path, *, waits_for_retries: bool, successor: Optional[Callable[[], None]] = None
) -> DrainSession:
    lock = take_drain_lock(folder / "lock")
    assert lock is not None
    return DrainSession(bench.queue, lock, folder / "finishing", waits_for_retries, successor)


def put_off(bench: Bench, seconds: float) -> None:
    """A job that waits for its next attempt."""
    bench.enqueue()
    (job,) = bench.queue.claim("worker", 45)
    bench.queue.retry(job.lease, "exit code 1", seconds)


def test_one_that_waits_for_retries_waits_for_jobs_that_were_put_off(tmp_path: Path):
    bench = Bench(tmp_path)
    put_off(bench, 60)

    assert drain_session(bench, tmp_path, waits_for_retries=True).pause_seconds() == POLL_SECONDS


def test_one_that_does_not_wait_for_retries_ends(tmp_path: Path):
    bench = Bench(tmp_path)
    put_off(bench, 1)

    assert drain_session(bench, tmp_path, waits_for_retries=False).pause_seconds() is None


@pytest.mark.parametrize("seconds", [None, LONGEST_RETRY_WAIT_SECONDS + 60])
def test_it_does_not_wait_for_nothing_or_for_long(tmp_path: Path, seconds: Optional[float]):
    bench = Bench(tmp_path)
    if seconds is not None:
        put_off(bench, seconds)

    assert drain_session(bench, tmp_path, waits_for_retries=True).pause_seconds() is None


def test_a_job_that_is_due_and_cannot_be_taken_is_not_asked_for_without_a_pause(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.enqueue()

    assert 0 < (drain_session(bench, tmp_path, waits_for_retries=True).pause_seconds() or 0) < POLL_SECONDS


def test_while_it_cannot_be_taken_it_is_asked_for_less_and_less_often(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.enqueue()
    waiting = drain_session(bench, tmp_path, waits_for_retries=True)

    pauses = [waiting.pause_seconds() or 0 for _ in range(8)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == POLL_SECONDS


def test_a_waiting_drain_tries_a_failed_update_again_within_its_time(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.enqueue()
    bench.runner.result = FAILED
    bench.stop.during_wait = lambda: let_pass(bench.queue, bench.stop.waits[-1])
    started = bench.clock.now

    tally = WorkerLoop(
        bench.queue,
        bench.worker,
        bench.stop,
        WaitForInterval(1.0),
        Limits(drain=True, max_seconds=25),
        pause=drain_session(bench, tmp_path, waits_for_retries=True).pause_seconds,
        clock=bench.clock,
    ).run()

    assert tally.runs == 3  # at once, after 5 s, and after 10 s more
    assert bench.clock.now == pytest.approx(started + 25)


@pytest.mark.parametrize(("seconds", "follows"), [(0.0, True), (60.0, True), (LONGEST_RETRY_WAIT_SECONDS + 60, False)])
def test_what_is_left_at_the_end_goes_to_a_successor_unless_it_is_due_much_later(
    tmp_path: Path, seconds: float, follows: bool
):
    bench = Bench(tmp_path)
    put_off(bench, seconds)
    followed: list[bool] = []

    drain_session(bench, tmp_path, waits_for_retries=True, successor=lambda: followed.append(True)).finish()

    assert bool(followed) is follows


def test_no_drain_follows_when_nothing_is_left(tmp_path: Path):
    followed: list[bool] = []

    drain_session(Bench(tmp_path), tmp_path, waits_for_retries=True, successor=lambda: followed.append(True)).finish()

    assert followed == []


def test_the_lock_is_free_before_the_successor_is_started(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.enqueue()
    got: list[bool] = []

    drain_session(
        bench,
        tmp_path,
        waits_for_retries=True,
        successor=lambda: got.append(take_drain_lock(tmp_path / "lock") is not None),
    ).finish()

    assert got == [True]


def test_a_database_that_is_away_at_the_last_snapshot_is_logged_and_no_drain_follows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bench = Bench(tmp_path)
    bench.enqueue()
    ending = drain_session(bench, tmp_path, waits_for_retries=True, successor=lambda: pytest.fail("followed"))
    bench.database.away = lambda: True

    ending.finish()

    assert "queue not looked at" in caplog.text
    with pytest.raises(DatabaseUnavailable):
        ending.pause_seconds()


def test_reports_without_a_reader_and_into_a_full_pipe_do_not_keep_a_drain(tmp_path: Path):
    reader, writer = os.pipe()
    began = time.monotonic()
    for number in range(30_000):
        write_report(writer, number, number)
    os.close(reader)
    write_report(writer, 1, 1)
    os.close(writer)

    assert time.monotonic() - began < 20
