"""Failed jobs run again in the order of their lane, on every database: among newer ones, and when they are many."""

from __future__ import annotations

import pytest

from scalable.lib.queue import requeue
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob, Counts
from scalable.lib.queue.views.search import Filter
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45
FAILED = Filter(status="failed")


def put(queue: DatabaseQueue, *lanes: str | None) -> list[int]:
    return [queue.enqueue(Update("{}", None, "message", lane)).job_id for lane in lanes]


def claim(queue: DatabaseQueue, limit: int = 1) -> list[ClaimedJob]:
    return queue.claim("worker", LEASE_SECONDS, limit)


def fail_all(queue: DatabaseQueue, *lanes: str | None, error: str = "exit code 1") -> list[int]:
    """The ids of one job for each of these lanes, in this order, all failed."""
    ids = put(queue, *lanes)
    while jobs := claim(queue, 50):
        for job in jobs:
            queue.fail(job.lease, error)
    return ids


def run_what_is_due(queue: DatabaseQueue) -> list[int]:
    """The ids of the jobs as a worker ran them, one after the other, to their end."""
    order = []
    while jobs := claim(queue):
        order.append(jobs[0].id)
        queue.complete(jobs[0].lease)
    return order


class TestOrder:
    def test_failed_jobs_of_a_lane_run_in_their_order_and_before_newer_ones_that_wait(
        self, queue: DatabaseQueue
    ) -> None:
        """F7: `retry --all-failed` keeps the order."""
        first, second = fail_all(queue, "chat:1", "chat:1")
        (newer,) = put(queue, "chat:1")

        batch = queue.requeue_failed()

        assert (batch.requeued, batch.overtaken) == (2, 0)
        assert run_what_is_due(queue) == [first, second, newer]

    def test_a_newer_one_does_not_go_between_two_steps_of_a_long_retry(self, queue: DatabaseQueue) -> None:
        first, second = fail_all(queue, "chat:1", "chat:1")
        (newer,) = put(queue, "chat:1")
        until = queue.newest_id()

        step = queue.requeue_matching(FAILED, 1, None, until)
        between = run_what_is_due(queue)
        after, held = step.after, [*step.held]
        while after is not None:
            step = queue.requeue_matching(FAILED, 1, after, until)
            after, held = step.after, [*held, *step.held]
            between += run_what_is_due(queue)
        requeue.let_run(queue, held)

        assert between == []
        assert run_what_is_due(queue) == [first, second, newer]

    def test_what_a_retry_that_broke_off_left_behind_runs_by_itself(self, queue: DatabaseQueue) -> None:
        first, second = fail_all(queue, "chat:1", "chat:2")

        queue.requeue_matching(FAILED, 1, None, queue.newest_id())
        let_pass(queue, requeue.HOLD_SECONDS + 1)

        assert run_what_is_due(queue) == [first]
        assert queue.find(second).status == "failed"

    def test_ten_thousand_jobs_of_some_lanes_run_in_order(
        self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A part of the ten thousand, and steps that are as much smaller."""
        monkeypatch.setattr(requeue, "STEP", 20)
        ids = fail_all(queue, *(f"chat:{number % 7}" for number in range(400)))
        newer = put(queue, *(f"chat:{number}" for number in range(7)))

        batch = queue.requeue_failed()

        assert (batch.requeued, batch.overtaken, batch.after) == (400, 0, None)
        order = run_what_is_due(queue)
        assert len(order) == 407
        for lane in range(7):
            mine = [*ids[lane::7], newer[lane]]
            assert [job_id for job_id in order if job_id in mine] == mine
        assert queue.counts() == Counts(done=407)

    def test_jobs_that_come_back_before_parked_ones_let_them_go_on(self, queue: DatabaseQueue) -> None:
        """Newer ones were put aside behind one that is in back-off; then older ones are put before it."""
        first, second = fail_all(queue, "chat:1", "chat:1")
        head, *behind = put(queue, "chat:1", "chat:1", "chat:1")
        (job,) = claim(queue)
        queue.retry(job.lease, "exit code 1", 30)
        assert (job.id, claim(queue)) == (head, [])  # which parks those behind it

        queue.requeue_failed()

        assert run_what_is_due(queue) == [first, second]
        let_pass(queue, 31)
        assert run_what_is_due(queue) == [head, *behind]

    def test_a_retried_job_waits_for_the_newer_one_that_runs_and_goes_before_the_others(
        self, queue: DatabaseQueue
    ) -> None:
        (failed,) = fail_all(queue, "chat:1")
        _, newer = put(queue, "chat:1", "chat:1")
        (running,) = claim(queue)

        is_overtaken = queue.requeue(failed)

        assert is_overtaken
        assert claim(queue) == []
        queue.complete(running.lease)
        assert run_what_is_due(queue) == [failed, newer]

    def test_only_what_a_filter_means_goes_before_the_newer_ones(self, queue: DatabaseQueue) -> None:
        (other,) = fail_all(queue, "chat:1", error="no such chat")
        chosen = fail_all(queue, "chat:1", "chat:1", error="timeout")
        (newer,) = put(queue, "chat:1")

        queue.requeue_all(Filter(status="failed", error="timeout"), None, queue.newest_id())

        assert run_what_is_due(queue) == [*chosen, newer]
        assert queue.find(other).status == "failed"

    def test_a_job_that_was_tried_again_meanwhile_keeps_its_delay(self, queue: DatabaseQueue) -> None:
        ids = fail_all(queue, "chat:1")
        queue.requeue(ids[0])
        queue.retry(claim(queue)[0].lease, "exit code 1", 30)

        requeue.let_run(queue, ids)

        assert claim(queue) == []


class TestOvertaken:
    def test_it_says_for_how_many_newer_ones_of_their_lane_ran_already(self, queue: DatabaseQueue) -> None:
        """F7: the fault as it was found: chats 7 and 8 failed in an outage, then one more of chat 7 was done."""
        seven, eight = fail_all(queue, "chat:7", "chat:8")
        (third,) = put(queue, "chat:7")
        assert run_what_is_due(queue) == [third]

        batch = queue.requeue_failed()

        assert (batch.requeued, batch.overtaken) == (2, 1)
        assert sorted(run_what_is_due(queue)) == [seven, eight]

    def test_one_that_is_held_to_run_next_counts_as_well(self, queue: DatabaseQueue) -> None:
        """A worker runs it before it asks the queue again."""
        (failed,) = fail_all(queue, "chat:1")
        put(queue, "chat:1", "chat:1")
        (lane,) = queue.claim_lanes("worker", LEASE_SECONDS, 1, 2)
        queue.complete(lane.jobs[0].lease)
        assert len(lane.jobs) == 2

        assert queue.requeue(failed)

    @pytest.mark.parametrize("lane", ["chat:1", None])
    def test_what_failed_or_waits_does_not_count_nor_other_lanes(self, queue: DatabaseQueue, lane: str | None) -> None:
        failed, *_ = fail_all(queue, lane, lane)
        put(queue, lane, "chat:2")
        put(queue, None)
        queue.skip(put(queue, "chat:2")[-1])

        assert not queue.requeue(failed)

    def test_each_lane_of_a_large_step_is_looked_at(
        self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requeue, "LANES", 3)
        lanes = [f"chat:{number}" for number in range(10)]
        fail_all(queue, *lanes, *lanes)
        put(queue, *lanes[:4])
        run_what_is_due(queue)

        assert queue.requeue_failed().overtaken == 8
