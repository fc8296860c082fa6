"""Many claimers at once, as real processes behind a barrier: every job is run exactly once and nothing goes wrong."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.job import Counts
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.generators import forked
from tests.support.waiting import PATIENCE_SECONDS

CLAIMERS = 12
JOBS = 240


def open_queue(address: DatabaseAddress) -> DatabaseQueue:
    return DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())


def drain(address: DatabaseAddress, barrier: Barrier, reports: Queue[object]) -> None:
    """Claim and complete until nothing is left; report the ids, or the error that stopped it."""
    ids: list[int] = []
    try:
        queue = open_queue(address)
        queue.counts()
        barrier.wait(PATIENCE_SECONDS)
        empty_in_a_row = 0
        while empty_in_a_row < 3:  # without SKIP LOCKED a claimer may lose every candidate to others, once
            jobs = queue.claim(f"claimer {multiprocessing.current_process().pid}", 45)
            empty_in_a_row = 0 if jobs else empty_in_a_row + 1
            for job in jobs:
                queue.complete(job.lease)
                ids.append(job.id)
        reports.put(ids)
    except BaseException as error:  # noqa: BLE001 - reported to the test, which fails on it
        reports.put(repr(error))


def deliver(address: DatabaseAddress, barrier: Barrier, reports: Queue[object]) -> None:
    """Enqueue the same updates as everyone else, and report which job each was given."""
    try:
        queue = open_queue(address)
        queue.counts()
        barrier.wait(PATIENCE_SECONDS)
        reports.put([queue.enqueue(Update("{}", update_id, "message")).job_id for update_id in range(50)])
    except BaseException as error:  # noqa: BLE001 - reported to the test, which fails on it
        reports.put(repr(error))


def run_together(target: object, address: DatabaseAddress, number: int) -> list[object]:
    context = forked.context()
    barrier = context.Barrier(number)
    reports: Queue[object] = context.Queue()
    processes = [context.Process(target=target, args=(address, barrier, reports), daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    found = [reports.get(timeout=200) for _ in processes]
    for process in processes:
        process.join(60)
    return found


def test_every_job_is_claimed_exactly_once(queue: DatabaseQueue, address: DatabaseAddress) -> None:
    expected = {queue.enqueue(Update("{}", number, "message")).job_id for number in range(JOBS)}

    reports = run_together(drain, address, CLAIMERS)

    assert [report for report in reports if isinstance(report, str)] == []
    times = Counter(job_id for report in reports for job_id in report)  # type: ignore[attr-defined]
    assert set(times) == expected
    assert set(times.values()) == {1}
    assert queue.counts() == Counts(done=JOBS)


def test_the_same_updates_delivered_together_are_enqueued_once(queue: DatabaseQueue, address: DatabaseAddress) -> None:
    reports = run_together(deliver, address, 6)

    assert [report for report in reports if isinstance(report, str)] == []
    assert all(report == reports[0] for report in reports)
    assert queue.counts() == Counts(pending=50)
