"""What a person does to jobs, and to the whole queue, on every database."""

from __future__ import annotations

import threading
import time
from typing import Callable

import pytest

from scalable.lib.errors import JobNotFound, WrongState
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob, Counts
from scalable.lib.queue.notes import paused
from scalable.lib.queue.requeue import Position, let_run, read_position
from scalable.lib.queue.views.search import Filter
from scalable.lib.telegram.update import Update

LEASE_SECONDS = 45


def claim(queue: DatabaseQueue) -> ClaimedJob:
    (job,) = queue.claim("worker", LEASE_SECONDS)
    return job


def enqueue(queue: DatabaseQueue, *lanes: str, update_type: str = "message") -> list[int]:
    return [queue.enqueue(Update("{}", None, update_type, lane)).job_id for lane in lanes]


def fail(queue: DatabaseQueue, number: int, error: str = "exit code 1", update_type: str = "message") -> list[int]:
    """The ids of that many jobs that failed just now."""
    for _ in range(number):
        queue.enqueue(Update("{}", None, update_type))
    jobs = queue.claim("worker", LEASE_SECONDS, limit=number)
    for job in jobs:
        queue.fail(job.lease, error)
    return [job.id for job in jobs]


class TestRunNow:
    def test_a_job_in_back_off_is_due_at_once(self, queue: DatabaseQueue) -> None:
        (job_id,) = enqueue(queue, "chat:1")
        queue.retry(claim(queue).lease, "exit code 1", 300)
        assert queue.claim("worker", LEASE_SECONDS) == []

        queue.run_now(job_id)

        assert (claim(queue).id, queue.find(job_id).attempts) == (job_id, 2)

    def test_a_job_that_waits_for_nothing_is_refused(self, queue: DatabaseQueue) -> None:
        (job_id,) = enqueue(queue, "chat:1")

        with pytest.raises(WrongState, match=f"job {job_id} is pending: only a job that waits for its next attempt"):
            queue.run_now(job_id)


class TestSkip:
    def test_the_lane_behind_a_skipped_job_goes_on(self, queue: DatabaseQueue) -> None:
        head, second, third = enqueue(queue, "chat:1", "chat:1", "chat:1")
        queue.retry(claim(queue).lease, "exit code 1", 300)
        assert queue.claim("worker", LEASE_SECONDS) == []  # parks what is behind it

        queue.skip(head)

        assert (queue.find(head).status, queue.find(head).error_message) == ("failed", "skipped by hand")
        for expected in (second, third):
            job = claim(queue)
            assert job.id == expected
            queue.complete(job.lease)

    @pytest.mark.parametrize("state", ["processing", "done", "failed"])
    def test_only_a_waiting_job_is_skipped(self, queue: DatabaseQueue, state: str) -> None:
        (job_id,) = enqueue(queue, "chat:1")
        BRING[state](queue)

        message = f"job {job_id} is {state}: only a job that waits can be skipped"
        with pytest.raises(WrongState, match=message) as caught:
            queue.skip(job_id)

        assert caught.value.status == state
        assert queue.find(job_id).status == state


BRING: dict[str, Callable[[DatabaseQueue], object]] = {
    "pending": DatabaseQueue.newest_id,  # nothing is to be done
    "processing": claim,
    "done": lambda queue: queue.complete(claim(queue).lease),
    "failed": lambda queue: queue.fail(claim(queue).lease, "exit code 1"),
}


class TestDelete:
    @pytest.mark.parametrize("state", ["pending", "done", "failed"])
    def test_a_job_that_does_not_run_is_gone(self, queue: DatabaseQueue, state: str) -> None:
        (job_id,) = enqueue(queue, "chat:1")
        BRING[state](queue)

        queue.delete(job_id)

        assert queue.counts() == Counts()
        with pytest.raises(JobNotFound, match=f"there is no job {job_id}"):
            queue.delete(job_id)

    def test_a_running_job_stays_and_its_worker_finishes_it(self, queue: DatabaseQueue) -> None:
        (job_id,) = enqueue(queue, "chat:1")
        job = claim(queue)

        with pytest.raises(WrongState, match=f"job {job_id} is processing: a job that runs cannot be deleted"):
            queue.delete(job_id)

        queue.complete(job.lease)
        assert queue.find(job_id).status == "done"

    def test_the_lane_behind_a_deleted_job_goes_on(self, queue: DatabaseQueue) -> None:
        head, second = enqueue(queue, "chat:1", "chat:1")
        queue.retry(claim(queue).lease, "exit code 1", 300)
        assert queue.claim("worker", LEASE_SECONDS) == []

        queue.delete(head)

        assert claim(queue).id == second


class TestRequeueMatching:
    def test_it_goes_through_all_failed_jobs_in_steps_and_ends(self, queue: DatabaseQueue) -> None:
        ids = fail(queue, 25)
        after, until, seen = None, queue.newest_id(), []

        while True:
            batch = queue.requeue_matching(Filter(status="failed"), 10, after, until)
            seen.append((batch.requeued, batch.looked_at))
            after = batch.after
            if after is None:
                break

        assert seen == [(10, 10), (10, 10), (5, 5)]
        assert {queue.find(job_id).status for job_id in ids} == {"pending"}

    def test_jobs_that_fail_again_at_once_are_not_taken_twice(self, queue: DatabaseQueue) -> None:
        fail(queue, 10)
        until = queue.newest_id()
        first = queue.requeue_matching(Filter(status="failed"), 5, None, until)
        let_run(queue, first.held)
        for job in queue.claim("worker", LEASE_SECONDS, limit=5):
            queue.fail(job.lease, "again")
        fail(queue, 1)  # and a new one

        second = queue.requeue_matching(Filter(status="failed"), 5, first.after, until)
        third = queue.requeue_matching(Filter(status="failed"), 5, second.after, until)

        assert (second.requeued, third.requeued) == (5, 0)
        assert queue.counts() == Counts(pending=5, failed=6)

    def test_only_what_the_filter_means_runs_again(self, queue: DatabaseQueue) -> None:
        fail(queue, 3, "no such chat")
        chosen = fail(queue, 2, "TIMEOUT 100%", update_type="poll")
        fail(queue, 2, "timeout 1000", update_type="poll")

        batch = queue.requeue_matching(
            Filter("failed", update_type="poll", error="timeout 100%"), 100, None, queue.newest_id()
        )

        assert batch.requeued == 2
        assert {queue.find(job_id).status for job_id in chosen} == {"pending"}
        assert queue.counts() == Counts(pending=2, failed=5)

    def test_a_state_whose_jobs_cannot_run_again_is_refused(self, queue: DatabaseQueue) -> None:
        with pytest.raises(ValueError, match="status 'done': expected failed or expired"):
            queue.requeue_matching(Filter(status="done"), 10, None, 1)


@pytest.mark.parametrize("text", ["", "17", "2026-01-01 00:00:00.000", "2026-01-01 00:00:00.000/x", "' OR 1=1/1"])
def test_a_position_is_read_only_from_what_it_was_written_as(text: str) -> None:
    position = Position("2026-01-01 00:00:00.000", 17)

    assert read_position(str(position)) == position
    assert read_position(text) is None


class TestPause:
    def test_a_paused_queue_gives_out_nothing_and_takes_in_everything(self, queue: DatabaseQueue) -> None:
        enqueue(queue, "chat:1")

        queue.pause("somebody")
        enqueue(queue, "chat:2")

        assert queue.claim("worker", LEASE_SECONDS, limit=8) == []
        assert queue.counts() == Counts(pending=2)

    def test_jobs_that_run_are_finished_while_it_is_paused(self, queue: DatabaseQueue) -> None:
        enqueue(queue, "chat:1")
        job = claim(queue)

        queue.pause("somebody")
        queue.complete(job.lease)

        assert queue.counts() == Counts(done=1)

    def test_a_resumed_queue_goes_on_where_it_was(self, queue: DatabaseQueue) -> None:
        (job_id,) = enqueue(queue, "chat:1")
        queue.pause("somebody")

        assert queue.resume() is True
        assert queue.resume() is False

        assert claim(queue).id == job_id

    def test_it_says_since_when_and_who(self, queue: DatabaseQueue) -> None:
        notes = queue.notes
        assert paused(notes.read()) is None

        queue.pause("10.0.0.7")
        queue.pause("10.0.0.8")

        note = paused(notes.read())
        assert note is not None
        assert note.text == "10.0.0.8"
        assert note.age_seconds < 60

    def test_a_claim_does_not_wait_for_somebody_who_is_just_pausing(self, queue: DatabaseQueue) -> None:
        """A claim locks its candidates; it must not lock, or wait for, the note."""
        if "SQLite" in queue.database.place:
            pytest.skip("SQLite has one writer at a time")
        enqueue(queue, "chat:1")
        insert = "INSERT INTO bot_jobs_meta (name, value) VALUES ('paused', 'x')"
        written, go_on = threading.Event(), threading.Event()

        def pausing() -> None:
            def work(session) -> None:  # type: ignore[no-untyped-def]
                session.execute(insert)
                written.set()
                go_on.wait(60)

            queue.database.run(work, transaction=True)

        pauser = threading.Thread(target=pausing)
        pauser.start()
        written.wait(60)
        taken = claim(queue)  # a time-out of the lock is an error
        go_on.set()
        pauser.join(60)

        assert queue.find(taken.id).status == "processing"
        assert queue.claim("worker", LEASE_SECONDS) == []


def test_of_many_who_want_a_turn_one_gets_it(queue: DatabaseQueue) -> None:
    notes = queue.notes
    barrier = threading.Barrier(8)
    won: list[bool] = []

    def want(last: object) -> None:
        barrier.wait(60)
        won.append(notes.write_if_unchanged("webhook", "{}", last))  # type: ignore[arg-type]

    for expected in (1, 2):
        last = notes.read().get("webhook")
        threads = [threading.Thread(target=want, args=(last,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert won.count(True) == expected
        time.sleep(0.002)  # the next turn is written at another millisecond
