"""The clock was set back, on every database: what waits runs, who lives goes on, and who is dead is noticed."""

from __future__ import annotations

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.far_times import ASKED_FOR_SECONDS
from scalable.lib.queue.job import Adopted, ClaimedJob
from scalable.lib.queue.leadership import Leadership
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.notes import TOTALS
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.verdict import NO_UPDATE, NO_WORKER
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_leases_run_out, let_pass, set_clock_back

TWO_HOURS = 7200
LEASE_SECONDS = 45


def put(queue: DatabaseQueue, *lanes: str | None) -> list[int]:
    return [queue.enqueue(Update("{}", None, "message", lane)).job_id for lane in lanes]


def run_what_is_due(queue: DatabaseQueue) -> list[int]:
    order: list[int] = []
    while jobs := queue.claim("worker", LEASE_SECONDS):
        order.append(jobs[0].id)
        queue.complete(jobs[0].lease)
    return order


def claim_one(queue: DatabaseQueue) -> ClaimedJob:
    (job,) = queue.claim("worker", LEASE_SECONDS)
    return job


class TestWaitingJobs:
    @pytest.mark.parametrize("seconds", [60, TWO_HOURS, 30 * 86_400])
    def test_what_was_accepted_before_runs_in_its_order(self, queue: DatabaseQueue, seconds: int) -> None:
        """F27: the fault as it was found: 12 accepted updates waited for as long as the clock had been set back."""
        ids = put(queue, *["chat:1", "chat:2", None] * 4)
        set_clock_back(queue, seconds)
        later = put(queue, "chat:1")
        assert queue.claim("worker", LEASE_SECONDS) == []

        assert queue.adopt() == Adopted(waiting=12)

        order = run_what_is_due(queue)
        assert sorted(order) == [*ids, *later]
        of_chat_1 = [*ids[0::3], *later]
        assert [job_id for job_id in order if job_id in of_chat_1] == of_chat_1

    def test_one_that_waits_for_its_next_attempt_runs_too(self, queue: DatabaseQueue) -> None:
        """F27: of the kind, retries."""
        (job_id,) = put(queue, "chat:1")
        queue.retry(claim_one(queue).lease, "exit code 1", 30)
        set_clock_back(queue, TWO_HOURS)

        assert queue.adopt() == Adopted(waiting=1)

        assert run_what_is_due(queue) == [job_id]

    def test_parked_ones_and_urgent_ones_run_too(self, queue: DatabaseQueue) -> None:
        """F27: of the kind, parked and urgent ones."""
        head, behind = put(queue, "chat:1", "chat:1")
        urgent = queue.enqueue(Update("{}", None, "callback_query", "user:1", 60, None)).job_id
        running = queue.claim("worker", LEASE_SECONDS, 2)
        assert queue.claim("worker", LEASE_SECONDS) == []  # which parks the other one
        for job in running:
            queue.retry(job.lease, "exit code 1", 5)
        set_clock_back(queue, TWO_HOURS)

        queue.adopt()

        assert sorted(run_what_is_due(queue)) == [head, behind, urgent]

    @pytest.mark.parametrize("delay", [300, ASKED_FOR_SECONDS])
    def test_a_delay_of_ours_is_kept(self, queue: DatabaseQueue, delay: int) -> None:
        put(queue, "chat:1")
        queue.retry(claim_one(queue).lease, "HTTP status 429", delay)

        assert queue.adopt() == Adopted()
        assert run_what_is_due(queue) == []

    def test_a_time_of_the_far_future_that_somebody_wrote_is_put_right(self, queue: DatabaseQueue) -> None:
        tried, fresh = put(queue, "chat:1", "chat:2")
        queue.retry(queue.claim("worker", LEASE_SECONDS)[0].lease, "exit code 1", 5)
        queue.table.change("UPDATE {jobs} SET available_at = '9999-12-31 00:00:00.000'")

        queue.adopt()

        assert sorted(run_what_is_due(queue)) == [tried, fresh]


class TestLeases:
    def test_the_job_of_a_worker_that_is_dead_goes_on_soon(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1")
        claim_one(queue)
        set_clock_back(queue, TWO_HOURS)

        adopted = queue.adopt()
        let_leases_run_out(queue)

        assert adopted == Adopted(ahead=1)
        let_pass(queue, 6)
        assert claim_one(queue).attempt == 2

    def test_a_worker_that_lives_keeps_its_job(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1")
        job = claim_one(queue)
        set_clock_back(queue, TWO_HOURS)

        queue.adopt()
        queue.reap()
        queue.renew(job.lease, LEASE_SECONDS)
        assert queue.adopt() == Adopted()
        queue.complete(job.lease)

        assert queue.find(job.id).status == "done"

    def test_one_that_was_missed_before_is_reaped_when_its_worker_dies_later(self, queue: DatabaseQueue) -> None:
        """Missed in an outage; then the clock was set back, and the worker came again."""
        queue.lease_terms = LeaseTerms()
        put(queue, "chat:1")
        job = claim_one(queue)
        let_pass(queue, LEASE_SECONDS + 1)
        queue.reap()  # misses it
        set_clock_back(queue, TWO_HOURS)
        queue.renew(job.lease, LEASE_SECONDS)

        assert queue.adopt() == Adopted(ahead=1)
        let_pass(queue, LEASE_SECONDS + 1)
        queue.reap()
        let_pass(queue, queue.lease_terms.grace_seconds + 1)

        queue.reap()
        assert queue.find(job.id).status == "pending"

    def test_leases_as_they_are_stay(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1", "chat:2")
        queue.claim("worker", LEASE_SECONDS)
        queue.table.change("UPDATE {jobs} SET status = 'processing' WHERE status = 'pending'")  # another program

        assert queue.adopt() == Adopted(running=1)
        assert queue.adopt() == Adopted()


class TestOneForAll:
    def test_another_process_takes_a_lead_from_the_future(self, queue: DatabaseQueue) -> None:
        """F27: the leader is renewed."""
        dead, lives = (Leadership(queue.table, name, 150) for name in ("dead", "lives"))
        assert dead.take()
        assert not lives.take()
        set_clock_back(queue, TWO_HOURS)

        assert lives.take()

        assert not dead.take()

    def test_totals_are_counted_again(self, queue: DatabaseQueue) -> None:
        """F27: the totals are renewed."""
        put(queue, "chat:1")
        assert queue.totals.refresh()
        assert not queue.totals.refresh()
        set_clock_back(queue, TWO_HOURS)

        assert queue.totals.refresh()

        assert queue.notes.read()[TOTALS].age_seconds < 60

    def test_a_dead_worker_does_not_pass_for_one_that_lives(self, queue: DatabaseQueue) -> None:
        """F27: health says it."""
        queue.workers.record_heartbeat(Heartbeat("dead", "host", 1, 0.0))
        queue.workers.record_heartbeat(Heartbeat("lives", "host", 2, 0.0))
        queue.totals.refresh()
        set_clock_back(queue, TWO_HOURS)
        assert NO_WORKER in [reason.code for reason in check_health(queue).reasons]

        queue.workers.record_heartbeat(Heartbeat("lives", "host", 2, 0.0))

        assert [worker.name for worker in queue.workers.alive()] == ["lives"]
        assert [reason.code for reason in check_health(queue).reasons] == [NO_UPDATE]

    def test_minutes_are_counted_from_now_on(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1")
        let_pass(queue, 120)
        assert queue.minutes.count_enqueued() > 0
        set_clock_back(queue, TWO_HOURS)
        put(queue, "chat:2", "chat:3")
        let_pass(queue, 120)

        queue.minutes.count_enqueued()

        assert sum(minute.enqueued or 0 for minute in queue.minutes.read(600) if minute.at <= queue.minutes.now()) == 2


def test_a_clock_set_forward_and_back_again_leaves_nothing_behind(queue: DatabaseQueue) -> None:
    """F27: for a while the machine believed that it was tomorrow, and worked."""
    early, tomorrow = put(queue, "chat:1", "chat:1")
    (job,) = queue.claim("worker", LEASE_SECONDS)
    queue.retry(job.lease, "exit code 1", 5)
    set_clock_back(queue, 86_400)
    today = put(queue, "chat:1")

    queue.adopt()

    assert run_what_is_due(queue) == [early, tomorrow, *today]
