"""A lease that ran out has a grace time: after an outage, however long, who lives is heard before anybody reaps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scalable.lib.errors import LeaseLost
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.job import ClaimedJob, Reaped
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.reaping import BATCH
from scalable.lib.telegram.update import Update
from tests.contract.conftest import POLICY
from tests.support.servers.databases import let_pass

TERMS = LeaseTerms()
LEASE_SECONDS, GRACE_SECONDS = TERMS.lease_seconds, TERMS.grace_seconds
OUTAGE_SECONDS = 3600.0


def another_process(address: DatabaseAddress) -> DatabaseQueue:
    return DatabaseQueue(open_database(address), "bot_jobs", POLICY)


@pytest.fixture
def queue(address: DatabaseAddress) -> Iterator[DatabaseQueue]:
    queue = another_process(address)
    queue.ensure_schema()
    yield queue
    queue.close()


def claimed(queue: DatabaseQueue) -> ClaimedJob:
    queue.enqueue(Update("{}", 1, "message", "chat:1"))
    (job,) = queue.claim("worker a", LEASE_SECONDS)
    return job


def test_a_worker_that_is_not_heard_for_the_grace_time_loses_its_job(queue: DatabaseQueue) -> None:
    job = claimed(queue)
    let_pass(queue, LEASE_SECONDS + 1)

    assert queue.reap() == Reaped()
    let_pass(queue, GRACE_SECONDS - 5)
    assert queue.reap() == Reaped()
    let_pass(queue, 6)
    assert queue.reap() == Reaped(retried=1)

    with pytest.raises(LeaseLost):
        queue.complete(job.lease)


def test_after_an_outage_a_worker_tells_what_it_finished_although_its_lease_is_long_over(queue: DatabaseQueue) -> None:
    """F20: who lives reports first."""
    job = claimed(queue)
    let_pass(queue, OUTAGE_SECONDS)

    assert queue.reap() == Reaped()
    let_pass(queue, GRACE_SECONDS - 5)
    queue.complete(job.lease)
    let_pass(queue, OUTAGE_SECONDS)

    assert queue.reap() == Reaped()
    assert queue.find(job.id).status == "done"


def test_a_worker_that_renews_in_the_grace_time_has_a_whole_lease_and_a_whole_grace_time_again(
    queue: DatabaseQueue,
) -> None:
    job = claimed(queue)
    let_pass(queue, LEASE_SECONDS + 1)
    queue.reap()
    queue.renew(job.lease, LEASE_SECONDS)
    let_pass(queue, LEASE_SECONDS + 1)  # as long as both together since it was first found to have run out

    assert queue.reap() == Reaped()
    queue.renew(job.lease, LEASE_SECONDS)
    let_pass(queue, LEASE_SECONDS + 1)
    queue.reap()
    let_pass(queue, GRACE_SECONDS + 1)

    assert queue.reap() == Reaped(retried=1)


def test_the_next_worker_has_a_grace_time_of_its_own(queue: DatabaseQueue) -> None:
    claimed(queue)
    for _ in range(2):
        let_pass(queue, LEASE_SECONDS + GRACE_SECONDS + 1)
        queue.reap()
    let_pass(queue, 10)
    queue.claim("worker b", LEASE_SECONDS)
    let_pass(queue, OUTAGE_SECONDS)

    assert queue.reap() == Reaped()


def test_the_grace_time_is_kept_by_the_database_so_that_processes_which_live_for_a_moment_reap_too(
    queue: DatabaseQueue, address: DatabaseAddress
) -> None:
    claimed(queue)
    let_pass(queue, LEASE_SECONDS + 1)
    queue.reap()
    let_pass(queue, GRACE_SECONDS + 1)
    drain = another_process(address)

    assert drain.reap() == Reaped(retried=1)
    drain.close()


def test_a_worker_that_is_known_to_be_dead_has_no_grace_time(queue: DatabaseQueue) -> None:
    claimed(queue)

    assert queue.reap("worker a") == Reaped(retried=1)


def test_a_snapshot_asks_for_maintenance_when_a_lease_ran_out_and_when_its_grace_time_is_over(
    queue: DatabaseQueue,
) -> None:
    claimed(queue)
    asked = []
    for seconds in (0, LEASE_SECONDS + 1, GRACE_SECONDS - 5, 6):
        let_pass(queue, seconds)
        asked.append(queue.snapshot().needs_maintenance)
        queue.reap()

    assert asked == [False, True, False, True]


def test_many_leases_have_their_grace_time_together(queue: DatabaseQueue) -> None:
    count = 2 * BATCH + 1
    for number in range(count):
        queue.enqueue(Update("{}", number, "message", f"chat:{number}"))
    assert len(queue.claim("worker a", LEASE_SECONDS, limit=count)) == count
    let_pass(queue, LEASE_SECONDS + 1)

    assert queue.reap() == Reaped()
    let_pass(queue, GRACE_SECONDS + 1)

    assert queue.reap() == Reaped(retried=count)


def test_what_the_reaper_writes_is_no_sign_of_life(queue: DatabaseQueue) -> None:
    job = claimed(queue)
    let_pass(queue, LEASE_SECONDS + 1)
    updated = "SELECT updated_at FROM bot_jobs"
    before = queue.table.rows(updated)
    queue.reap()

    assert queue.table.rows(updated) == before
    assert queue.find(job.id).status == "processing"
