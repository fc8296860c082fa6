"""Counters per minute: what everybody counts adds up, and what was enqueued is counted once, on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from scalable.lib.queue.counters import MOST_SLOTS, SLOT_SECONDS, Counters, bucket_of
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.dialects.tables import BUCKETS
from scalable.lib.queue.plan_check import slow_plans
from scalable.lib.queue.views import minutes as minutes_module
from scalable.lib.queue.views.minutes import Minutes, merged, percentile
from scalable.lib.telegram.update import Update
from tests.contract.test_claim_races import open_queue, run_together
from tests.support.fakes.clock import FakeClock
from tests.support.servers.databases import let_pass

FLUSHERS = 8
FLUSHES = 10
HOUR = 3600.0


@pytest.fixture
def minutes(queue: DatabaseQueue) -> Minutes:
    return queue.minutes


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def counters(queue: DatabaseQueue, clock: FakeClock) -> Counters:
    return Counters(queue.table, clock)


def totals(minutes: Minutes) -> tuple[int, int, int, int]:
    found = minutes.read(HOUR)
    return tuple(
        sum(getattr(minute, name) for minute in found)  # type: ignore[return-value]
        for name in ("done", "failed", "retried", "expired")
    )


def together(work: Callable[[], Any], number: int) -> list[Any]:
    """What each of `number` threads that begin at one moment returned or raised."""
    barrier = threading.Barrier(number)
    results: list[Any] = []

    def run() -> None:
        barrier.wait(60)
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - the test fails on it
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def flush_often(address: DatabaseAddress, barrier: Any, reports: Any) -> None:
    """Count and flush the same minutes as everyone else; report None, or the error that stopped it."""
    try:
        queue = open_queue(address)
        counters = Counters(queue.table)
        queue.counts()
        barrier.wait(60)
        for _ in range(FLUSHES):
            counters.count("done", 3)
            counters.ran(0.1)
            counters.flush()
        reports.put(None)
    except BaseException as error:  # noqa: BLE001 - reported to the test, which fails on it
        reports.put(repr(error))


class TestCounters:
    def test_nothing_is_written_before_the_flush_and_nothing_twice(self, minutes: Minutes, counters: Counters) -> None:
        counters.count("done")
        counters.count("failed", 2)
        assert minutes.read(HOUR) == []

        counters.flush()
        counters.flush()

        assert totals(minutes) == (1, 2, 0, 0)

    def test_a_flush_without_counts_writes_no_row(self, minutes: Minutes, counters: Counters) -> None:
        counters.count("expired", 0)
        counters.flush()

        assert minutes.read(HOUR) == []

    def test_processes_that_flush_the_same_minute_add_up_exactly(
        self, minutes: Minutes, address: DatabaseAddress
    ) -> None:
        reports = run_together(flush_often, address, FLUSHERS)

        assert reports == [None] * FLUSHERS
        assert totals(minutes) == (3 * FLUSHERS * FLUSHES, 0, 0, 0)
        assert sum(merged(minute.runs for minute in minutes.read(HOUR))) == FLUSHERS * FLUSHES

    def test_the_first_counts_of_a_minute_from_many_at_once_add_up_exactly(
        self, queue: DatabaseQueue, minutes: Minutes
    ) -> None:
        def first_flush() -> None:
            counters = Counters(queue.table)
            counters.count("retried")
            counters.flush()

        assert together(first_flush, 100) == [None] * 100
        assert totals(minutes) == (0, 0, 100, 0)

    def test_late_counts_go_to_the_minute_in_which_they_happened(
        self, minutes: Minutes, counters: Counters, clock: FakeClock
    ) -> None:
        counters.count("done")
        clock.advance(600)
        counters.count("done", 2)

        counters.flush()

        first, second = minutes.read(HOUR)
        assert (first.done, second.done) == (1, 2)
        assert second.at - first.at in (timedelta(minutes=10), timedelta(minutes=11))

    def test_what_cannot_be_written_for_hours_is_kept_whole_and_takes_little_memory(
        self, minutes: Minutes, counters: Counters, clock: FakeClock
    ) -> None:
        for _ in range(MOST_SLOTS + 100):
            counters.count("done")
            clock.advance(SLOT_SECONDS)
        assert len(counters._slots) == MOST_SLOTS

        counters._slots = counters._slots[-3:]
        counters.flush()

        assert totals(minutes) == (103, 0, 0, 0)

    def test_an_event_nobody_knows_is_refused(self, counters: Counters) -> None:
        with pytest.raises(ValueError, match="'finished': expected one of done"):
            counters.count("finished")


class TestPercentiles:
    def test_median_and_95th_percentile_are_within_a_factor_of_two(self, minutes: Minutes, counters: Counters) -> None:
        for number in range(100):
            counters.waited(0.001 * (number + 1))
            counters.ran(0.04 if number < 90 else 20.0)
        counters.flush()

        waits = merged(minute.waits for minute in minutes.read(HOUR))
        runs = merged(minute.runs for minute in minutes.read(HOUR))
        assert percentile(waits, 0.5) == pytest.approx(0.05, rel=0.1)  # evenly spread times are met closely
        assert percentile(waits, 0.95) == pytest.approx(0.095, rel=0.3)
        assert 0.032 <= (percentile(runs, 0.5) or 0) <= 0.064
        assert 16.384 <= (percentile(runs, 0.95) or 0) <= 32.768

    @pytest.mark.parametrize(
        ("seconds", "bucket"),
        [
            (-1, 0),
            (0, 0),
            (0.0009, 0),
            (0.001, 1),
            (0.002, 2),
            (0.0039, 2),
            (0.004, 3),
            (60, 16),
            (1e9, BUCKETS - 1),
        ],
    )
    def test_every_time_has_a_bucket(self, seconds: float, bucket: int) -> None:
        assert bucket_of(seconds) == bucket

    def test_without_times_there_is_no_percentile(self) -> None:
        assert percentile(merged([]), 0.5) is None

    def test_times_beyond_the_histogram_count_as_its_end(self) -> None:
        assert percentile((0,) * (BUCKETS - 1) + (5,), 0.5) == pytest.approx(4194.304)


class TestEnqueued:
    def test_a_minute_is_counted_once_it_is_over(self, queue: DatabaseQueue, minutes: Minutes) -> None:
        for number in range(3):
            queue.enqueue(Update("{}", number))
        minutes.count_enqueued()
        assert enqueued(minutes) == 0

        let_pass(queue, 120)
        forget_counts(queue)
        minutes.count_enqueued()

        assert enqueued(minutes) == 3

    def test_jobs_of_every_state_and_of_every_minute_count(self, queue: DatabaseQueue, minutes: Minutes) -> None:
        for number in range(4):
            queue.enqueue(Update("{}", number))
            let_pass(queue, 60)
        let_pass(queue, 60)
        done, failed, _ = queue.claim("worker", 45, limit=3)
        queue.complete(done.lease)
        queue.fail(failed.lease, "exit code 1")

        minutes.count_enqueued()

        assert [minute.enqueued for minute in minutes.read(HOUR) if minute.enqueued] == [1, 1, 1, 1]

    def test_two_at_the_same_moment_count_every_job_once(self, queue: DatabaseQueue, minutes: Minutes) -> None:
        for number in range(5):
            queue.enqueue(Update("{}", number))
        let_pass(queue, 120)

        counted = together(minutes.count_enqueued, 6)

        assert all(isinstance(result, int) for result in counted), counted
        assert enqueued(minutes) == 5
        assert minutes.count_enqueued() in (0, 1)  # one when the clock has passed on to the next minute
        assert enqueued(minutes) == 5

    def test_counting_leaves_what_workers_counted_in_that_minute(
        self, queue: DatabaseQueue, minutes: Minutes, counters: Counters, clock: FakeClock
    ) -> None:
        queue.enqueue(Update("{}"))
        let_pass(queue, 120)
        counters.count("done", 7)
        clock.advance(120)
        counters.flush()

        minutes.count_enqueued()

        assert enqueued(minutes) == 1
        assert totals(minutes) == (7, 0, 0, 0)

    def test_after_an_interruption_all_of_it_is_made_up_for_in_steps(
        self, queue: DatabaseQueue, minutes: Minutes
    ) -> None:
        minutes.count_enqueued()
        be_older(queue, minutes, 5 * HOUR)
        queue.enqueue(Update("{}"))
        let_pass(queue, 4.5 * HOUR)

        steps = []
        while not steps or steps[-1] == minutes_module.MOST_AT_ONCE:
            steps.append(minutes.count_enqueued())

        assert len(steps) == 3
        assert sum(minute.enqueued or 0 for minute in minutes.read(24 * HOUR)) == 1


def test_minutes_older_than_a_month_are_deleted(
    queue: DatabaseQueue, minutes: Minutes, counters: Counters, clock: FakeClock
) -> None:
    for _ in range(2):
        counters.count("done")
        clock.advance(32 * 86_400)
    counters.count("done")
    counters.flush()

    assert minutes.prune() == 2
    assert len(minutes.read(1e8)) == 1


def test_counting_uses_its_index(queue: DatabaseQueue) -> None:
    assert slow_plans(queue) == []


def enqueued(minutes: Minutes) -> int:
    return sum(minute.enqueued or 0 for minute in minutes.read(HOUR))


def forget_counts(queue: DatabaseQueue) -> None:
    queue.database.run(lambda session: session.execute("DELETE FROM bot_jobs_minutes"))


def be_older(queue: DatabaseQueue, minutes: Minutes, seconds: float) -> None:
    """Leave only one minute that was counted, that long ago."""
    forget_counts(queue)
    add = queue.table.sql("INSERT INTO {jobs}_minutes (minute, enqueued) VALUES ({minute_ago:age}, 0)")
    queue.database.run(lambda session: session.execute(add, age=int(seconds)))
