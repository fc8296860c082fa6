"""Lanes, urgency and expiry, on every database: who may run, who waits, who goes first, who not at all."""

from __future__ import annotations

import time

import pytest

from scalable.lib.queue import parking as lanes
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import Adopted, ClaimedJob, Counts
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_pass
from tests.support.waiting import SOON_SECONDS

LEASE_SECONDS = 45


def put(queue: DatabaseQueue, lane: str | None, urgent: float | None = None, expires: float | None = None) -> int:
    return queue.enqueue(Update("{}", None, "message", lane, urgent, expires)).job_id


def claim(queue: DatabaseQueue, limit: int = 1) -> list[ClaimedJob]:
    return queue.claim("worker", LEASE_SECONDS, limit)


def claimed_ids(queue: DatabaseQueue, limit: int = 1) -> list[int]:
    return [job.id for job in claim(queue, limit)]


class TestOrder:
    def test_a_lane_runs_one_job_at_a_time_in_the_order_of_arrival(self, queue: DatabaseQueue) -> None:
        first, second, third = (put(queue, "chat:1") for _ in range(3))

        order = []
        for _ in range(3):
            (job,) = claim(queue)
            assert claim(queue) == []
            queue.complete(job.lease)
            order.append(job.id)

        assert order == [first, second, third]
        assert claim(queue) == []

    def test_lanes_do_not_wait_for_each_other_nor_jobs_without_one(self, queue: DatabaseQueue) -> None:
        one, other, free, also_free = put(queue, "chat:1"), put(queue, "chat:2"), put(queue, None), put(queue, None)

        assert sorted(claimed_ids(queue) + claimed_ids(queue) + claimed_ids(queue) + claimed_ids(queue)) == [
            one,
            other,
            free,
            also_free,
        ]

    def test_a_batch_never_holds_two_jobs_of_one_lane(self, queue: DatabaseQueue) -> None:
        for lane in ("chat:1", "chat:1", "chat:1", "chat:2", "chat:2", "chat:3"):
            put(queue, lane)

        taken = claim(queue, limit=6)

        assert sorted(job.lane or "" for job in taken) == sorted({job.lane or "" for job in taken})

    @pytest.mark.parametrize("ending", ["fail", "complete"])
    def test_a_lane_waits_while_its_head_is_in_back_off_and_moves_on_when_that_ended(
        self, queue: DatabaseQueue, ending: str
    ) -> None:
        put(queue, "chat:1")
        behind = put(queue, "chat:1")
        (head,) = claim(queue)
        queue.retry(head.lease, "exit code 1", delay_seconds=60)

        during = claim(queue)
        let_pass(queue, 61)
        (again,) = claim(queue)
        if ending == "fail":
            queue.fail(again.lease, "exit code 1")
        else:
            queue.complete(again.lease)

        assert during == []
        assert again.id == head.id
        assert claimed_ids(queue) == [behind]

    def test_a_released_head_goes_before_its_followers(self, queue: DatabaseQueue) -> None:
        head, _ = put(queue, "chat:1"), put(queue, "chat:1")
        (job,) = claim(queue)
        assert claim(queue) == []
        queue.release(job.lease)

        assert claimed_ids(queue) == [head]

    def test_a_released_job_keeps_its_place_in_the_queue(self, queue: DatabaseQueue) -> None:
        first = put(queue, None)
        let_pass(queue, 5)
        put(queue, None)
        (job,) = claim(queue)
        let_pass(queue, 5)
        queue.release(job.lease)

        assert claimed_ids(queue) == [first]

    def test_the_lane_of_a_dead_worker_moves_on(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1")
        behind = put(queue, "chat:1")
        for _ in range(3):
            claim(queue)
            assert claim(queue) == []
            let_pass(queue, LEASE_SECONDS + 1)
            queue.reap()
            let_pass(queue, 60)

        assert claimed_ids(queue) == [behind]

    def test_a_requeued_job_goes_before_later_ones_and_never_beside_a_running_one(self, queue: DatabaseQueue) -> None:
        first, second, third = (put(queue, "chat:1") for _ in range(3))
        (job,) = claim(queue)
        queue.fail(job.lease, "exit code 1")
        (running,) = claim(queue)
        queue.requeue(first)

        beside = claim(queue)
        queue.complete(running.lease)
        order = []
        for _ in range(2):
            (job,) = claim(queue)
            queue.complete(job.lease)
            order.append(job.id)

        assert running.id == second
        assert beside == []
        assert order == [first, third]

    @pytest.mark.parametrize("gives_back", ["retry", "release", "reap"])
    def test_a_job_requeued_behind_a_running_one_goes_next_when_that_is_given_back(
        self, queue: DatabaseQueue, gives_back: str
    ) -> None:
        first, second = (put(queue, "chat:1") for _ in range(2))
        (job,) = claim(queue)
        queue.fail(job.lease, "exit code 1")
        (running,) = claim(queue)
        queue.requeue(first)
        assert claim(queue) == []  # which parks it behind the running one

        if gives_back == "retry":
            queue.retry(running.lease, "exit code 1", 30)
        elif gives_back == "release":
            queue.release(running.lease)
        else:
            queue.reap("worker")

        (job,) = claim(queue)
        assert job.id == first
        queue.complete(job.lease)
        let_pass(queue, 31)
        assert claimed_ids(queue) == [second]

    def test_a_requeued_job_does_not_keep_a_batch_from_other_lanes(self, queue: DatabaseQueue) -> None:
        """Given one whose lane runs a later job: the database refuses it in the statement that takes the others."""
        first, _ = put(queue, "chat:1"), put(queue, "chat:1")
        (job,) = claim(queue)
        queue.fail(job.lease, "exit code 1")
        (running,) = claim(queue)
        queue.requeue(first)
        others = [put(queue, f"chat:{number}") for number in range(2, 6)]

        assert claimed_ids(queue, limit=8) == others
        assert claim(queue, limit=8) == []
        queue.complete(running.lease)
        assert claimed_ids(queue) == [first]

    def test_a_long_lane_in_front_does_not_hide_the_others(
        self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lanes, "PARK_BATCH", 100)
        for _ in range(250):
            put(queue, "chat:busy")
        (head,) = claim(queue)
        other = put(queue, "chat:quiet")

        assert claimed_ids(queue) == [other]
        queue.complete(head.lease)
        assert claimed_ids(queue) == [head.id + 1]

    def test_everything_drains_lane_by_lane(self, queue: DatabaseQueue) -> None:
        expected: dict[str | None, list[int]] = {}
        for number in range(60):
            lane = (None, "chat:1", "chat:2", "user:1")[number % 4]
            expected.setdefault(lane, []).append(put(queue, lane))

        ran: dict[str | None, list[int]] = {}
        while True:
            batch = claim(queue, limit=3)
            if not batch:
                break
            for job in reversed(batch):
                ran.setdefault(job.lane, []).append(job.id)
                queue.complete(job.lease)

        assert {lane: ids for lane, ids in ran.items() if lane} == {lane: ids for lane, ids in expected.items() if lane}
        assert queue.counts() == Counts(done=60)

    def test_looking_for_lanes_that_lost_their_head_takes_no_longer_for_one_long_lane(
        self, queue: DatabaseQueue
    ) -> None:
        """F24: of the kind, it depends on no number of jobs."""
        head, _ = (put(queue, "chat:1") for _ in range(2))
        assert claimed_ids(queue) == [head]
        assert claim(queue) == []  # which parks the follower
        double = "INSERT INTO bot_jobs (payload, lane, parked) SELECT payload, lane, 1 FROM bot_jobs WHERE parked = 1"
        for _ in range(13):
            queue.database.run(lambda session: session.execute(double))

        began = time.monotonic()
        adopted = queue.adopt()

        assert (adopted, queue.counts().pending) == (Adopted(), 8192)
        assert time.monotonic() - began < SOON_SECONDS

    def test_a_lane_whose_head_was_deleted_by_hand_moves_on_after_the_next_housekeeping(
        self, queue: DatabaseQueue
    ) -> None:
        head, behind, _ = (put(queue, "chat:1") for _ in range(3))
        (job,) = claim(queue)
        assert claim(queue) == []
        queue.database.run(lambda session: session.execute("DELETE FROM bot_jobs WHERE id = :id", id=head))

        stuck = claim(queue)
        adopted = queue.adopt()

        assert (job.id, stuck) == (head, [])
        assert adopted.stranded >= 1
        assert claimed_ids(queue, limit=2) == [behind]
        assert queue.adopt().stranded == 0


class TestCompletingMany:
    def test_jobs_of_one_claim_are_done_and_their_lanes_move_on(self, queue: DatabaseQueue) -> None:
        heads = [put(queue, f"chat:{number}") for number in range(4)]
        followers = [put(queue, f"chat:{number}") for number in range(4)]
        batch = claim(queue, limit=8)
        assert claim(queue) == []  # which parks the followers

        lost = queue.complete_many([job.lease for job in batch])

        assert ([job.id for job in batch], lost) == (heads, [])
        assert sorted(claimed_ids(queue, limit=8)) == followers

    def test_a_lost_lease_is_told_and_the_others_are_done(self, queue: DatabaseQueue) -> None:
        for _ in range(3):
            put(queue, None)
        batch = claim(queue, limit=3)
        queue.release(batch[1].lease)
        (again,) = claim(queue)

        lost = queue.complete_many([job.lease for job in batch])

        assert lost == [batch[1].lease]
        assert queue.counts() == Counts(done=2, processing=1)
        queue.complete(again.lease)

    def test_it_may_be_repeated_and_takes_leases_of_several_claims(self, queue: DatabaseQueue) -> None:
        for _ in range(4):
            put(queue, None)
        leases = [job.lease for job in (*claim(queue, limit=3), *claim(queue))]

        assert queue.complete_many(leases) == []
        assert queue.complete_many(leases) == []
        assert queue.complete_many([]) == []
        assert queue.counts() == Counts(done=4)


class TestDeadlines:
    def test_an_urgent_job_goes_first_while_it_is_urgent(self, queue: DatabaseQueue) -> None:
        waiting = put(queue, None)
        let_pass(queue, 5)
        urgent = put(queue, "user:1", urgent=150)

        assert claimed_ids(queue) + claimed_ids(queue) == [urgent, waiting]

    def test_a_late_urgent_job_goes_in_its_turn_and_still_runs(self, queue: DatabaseQueue) -> None:
        waiting = put(queue, None)
        let_pass(queue, 1)
        late = put(queue, "user:1", urgent=150)
        let_pass(queue, 151)
        queue.expire()

        assert claimed_ids(queue) + claimed_ids(queue) == [waiting, late]

    def test_the_one_whose_time_ends_first_goes_first(self, queue: DatabaseQueue) -> None:
        calm = put(queue, "user:1", urgent=150)
        pressing = put(queue, "user:2", urgent=30)

        assert claimed_ids(queue) + claimed_ids(queue) == [pressing, calm]

    def test_an_urgent_job_that_is_tried_again_still_goes_first(self, queue: DatabaseQueue) -> None:
        urgent = put(queue, "user:1", urgent=150)
        (job,) = claim(queue)
        waiting = put(queue, None)
        queue.retry(job.lease, "exit code 1", 5)

        assert claimed_ids(queue) == [waiting]
        put(queue, None)
        let_pass(queue, 6)
        assert claimed_ids(queue) == [urgent]

    def test_an_urgent_job_whose_lane_is_busy_does_not_hold_up_other_urgent_ones(self, queue: DatabaseQueue) -> None:
        backlog = [put(queue, None) for _ in range(30)]
        let_pass(queue, 5)
        running, *_ = [put(queue, "user:1", urgent=150) for _ in range(20)]
        other = put(queue, "user:2", urgent=150)

        assert [claimed_ids(queue) for _ in range(3)] == [[running], [other], backlog[:1]]

    def test_overdue_jobs_in_front_do_not_hide_what_is_behind_a_blocked_one(
        self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lanes, "PARK_BATCH", 100)
        head = put(queue, "user:1")
        assert claimed_ids(queue) == [head]
        for _ in range(110):
            put(queue, None, urgent=30, expires=30)
        let_pass(queue, 31)
        for _ in range(10):
            put(queue, "user:1")
        free = put(queue, "user:2")

        assert claimed_ids(queue) == [free]

    def test_an_urgent_job_does_not_overtake_its_own_lane(self, queue: DatabaseQueue) -> None:
        head = put(queue, "user:1")
        put(queue, "user:1", urgent=150)

        assert claimed_ids(queue, limit=2) == [head]

    def test_what_is_too_late_is_not_run_and_says_why(self, queue: DatabaseQueue) -> None:
        job_id = put(queue, "user:1", urgent=30, expires=30)
        let_pass(queue, 31)

        before_expiry = claim(queue)
        expired = queue.expire()

        job = queue.find(job_id)
        assert (before_expiry, expired, job.status) == ([], 1, "expired")
        assert "too late" in (job.error_message or "")
        assert queue.counts() == Counts(expired=1)

    def test_expiring_a_head_lets_its_lane_move_on(self, queue: DatabaseQueue) -> None:
        put(queue, "user:1", urgent=30, expires=30)
        behind = put(queue, "user:1")
        assert len(claim(queue)) == 1
        assert claim(queue) == []  # which parks the follower
        let_pass(queue, LEASE_SECONDS + 1)
        queue.reap()
        let_pass(queue, 60)

        assert queue.expire() == 1
        assert claimed_ids(queue) == [behind]

    def test_an_expired_job_can_be_run_by_hand_and_does_not_expire_again(self, queue: DatabaseQueue) -> None:
        job_id = put(queue, "user:1", urgent=30, expires=30)
        let_pass(queue, 31)
        queue.expire()

        queue.requeue(job_id)

        assert queue.expire() == 0
        assert claimed_ids(queue) == [job_id]

    def test_a_running_job_does_not_expire(self, queue: DatabaseQueue) -> None:
        put(queue, "user:1", urgent=30, expires=30)
        (job,) = claim(queue)
        let_pass(queue, 31)

        assert queue.expire() == 0
        queue.complete(job.lease)


class TestPrune:
    def test_finished_jobs_go_when_their_time_is_over_and_only_those(self, queue: DatabaseQueue) -> None:
        for finish in ("done", "failed", "pending", "processing"):
            put(queue, None)
            if finish != "pending":
                (job,) = claim(queue)
            if finish == "done":
                queue.complete(job.lease)
            if finish == "failed":
                queue.fail(job.lease, "exit code 1")
            if finish == "pending":
                (held,) = claim(queue)
                queue.release(held.lease)
                queue.retry(claim(queue)[0].lease, "later", 10_000)
        let_pass(queue, 3600)

        assert queue.prune(done_seconds=7200, failed_seconds=7200) == 0
        assert queue.prune(done_seconds=3000, failed_seconds=7200) == 1
        assert queue.prune(done_seconds=3000, failed_seconds=3000) == 1
        assert queue.counts() == Counts(pending=1, processing=1)

    def test_it_works_in_batches_to_the_end(self, queue: DatabaseQueue) -> None:
        for _ in range(250):
            put(queue, None)
        for job in claim(queue, limit=250):
            queue.complete(job.lease)
        let_pass(queue, 100)

        assert queue.prune(done_seconds=50, failed_seconds=50) == 250
        assert queue.counts() == Counts()
