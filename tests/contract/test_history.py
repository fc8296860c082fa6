"""What became of every attempt at a job is kept with it, on every database, and costs no statement."""

from __future__ import annotations

from datetime import timedelta

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.history import MAX_HISTORY_CHARACTERS, MAX_OUTPUT_CHARACTERS, HistoryEntry
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.queue.views.browse import JobDetail
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45


def detail(queue: DatabaseQueue, job_id: int) -> JobDetail:
    return queue.jobs.detail(job_id)


def claim(queue: DatabaseQueue, worker: str = "worker a") -> ClaimedJob:
    (job,) = queue.claim(worker, LEASE_SECONDS)
    return job


def told(past: tuple[HistoryEntry, ...]) -> list[tuple[int, str, str, str]]:
    return [(each.attempt, each.outcome, each.worker, each.output) for each in past]


def test_a_job_that_succeeds_at_once_has_one_attempt(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id

    queue.complete(claim(queue).lease)

    (attempt,) = detail(queue, job_id).history
    assert (attempt.attempt, attempt.outcome, attempt.worker, attempt.output) == (1, "done", "worker a", "")
    assert attempt.ended_at is not None
    assert abs(attempt.ended_at - attempt.started_at) < timedelta(seconds=60)


def test_every_failed_attempt_keeps_its_own_time_worker_and_output(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    for worker, delay in (("worker a", 5), ("worker b", 10)):
        queue.retry(claim(queue, worker).lease, f'exit code 1\n{worker} | says "no" 😀\n', delay)
        let_pass(queue, delay + 0.5)
    queue.fail(claim(queue, "worker c").lease, "exit code 255")

    past = detail(queue, job_id).history

    assert told(past) == [
        (1, "retried", "worker a", 'exit code 1\nworker a | says "no" 😀\n'),
        (2, "retried", "worker b", 'exit code 1\nworker b | says "no" 😀\n'),
        (3, "failed", "worker c", "exit code 255"),
    ]


def test_the_attempt_at_hand_is_told_while_it_runs(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    queue.retry(claim(queue).lease, "exit code 1", 0)

    claim(queue, "worker b")

    assert [(past.outcome, past.ended_at is None) for past in detail(queue, job_id).history] == [
        ("retried", False),
        ("running", True),
    ]


def test_a_dead_worker_and_a_job_given_back_are_told(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    queue.release(claim(queue, "worker a").lease)
    claim(queue, "worker b")
    queue.reap("worker b")
    let_pass(queue, 6)
    queue.release(claim(queue, "worker c").lease)
    claim(queue, "worker d")
    let_pass(queue, LEASE_SECONDS + 1)
    queue.reap()

    past = detail(queue, job_id).history

    assert [(each.attempt, each.outcome, each.worker) for each in past] == [
        (1, "released", "worker a"),
        (1, "died", "worker b"),
        (2, "released", "worker c"),
        (2, "died", "worker d"),
    ]
    assert past[1].output.startswith("worker worker b died or lost its database during attempt 1")


def test_what_a_person_did_is_told(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    queue.fail(claim(queue).lease, "exit code 1")

    queue.requeue(job_id)
    queue.skip(job_id)
    queue.requeue(job_id)
    queue.complete(claim(queue).lease)

    assert [each.outcome for each in detail(queue, job_id).history] == [
        "failed",
        "requeued",
        "skipped",
        "requeued",
        "done",
    ]


def test_a_long_history_loses_its_oldest_attempts_and_says_so(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    for attempt in range(1, 41):
        queue.retry(claim(queue).lease, f"{attempt} " + "é" * 3 * MAX_OUTPUT_CHARACTERS + " the end", 0)

    found = detail(queue, job_id)

    assert found.history[-1].attempt == 40
    assert [each.attempt for each in found.history] == list(range(found.cut + 1, 41))
    assert 10 < len(found.history) < 20
    assert all(each.output.endswith("é the end") for each in found.history)
    assert all(len(each.output) == MAX_OUTPUT_CHARACTERS for each in found.history)
    (stored,) = queue.database.run(lambda session: session.rows("SELECT history FROM bot_jobs"))
    assert len(stored[0]) == MAX_HISTORY_CHARACTERS


def test_a_finish_that_is_repeated_is_told_once(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    lease = claim(queue).lease

    queue.retry(lease, "exit code 1", 5)
    queue.retry(lease, "exit code 1", 5)

    assert [each.outcome for each in detail(queue, job_id).history] == ["retried"]


def test_a_job_that_failed_before_there_was_a_history_has_its_last_attempt(queue: DatabaseQueue) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    queue.fail(claim(queue).lease, "exit code 1")
    queue.database.run(lambda session: session.execute("UPDATE bot_jobs SET history = NULL"))

    assert told(detail(queue, job_id).history) == [(1, "failed", "worker a", "exit code 1")]
