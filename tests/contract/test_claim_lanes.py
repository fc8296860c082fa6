"""Consecutive jobs of a lane under one lease, on every database: who gets them, and how they end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scalable.lib.errors import LeaseLost, WrongState
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import DONE, FAILED, PENDING, PROCESSING, ClaimedLane, Counts, KnownRuns, Reaped
from scalable.lib.telegram.update import Update
from tests.contract.conftest import POLICY
from tests.contract.test_round_trips import counted
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45


def put(queue: DatabaseQueue, lane: str | None, count: int = 1, expires: float | None = None) -> list[int]:
    return [queue.enqueue(Update("{}", None, "message", lane, expires, expires)).job_id for _ in range(count)]


def put_by_turns(queue: DatabaseQueue, lanes: int, count: int) -> list[list[int]]:
    """So many jobs of each lane, one of each after the other; their ids by lane."""
    rows = [[put(queue, f"chat:{number}")[0] for number in range(lanes)] for _ in range(count)]
    return [list(of_lane) for of_lane in zip(*rows)]


def claim(queue: DatabaseQueue, lanes: int = 8, jobs: int = 8) -> list[ClaimedLane]:
    return queue.claim_lanes("worker", LEASE_SECONDS, lanes, jobs)


def ids(lanes: list[ClaimedLane]) -> list[list[int]]:
    return [[job.id for job in lane.jobs] for lane in lanes]


def states(queue: DatabaseQueue) -> list[tuple[str, int]]:
    """Of each job, oldest first: its state and its attempts."""
    return [(job.status, job.attempts) for job in reversed(queue.newest(100))]


class TestWhatIsClaimed:
    def test_the_jobs_of_a_lane_come_in_order_up_to_the_number_asked_for(self, queue: DatabaseQueue) -> None:
        jobs = put(queue, "chat:1", 6)

        (lane,) = claim(queue, jobs=4)

        assert [job.id for job in lane.jobs] == jobs[:4]
        assert [job.attempt for job in lane.jobs] == [1, 1, 1, 1]
        assert queue.claim("other", LEASE_SECONDS, 8) == []

    def test_lanes_share_equally_and_those_without_a_lane_are_one_each(self, queue: DatabaseQueue) -> None:
        free = put(queue, None, 2)
        first, second = put_by_turns(queue, 2, 4)

        assert ids(claim(queue)) == [[free[0]], [free[1]], first[:3], second[:3]]

    def test_as_many_lanes_as_jobs_leave_no_room_for_followers(self, queue: DatabaseQueue) -> None:
        heads = [put(queue, f"chat:{number}", 2)[0] for number in range(3)]

        assert ids(claim(queue, lanes=3, jobs=3)) == [[head] for head in heads]

    @pytest.mark.parametrize("obstacle", ["a job that was tried", "a job that expires", "a job that is not due"])
    def test_a_job_that_must_run_alone_ends_the_row(self, queue: DatabaseQueue, obstacle: str) -> None:
        if obstacle == "a job that expires":
            rows = put(queue, "chat:1", 2) + put(queue, "chat:1", expires=150) + put(queue, "chat:1")
        else:
            rows = put(queue, "chat:1", 4)
            change = (
                "attempts = 1" if obstacle == "a job that was tried" else "available_at = '2999-01-01 00:00:00.000'"
            )
            queue.database.run(lambda session: session.execute(f"UPDATE bot_jobs SET {change} WHERE id = {rows[2]}"))

        assert ids(claim(queue)) == [rows[:2]]

    def test_nothing_is_held_behind_a_job_that_was_tried(self, queue: DatabaseQueue) -> None:
        rows = put(queue, "chat:1", 3)
        (first,) = queue.claim("worker", LEASE_SECONDS)
        queue.retry(first.lease, "exit code 1", 0)

        assert ids(claim(queue)) == [rows[:1]]


class TestHowTheyEnd:
    @pytest.mark.parametrize("parked", [True, False])
    def test_all_of_them_are_done_together_and_the_next_one_goes_on(self, queue: DatabaseQueue, parked: bool) -> None:
        rows = put(queue, "chat:1", 5)
        (lane,) = claim(queue, jobs=3)
        if parked:
            assert queue.claim("parks the others", LEASE_SECONDS) == []

        assert queue.complete_many([job.lease for job in lane.jobs]) == []

        assert states(queue) == [(DONE, 1)] * 3 + [(PENDING, 0)] * 2
        assert ids(claim(queue)) == [rows[3:]]

    def test_the_lease_moves_on_to_a_job_that_gets_another_end(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1", 4)
        (lane,) = claim(queue)
        first, second, third, last = (job.lease for job in lane.jobs)

        assert queue.complete_many([first, second], [third], LEASE_SECONDS) == []
        assert states(queue) == [(DONE, 1), (DONE, 1), (PROCESSING, 1), (PENDING, 0)]
        assert queue.claim("other", LEASE_SECONDS) == []
        queue.fail(third, "exit code 1")
        queue.let_go([last])

        assert states(queue)[2:] == [(FAILED, 1), (PENDING, 0)]
        (other,) = queue.claim("other", LEASE_SECONDS)
        assert other.id == last.job_id

    def test_it_may_be_repeated(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1", 3)
        (lane,) = claim(queue)
        first, second, third = (job.lease for job in lane.jobs)

        for _ in range(2):
            assert queue.complete_many([first, second], [third], LEASE_SECONDS) == []
        for _ in range(2):
            assert queue.complete_many([third]) == []
        assert queue.counts() == Counts(done=3)

    def test_a_held_job_is_not_completed_failed_retried_released_or_renewed_by_its_own_lease(
        self, queue: DatabaseQueue
    ) -> None:
        put(queue, "chat:1", 2)
        (lane,) = claim(queue)
        held = lane.jobs[1].lease

        for verb in (
            lambda: queue.complete(held),
            lambda: queue.fail(held, "exit code 1"),
            lambda: queue.retry(held, "exit code 1", 5),
            lambda: queue.release(held),
            lambda: queue.renew(held, LEASE_SECONDS),
        ):
            with pytest.raises(LeaseLost):
                verb()
        assert queue.complete_many([held]) == [held]
        assert states(queue) == [(PROCESSING, 1), (PENDING, 0)]

    def test_of_several_lanes_only_the_one_whose_lease_was_lost_is_told(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1", 2)
        put(queue, "chat:2", 2)
        one, two = claim(queue)
        queue.release(one.jobs[0].lease)
        leases = [[job.lease for job in lane.jobs] for lane in (one, two)]

        assert queue.complete_many(leases[0] + leases[1]) == leases[0]
        assert states(queue) == [(PENDING, 0), (PENDING, 0), (DONE, 1), (DONE, 1)]

    def test_an_operator_cannot_skip_what_is_about_to_run_and_can_when_it_was_let_go(
        self, queue: DatabaseQueue
    ) -> None:
        rows = put(queue, "chat:1", 3)
        (lane,) = claim(queue)

        for action in (queue.skip, queue.delete):
            with pytest.raises(WrongState, match=f"job {rows[1]} is about to be run: try again in a few seconds"):
                action(rows[1])
        queue.let_go([job.lease for job in lane.jobs[1:]])
        queue.skip(rows[1])
        assert queue.complete_many([lane.jobs[0].lease]) == []

        assert ids(claim(queue)) == [[rows[2]]]


def known(lanes: list[ClaimedLane], begun: list[int], succeeded: Sequence[int] = ()) -> KnownRuns:
    """What the log of the worker that claimed these lanes tells of some of their jobs."""
    tokens = {job.id: job.lease.token for lane in lanes for job in lane.jobs}
    return KnownRuns({(row, tokens[row]) for row in begun}, {(row, tokens[row]) for row in succeeded})


def reap(queue: DatabaseQueue, reaped_by: str, runs: KnownRuns | None) -> Reaped:
    """End what "worker" holds, as its pool does at once, or as anybody does when its lease has run out."""

    def runs_of(worker: str) -> KnownRuns | None:
        return runs if worker == "worker" else None

    if reaped_by == "its name":
        return queue.reap("worker", runs_of)
    let_pass(queue, 2 * LEASE_SECONDS)
    return queue.reap(runs_of=runs_of)


class TestADeadWorker:
    @pytest.mark.parametrize("reaped_by", ["its lease", "its name"])
    def test_each_of_its_jobs_runs_alone_from_then_on_because_any_may_have_killed_it(
        self, queue: DatabaseQueue, reaped_by: str
    ) -> None:
        rows = put(queue, "chat:1", 4)
        claim(queue, jobs=3)

        if reaped_by == "its name":
            assert queue.reap("worker").retried == 1
        else:
            let_pass(queue, 2 * LEASE_SECONDS)
            assert queue.reap().retried == 1

        assert states(queue) == [(PENDING, 1), (PENDING, 1), (PENDING, 1), (PENDING, 0)]
        assert [entry.outcome for entry in queue.jobs.detail(rows[1]).history] == ["died"]
        let_pass(queue, 60)
        order = []
        for _ in range(4):
            (lane,) = claim(queue)
            assert len(lane.jobs) == 1
            queue.complete(lane.jobs[0].lease)
            order.append(lane.jobs[0].id)
        assert order == rows

    @pytest.mark.parametrize("reaped_by", ["its name", "its lease"])
    @pytest.mark.parametrize("begun_count", [0, 1, 2, 4])
    def test_costs_no_attempt_of_what_it_had_not_begun(
        self, queue: DatabaseQueue, reaped_by: str, begun_count: int
    ) -> None:
        """Under one claim: four jobs of a lane, held by their first, and one of no lane."""
        rows = put(queue, "chat:1", 4)
        [other] = put(queue, None)
        lanes = claim(queue, lanes=2, jobs=5)

        reaped = reap(queue, reaped_by, known(lanes, begun=rows[:begun_count]))

        assert reaped == (Reaped(retried=1, not_begun=1) if begun_count else Reaped(not_begun=2))
        assert [queue.jobs.detail(row).summary.attempts for row in (*rows, other)] == [
            *[1] * begun_count,
            *[0] * (4 - begun_count),
            0,
        ]
        told = [[entry.outcome for entry in queue.jobs.detail(row).history] for row in (*rows, other)]
        assert told[-1] == ["released"]
        assert told[0] == (["died"] if begun_count else ["released"])
        assert told[1:4] == [*[["died"]] * max(0, begun_count - 1), *[[]] * min(3, 4 - begun_count)]
        let_pass(queue, 60)
        order = []
        while lanes := claim(queue):
            for lane in lanes:
                order += [job.id for job in lane.jobs]
                assert queue.complete_many([job.lease for job in lane.jobs]) == []
        assert [row for row in order if row != other] == rows
        assert other in order

    @pytest.mark.parametrize("reaped_by", ["its name", "its lease"])
    @pytest.mark.parametrize("succeeded_count", [1, 2, 4])
    @pytest.mark.parametrize("has_begun_more", [True, False])
    def test_leaves_done_what_had_succeeded(
        self, queue: DatabaseQueue, reaped_by: str, succeeded_count: int, has_begun_more: bool
    ) -> None:
        """It tells how quick runs ended together; killed before that, they are not run a second time."""
        rows = put(queue, "chat:1", 4)
        [other] = put(queue, None)
        lanes = claim(queue, lanes=2, jobs=5)
        later = put(queue, "chat:1")
        succeeded = rows[:succeeded_count]
        died = rows[succeeded_count : succeeded_count + has_begun_more]

        reaped = reap(queue, reaped_by, known(lanes, begun=[*succeeded, *died, other], succeeded=[*succeeded, other]))

        assert reaped == Reaped(retried=len(died), done=succeeded_count + 1)
        not_begun = rows[succeeded_count + len(died) :]
        assert states(queue) == [
            *[(DONE, 1)] * succeeded_count,
            *[(PENDING, 1)] * len(died),
            *[(PENDING, 0)] * len(not_begun),
            (DONE, 1),
            (PENDING, 0),
        ]
        let_pass(queue, 60)
        order = []
        while lanes := claim(queue):
            order += [job.id for lane in lanes for job in lane.jobs]
            assert queue.complete_many([job.lease for lane in lanes for job in lane.jobs]) == []
        assert order == [*died, *not_begun, *later]
        assert reap(queue, reaped_by, None) == Reaped()

    def test_that_was_not_dead_finds_its_successes_stored(self, queue: DatabaseQueue) -> None:
        """It was away for longer than its lease, another process read its log, and it came back."""
        put(queue, "chat:1", 3)
        (lane,) = claim(queue)
        first, second, third = (job.lease for job in lane.jobs)
        succeeded = [first.job_id, second.job_id]
        reap(queue, "its lease", known([lane], begun=[*succeeded, third.job_id], succeeded=succeeded))

        assert queue.complete_many([first, second]) == []
        assert queue.complete_many([third]) == [third]
        assert states(queue) == [(DONE, 1), (DONE, 1), (PENDING, 1)]

    def test_of_an_earlier_attempt_says_nothing_about_this_one(self, queue: DatabaseQueue) -> None:
        [row] = put(queue, "chat:1")
        (lane,) = claim(queue)
        queue.retry(lane.jobs[0].lease, "failed", 0)
        claim(queue)

        assert reap(queue, "its name", known([lane], begun=[row], succeeded=[row])) == Reaped(not_begun=1)
        assert queue.jobs.detail(row).summary.attempts == 1

    def test_never_makes_jobs_fail_that_no_worker_began(self, queue: DatabaseQueue) -> None:
        """One update kills every worker that runs it, and its neighbours had been claimed with it."""
        [killer] = put(queue, "chat:1")
        others = [row for number in range(3) for row in put(queue, f"chat:{number + 2}")]
        for _ in range(POLICY.max_attempts):
            reap(queue, "its name", known(claim(queue, lanes=4, jobs=64), begun=[killer]))
            let_pass(queue, 3600)

        assert queue.jobs.detail(killer).summary.status == "failed"
        assert [queue.jobs.detail(row).summary.status for row in others] == [PENDING] * 3
        assert {job.id for lane in claim(queue, lanes=4, jobs=64) for job in lane.jobs} == set(others)

    def test_what_it_says_late_changes_nothing(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1", 3)
        (lane,) = claim(queue)
        leases = [job.lease for job in lane.jobs]
        queue.reap("worker")

        assert queue.complete_many(leases[:2], leases[2:], LEASE_SECONDS) == leases
        assert queue.counts() == Counts(pending=3)


class TestWhatItCosts:
    def test_statements_do_not_grow_with_the_jobs_of_a_lane_nor_with_their_number(self, queue: DatabaseQueue) -> None:
        """Claim: those of one job, and three for the followers. End: BEGIN, twice UPDATE, the next one, COMMIT."""
        locking = queue.database.claims_in_transaction()
        put_by_turns(queue, 2, 40)
        with counted(queue) as statements:
            lanes = claim(queue, lanes=2, jobs=64)
            assert [len(lane.jobs) for lane in lanes] == [32, 32]
            assert statements() == (7 if locking else 5)

            assert queue.complete_many([job.lease for lane in lanes for job in lane.jobs]) == []
            assert statements() == 6  # one more: the next one of each lane is unparked

    def test_one_long_lane_is_parked_in_a_few_statements(self, queue: DatabaseQueue) -> None:
        put(queue, "chat:1", 300)
        (head,) = queue.claim("worker", LEASE_SECONDS)
        other = put(queue, "chat:2")
        with counted(queue) as statements:
            assert [job.id for job in queue.claim("worker", LEASE_SECONDS)] == other
            assert statements() <= 16
        queue.complete(head.lease)
        assert [lane.jobs[0].id for lane in claim(queue, jobs=1)] == [head.id + 1]
