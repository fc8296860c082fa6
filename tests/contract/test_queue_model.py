"""Chance drives every verb of the queue against a model of what it promises: whatever the order, both say the same.

Found here rather than by examples: jobs that nobody can claim any more, lanes out of order, leases that change things
they no longer hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from scalable.lib.errors import JobNotFound, LeaseLost, WrongState
from scalable.lib.queue import parking
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.job import DONE, EXPIRED, FAILED, PENDING, PROCESSING, ClaimedJob, Lease
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.requeue import HOLD_SECONDS, let_run
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.views.search import Filter
from scalable.lib.telegram.update import Update
from tests.support.generators.long_tests import sized
from tests.support.judges.queue_model import QUANTUM_SECONDS, QueueModel
from tests.support.servers.databases import Servers, let_pass

# Every wait ends half a quantum beside the steps: 30 s, 50 s, 50 s …
POLICY = RetryPolicy(max_attempts=3, base_seconds=30, max_seconds=50)
LEASE_SECONDS = 50
DELAYS = (0, 10, 50)
# Urgent until, expires at: never the second without the first, and never before it.
DEADLINES = ((None, None), (None, None), (30, None), (30, 30), (30, 70), (70, None), (70, 70))
LANES = (None, "chat:1", "chat:1", "chat:2")
WORKERS = ("worker a", "worker b", "worker c")
EVERYTHING = 1000
# Short form, long form.
EXAMPLES = {
    "sqlite": (600, 20_000),
    "mariadb-10.5": (200, 3000),
    "mariadb-10.11": (200, 3000),
    "mysql-9.7": (200, 3000),
}
# Of the same with floods: a part of it.
FLOOD_EXAMPLES = {name: (short // 6, long // 6) for name, (short, long) in EXAMPLES.items()}
some_lease = st.integers(0, 1000)
some_job = st.integers(0, 1000)


class QueueMachine(RuleBasedStateMachine):
    """A step is a verb; after it, the table and the model are compared job by job.

    `in_turn`: jobs are claimed in the order the model says, not only those that it says may be.
    """

    queue: DatabaseQueue
    in_turn: bool

    def __init__(self) -> None:
        super().__init__()
        self.model = QueueModel(POLICY)
        self.leases: list[Lease] = []
        self.rows_of_jobs: list[list[Lease]] = []
        self.queue.database.run(lambda session: session.execute(f"DELETE FROM {self.queue.table.name}"))

    @rule(lane=st.sampled_from(LANES), deadlines=st.sampled_from(DEADLINES), update_id=st.none() | st.integers(1, 9))
    def enqueue(self, lane: str | None, deadlines: tuple[float | None, float | None], update_id: int | None) -> None:
        known = self.model.find_update(update_id)
        job = Update("{}", update_id, "message", lane, *deadlines)
        enqueued = self.queue.enqueue(job)
        assert enqueued.duplicate == (known is not None)
        if known is None:
            self.model.enqueue(enqueued.job_id, job)
        else:
            assert enqueued.job_id == known

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 3))
    def claim(self, worker: str, limit: int) -> None:
        self._claim(worker, limit)

    @rule(worker=st.sampled_from(WORKERS))
    def claim_all_that_is_due(self, worker: str) -> None:
        """What parks every job that is blocked."""
        while self._claim(worker, 2):
            pass

    def _claim(self, worker: str, limit: int) -> list[ClaimedJob]:
        expected = self.model.in_turn({job.id: job.available_at for job in self.queue.newest(EVERYTHING)})
        claimed = self.queue.claim(worker, LEASE_SECONDS, limit)
        ids = [job.id for job in claimed]
        assert len(ids) <= limit
        self._compare_turn(ids, expected)
        assert ids or not expected, f"nothing was claimed, but {expected} may be"
        for job in claimed:
            self.model.claim(job.id, worker, job.lease.token, LEASE_SECONDS)
            assert (job.attempt, job.lane) == (self.model.jobs[job.id].attempts, self.model.jobs[job.id].lane), job
            self.leases.append(job.lease)
        return claimed

    def _compare_turn(self, claimed: list[int], expected: list[int]) -> None:
        assert len(set(claimed)) == len(claimed)
        in_turn = expected[: len(claimed)] if self.in_turn else sorted(set(claimed) & set(expected))
        assert (claimed if self.in_turn else sorted(claimed)) == in_turn, f"claimed {claimed}, in turn are {expected}"

    @rule(worker=st.sampled_from(WORKERS), lanes=st.integers(1, 3), jobs=st.integers(1, 6))
    def claim_lanes(self, worker: str, lanes: int, jobs: int) -> None:
        expected = self.model.in_turn({job.id: job.available_at for job in self.queue.newest(EVERYTHING)})
        claimed = self.queue.claim_lanes(worker, LEASE_SECONDS, lanes, jobs)
        heads = [lane.jobs[0].id for lane in claimed]
        self._compare_turn(heads, expected)
        assert len(heads) <= lanes
        assert heads or not expected
        assert sum(len(lane.jobs) for lane in claimed) <= max(jobs, len(heads))
        for lane in claimed:
            for before, job in zip((None, *lane.jobs), lane.jobs):
                if before is None:
                    self.model.claim(job.id, worker, job.lease.token, LEASE_SECONDS)
                else:
                    assert self.model.may_be_held(job.id, before.id)
                    assert job.attempt == 1
                    self.model.hold(job.id, worker, job.lease.token)
                self.leases.append(job.lease)
            self.rows_of_jobs.append([job.lease for job in lane.jobs])

    @precondition(lambda self: self.rows_of_jobs)
    @rule(which=some_lease, runs=st.integers(1, 6), goes_on=st.booleans(), lets_go=st.booleans())
    def complete_jobs_in_a_row(self, which: int, runs: int, goes_on: bool, lets_go: bool) -> None:
        """A worker ran the first jobs of a lane it holds; what it goes on with is the row from then on."""
        row = self.rows_of_jobs.pop(which % len(self.rows_of_jobs))
        done, rest = row[:runs], row[runs:]
        next_one = rest[:1] if goes_on else []
        held = self.model.holds(done[0].job_id, done[0].token) and all(
            self.model.is_held(lease.job_id, lease.token) for lease in (*done[1:], *next_one)
        )
        repeated = all(self.model.was_repeated(lease.job_id, lease.token, DONE) for lease in done)
        before = self._states()

        lost = self.queue.complete_many(done, next_one, LEASE_SECONDS)

        if not held:
            assert lost or repeated
            assert self._states() == before
            return
        assert lost == []
        for lease in done:
            self.model.jobs[lease.job_id].attempts += lease is not done[0]
            self.model.end(lease.job_id, DONE)
        for lease in next_one:
            self.model.move_on(lease.job_id, LEASE_SECONDS)
            self.rows_of_jobs.append(rest)
        if lets_go and not next_one:
            self.queue.let_go(rest)
            for lease in rest:
                self.model.let_go(lease.job_id, lease.token)

    @precondition(lambda self: self.leases)
    @rule(which=some_lease)
    def complete(self, which: int) -> None:
        self._finish(which, self.queue.complete, DONE, lambda job_id: self.model.end(job_id, DONE))

    @precondition(lambda self: self.leases)
    @rule(among=st.lists(some_lease, min_size=1, max_size=4))
    def complete_many(self, among: list[int]) -> None:
        some = (self.leases[which % len(self.leases)] for which in among)
        leases = list({(lease.job_id, lease.token): lease for lease in some if lease.held_by is None}.values())
        held = [lease for lease in leases if self.model.holds(lease.job_id, lease.token)]
        repeated = [lease for lease in leases if self.model.was_repeated(lease.job_id, lease.token, DONE)]
        lost = self.queue.complete_many(leases)
        assert sorted(lease.token for lease in lost) == sorted(
            lease.token for lease in leases if lease not in held and lease not in repeated
        )
        for lease in held:
            self.model.end(lease.job_id, DONE)

    @precondition(lambda self: self.leases)
    @rule(which=some_lease)
    def fail(self, which: int) -> None:
        self._finish(
            which,
            lambda lease: self.queue.fail(lease, "exit code 1"),
            FAILED,
            lambda job_id: self.model.end(job_id, FAILED),
        )

    @precondition(lambda self: self.leases)
    @rule(which=some_lease, seconds=st.sampled_from(DELAYS))
    def retry(self, which: int, seconds: float) -> None:
        self._finish(
            which,
            lambda lease: self.queue.retry(lease, "exit code 1", seconds),
            PENDING,
            lambda job_id: self.model.wait(job_id, seconds),
        )

    @precondition(lambda self: self.leases)
    @rule(which=some_lease)
    def release(self, which: int) -> None:
        def give_back(job_id: int) -> None:
            self.model.wait(job_id, 0)
            self.model.jobs[job_id].attempts -= 1

        self._finish(which, self.queue.release, PENDING, give_back)

    @precondition(lambda self: self.leases)
    @rule(which=some_lease)
    def renew(self, which: int) -> None:
        def extend(job_id: int) -> None:
            self.model.jobs[job_id].lease_expires_at = self.model.now + LEASE_SECONDS

        self._finish(which, lambda lease: self.queue.renew(lease, LEASE_SECONDS), "no state", extend)

    def _finish(self, which: int, verb: Callable[[Lease], None], becomes: str, in_model: Callable[[int], None]) -> None:
        """Mostly a live lease, sometimes any that was ever given: workers that come back late use those."""
        live = [lease for lease in self.leases if self.model.holds(lease.job_id, lease.token)]
        among = live if live and which % 4 else self.leases
        lease = among[which // 4 % len(among)]
        if self.model.holds(lease.job_id, lease.token):
            verb(lease)
            in_model(lease.job_id)
            return
        before = self.queue.newest(EVERYTHING)
        if self.model.was_repeated(lease.job_id, lease.token, becomes):
            verb(lease)
        else:
            with pytest.raises(LeaseLost):
                verb(lease)
        assert self.queue.newest(EVERYTHING) == before

    @rule(quanta=st.sampled_from((1, 2, 4)))
    def time_passes(self, quanta: int) -> None:
        """A worker that crashed is one that never again uses its leases: only this and `reap` end them."""
        let_pass(self.queue, quanta * QUANTUM_SECONDS)
        self.model.now += quanta * QUANTUM_SECONDS

    @rule()
    def reap(self) -> None:
        assert self.queue.reap() == self.model.reap()

    @rule(worker=st.sampled_from(WORKERS))
    def reap_worker(self, worker: str) -> None:
        assert self.queue.reap(worker) == self.model.reap(worker)

    @rule()
    def expire(self) -> None:
        assert self.queue.expire() == self.model.expire()

    @precondition(lambda self: self.model.jobs)
    @rule(which=some_job)
    def requeue(self, which: int) -> None:
        candidates = self.model.in_state(FAILED, EXPIRED) or list(self.model.jobs)
        job_id = candidates[which % len(candidates)]
        if self.model.jobs[job_id].status in (FAILED, EXPIRED):
            is_overtaken = self.queue.requeue(job_id)
            self.model.requeue(job_id)
            assert is_overtaken == bool(self.model.overtaken([job_id]))
        else:
            with pytest.raises(WrongState):
                self.queue.requeue(job_id)

    @rule()
    def requeue_what_is_not_there(self) -> None:
        with pytest.raises(JobNotFound):
            self.queue.requeue(max(self.model.jobs, default=0) + 1)

    @rule()
    def requeue_failed(self) -> None:
        failed = self.model.in_state(FAILED)
        batch = self.queue.requeue_failed()
        for job_id in failed:
            self.model.requeue(job_id)
        assert (batch.requeued, batch.overtaken) == (len(failed), self.model.overtaken(failed))

    @rule(worker=st.sampled_from(WORKERS), limit=st.integers(1, 2), ends=st.booleans())
    def requeue_failed_in_steps(self, worker: str, limit: int, ends: bool) -> None:
        """With claims between the steps; where it does not end, its jobs wait until they are due by themselves."""
        failed, held, after, until = self.model.in_state(FAILED), [], None, self.queue.newest_id()
        while True:
            step = self.queue.requeue_matching(Filter(status=FAILED), limit, after, until)
            after = step.after
            ids = step.held if after else [job_id for job_id in failed if job_id not in held]
            for job_id in ids:
                self.model.requeue(job_id, HOLD_SECONDS if after else 0)
            assert step.overtaken == self.model.overtaken(ids)
            held += step.held
            if after is None or not ends:
                break
            self._claim(worker, 1)
        if after is None:
            let_run(self.queue, held)
            self.model.let_run(held)

    @rule()
    def prune(self) -> None:
        assert self.queue.prune(70, 130) == self.model.prune(70, 130)

    @invariant()
    def both_say_the_same(self) -> None:
        assert self._states() == self.model.states()
        assert self.queue.counts() == self.model.counts()

    def _states(self) -> dict[int, tuple[str, int]]:
        return {job.id: (job.status, job.attempts) for job in self.queue.newest(EVERYTHING)}

    @invariant()
    def a_lane_runs_one_job_at_a_time(self) -> None:
        running = [self.model.jobs[job.id].lane for job in self.queue.newest(EVERYTHING) if job.status == PROCESSING]
        lanes = [lane for lane in running if lane is not None]
        assert len(lanes) == len(set(lanes))

    def teardown(self) -> None:
        """Nothing is stuck: once every lease has ended and every wait is over, all of it runs, lane by lane."""
        if self._states() != self.model.states():  # a step failed, and has said so
            return
        for _ in range(2):  # leases end in the first round, the waits of their jobs in the second
            self.time_passes(4)
            self.reap()
        self.expire()
        while self.model.in_state(PENDING):
            (job,) = self._claim("worker d", 1)
            self.queue.complete(job.lease)
            self.model.end(job.id, DONE)
        self.both_say_the_same()


@pytest.fixture(params=EXAMPLES)
def database_name(request: pytest.FixtureRequest) -> str:
    """In this file not every database, because each takes its time."""
    return str(request.param)


@pytest.fixture
def address(database_name: str, servers: Servers, tmp_path: Path) -> DatabaseAddress:
    """A fresh, empty database."""
    if database_name == "sqlite":
        return SqliteAddress(tmp_path / ".ht-queue.sqlite3")
    return servers.fresh_database(database_name)


@pytest.fixture
def queue(address: DatabaseAddress) -> Iterator[DatabaseQueue]:
    queue = DatabaseQueue(open_database(address), "bot_jobs", POLICY, LeaseTerms(grace_seconds=0))
    queue.ensure_schema()
    yield queue
    queue.close()


@pytest.mark.timeout(sized(300, 3600))
def test_the_queue_does_what_its_model_says(queue: DatabaseQueue, database_name: str) -> None:
    run_machine(queue, in_turn=True, examples=sized(*EXAMPLES[database_name]))


@pytest.mark.timeout(sized(300, 3600))
def test_also_while_more_is_blocked_than_is_parked_at_once(
    queue: DatabaseQueue, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "PARK_BATCH", 2)
    monkeypatch.setattr(parking, "SMALL_PARK_BATCH", 1)

    run_machine(queue, in_turn=False, examples=sized(*FLOOD_EXAMPLES[database_name]))


def run_machine(queue: DatabaseQueue, *, in_turn: bool, examples: int) -> None:
    run_state_machine_as_test(
        type("Machine", (QueueMachine,), {"queue": queue, "in_turn": in_turn}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=sized(40, 60),
            deadline=None,
            derandomize=bool(os.environ.get("CI")),
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            database=None,
        ),
    )
