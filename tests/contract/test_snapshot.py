"""The queue at a glance, on every database: what it says is what the verbs would find."""

from __future__ import annotations

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import QueueSnapshot
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45
# How far a time may be from the exact one: all of them are kept in milliseconds.
ROUNDING = 0.002


def put(
    queue: DatabaseQueue, lane: str | None = None, urgent: float | None = None, expires: float | None = None
) -> int:
    return queue.enqueue(Update("{}", None, "message", lane, urgent, expires)).job_id


def test_an_empty_queue_has_nothing_to_do(queue: DatabaseQueue) -> None:
    assert queue.snapshot() == QueueSnapshot(newest_id=0, due_in_seconds=None, needs_maintenance=False)


@pytest.mark.parametrize("urgent", [None, 30, 150])
def test_a_waiting_job_is_due_whatever_its_priority(queue: DatabaseQueue, urgent: float | None) -> None:
    job_id = put(queue, urgent=urgent)
    let_pass(queue, 3)

    snapshot = queue.snapshot()

    assert (snapshot.newest_id, snapshot.needs_maintenance) == (job_id, False)
    assert -10 < (snapshot.due_in_seconds or 0) <= -3 + ROUNDING


def test_a_job_in_back_off_is_due_when_that_is_over(queue: DatabaseQueue) -> None:
    put(queue)
    (job,) = queue.claim("worker", LEASE_SECONDS)
    queue.retry(job.lease, "exit code 1", 60)

    assert 50 < (queue.snapshot().due_in_seconds or 0) <= 60 + ROUNDING


def test_the_first_of_several_is_what_counts(queue: DatabaseQueue) -> None:
    for delay, urgent in ((300, None), (40, 150), (200, 30)):
        put(queue, urgent=urgent)
        (job,) = queue.claim("worker", LEASE_SECONDS)
        queue.retry(job.lease, "exit code 1", delay)

    assert 30 < (queue.snapshot().due_in_seconds or 0) <= 40 + ROUNDING


def test_ages_are_whole_milliseconds_at_any_time_of_the_day(queue: DatabaseQueue) -> None:
    """A day as a floating-point number is only exact to 40 microseconds, so that 3 s were 2.999983 of them."""
    times = [f"2026-03-01 {time}" for time in ("00:00:00.000", "11:59:59.999", "12:00:00.001", "23:17:05.333")]
    query = queue.database.render("SELECT " + ", ".join(f"{{age:time_{number}}}" for number in range(4)))
    names = ", ".join(f"CAST('{time}' AS {{type}}) AS time_{number}" for number, time in enumerate(times))
    kind = "CHAR" if "SQLite" in queue.database.place else "DATETIME(3)"

    [ages] = queue.database.run(
        lambda session: session.rows(f"{query} FROM (SELECT {names.format(type=kind)}) AS times")
    )

    assert [age % 1000 for age in ages] == [0, 0, 0, 0]
    assert [ages[0] - age for age in ages] == [0, 43_199_999_000, 43_200_001_000, 83_825_333_000]


def test_running_and_parked_and_finished_jobs_are_not_due(queue: DatabaseQueue) -> None:
    put(queue, "chat:1")
    last = put(queue, "chat:1")
    queue.claim("worker", LEASE_SECONDS)
    assert queue.claim("worker", LEASE_SECONDS) == []  # which parks the second
    put(queue)
    (other,) = queue.claim("worker", LEASE_SECONDS)
    queue.complete(other.lease)

    assert queue.snapshot() == QueueSnapshot(last + 1, None, False)


def test_nothing_is_due_while_the_queue_is_paused_but_what_ran_out_is_still_seen(queue: DatabaseQueue) -> None:
    put(queue)
    queue.claim("worker", LEASE_SECONDS)
    newest = put(queue)
    let_pass(queue, LEASE_SECONDS + 1)

    queue.pause("somebody")
    assert queue.snapshot() == QueueSnapshot(newest, None, needs_maintenance=True)
    queue.resume()

    assert (queue.snapshot().due_in_seconds or 0) < 0


def test_a_lease_that_ran_out_needs_a_reap_and_only_until_then(queue: DatabaseQueue) -> None:
    put(queue)
    queue.claim("worker", LEASE_SECONDS)
    let_pass(queue, LEASE_SECONDS + 1)

    before = queue.snapshot().needs_maintenance
    queue.reap()

    assert (before, queue.snapshot().needs_maintenance) == (True, False)


@pytest.mark.parametrize(("urgent", "expires"), [(30, 30), (150, None)])
def test_what_is_too_late_or_urgent_no_more_needs_an_expire_and_only_until_then(
    queue: DatabaseQueue, urgent: float, expires: float | None
) -> None:
    put(queue, urgent=urgent, expires=expires)
    let_pass(queue, 151)

    before = queue.snapshot().needs_maintenance
    queue.expire()

    assert (before, queue.snapshot().needs_maintenance) == (True, False)
