"""Two who want the same lane at the same moment: one holds its rows locked, and the other comes in between.

Each test stops somebody half-way, in a transaction of its own with the queue's own statements, and lets the other wait
for it; nothing here depends on who is faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest

from scalable.lib.queue import statements as sql
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.mysql import MySqlDatabase
from scalable.lib.queue.job import ClaimedJob, Counts
from scalable.lib.queue.maintenance import EXPIRE
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.servers.database_servers import DatabaseServer
from tests.support.servers.databases import Servers, let_pass
from tests.support.waiting import PATIENCE_SECONDS

LEASE_SECONDS = 45
LANE = "chat:1"
# The server looks at its transactions anew only when nobody asked for 0.1 s.
POLL_SECONDS = 0.12
WITHOUT_SKIP_LOCKED = "mariadb-10.11 without SKIP LOCKED"


class Bench:
    """A queue on a real server, and a second connection that stops half-way."""

    def __init__(self, server: DatabaseServer, address: MySqlAddress, without_locks: bool) -> None:
        self.server = server
        self.database = open_database(address)
        assert isinstance(self.database, MySqlDatabase)
        if without_locks:
            self.database._skip_locked = False
        self.queue = DatabaseQueue(self.database, "bot_jobs", RetryPolicy())
        self.queue.ensure_schema()
        self.database.claims_in_transaction()
        self._threads = ThreadPoolExecutor(2)

    def put(self, lane: str | None = LANE, **deadlines: float) -> int:
        return self.queue.enqueue(Update("{}", None, "message", lane, **deadlines)).job_id

    def claim(self, worker: str = "worker", limit: int = 1) -> list[ClaimedJob]:
        return self.queue.claim(worker, LEASE_SECONDS, limit)

    def claim_one(self) -> ClaimedJob:
        (job,) = self.claim()
        return job

    def claimed_ids(self) -> list[int]:
        return [job.id for job in self.claim()]

    def failed_job(self) -> int:
        """The only job there is, failed."""
        job = self.claim_one()
        self.queue.fail(job.lease, "exit code 1")
        return job.id

    @contextmanager
    def half_way(self) -> Iterator[Callable[..., int]]:
        """Runs statements of the queue in one transaction, which is committed at the end of the block."""
        other = self.database._connect()
        other.execute("START TRANSACTION")

        def change(statement: str, **values: Any) -> int:
            return other.execute(self.database.render(statement.replace("{alone}", ""), "bot_jobs"), **values)

        try:
            yield change
            other.execute("COMMIT")
        finally:
            other.close()

    def start(self, verb: Callable[..., Any], *arguments: Any, may_end: bool = False) -> Future[Any]:
        """`verb` on another thread, and so on another connection; returns once that waits for a lock.

        `may_end`: or has ended, because it passes over what is locked.
        """
        future = self._threads.submit(verb, *arguments)
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.server.connect(as_admin=True) as admin, admin.cursor() as cursor:
            while True:
                time.sleep(POLL_SECONDS)
                cursor.execute("SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'")
                if cursor.fetchone() != (0,):
                    return future
                if may_end and future.done():
                    return future
                assert not future.done(), f"waited for nobody: {future.result()}"
                assert time.monotonic() < deadline, "neither waits for a lock nor ends"

    def close(self) -> None:
        self._threads.shutdown()
        self.queue.close()


@pytest.fixture(params=["mariadb-10.11", WITHOUT_SKIP_LOCKED, "mysql-9.7"])
def bench(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Bench]:
    name = request.param.split()[0]
    bench = Bench(servers.get(name), servers.fresh_database(name), request.param == WITHOUT_SKIP_LOCKED)
    yield bench
    bench.close()


class TestParkingAndEnding:
    """A parker has marked the blocker and parked the follower, or is about to, when the blocker's run ends."""

    def test_a_job_that_ends_while_it_is_being_marked_unparks_its_follower(self, bench: Bench) -> None:
        bench.put()
        follower = bench.put()
        running = bench.claim_one()

        with bench.half_way() as park:
            park(sql.MARK_BLOCKER, id=running.id, first=follower)
            park(sql.PARK, ids=[follower])
            completed = bench.start(bench.queue.complete, running.lease)
        completed.result(PATIENCE_SECONDS)

        assert bench.claimed_ids() == [follower]

    def test_a_follower_is_not_parked_behind_a_job_that_is_just_ending(self, bench: Bench) -> None:
        bench.put()
        follower = bench.put()
        running = bench.claim_one()

        with bench.half_way() as complete:
            complete(sql.COMPLETE, id=running.id, token=running.lease.token, note=None)
            claimed = bench.start(bench.claimed_ids)

        assert claimed.result(PATIENCE_SECONDS) == [follower]

    def test_a_requeued_job_is_not_parked_behind_one_that_is_just_given_back(self, bench: Bench) -> None:
        bench.put()
        requeued = bench.failed_job()
        later = bench.put()
        running = bench.claim_one()
        bench.queue.requeue(requeued)

        with bench.half_way() as retry:
            retry(sql.RETRY, id=running.id, token=running.lease.token, error="exit code 1", seconds=30, entry="[]")
            claimed = bench.start(bench.claim)
        (job,) = claimed.result(PATIENCE_SECONDS)
        bench.queue.complete(job.lease)
        let_pass(bench.queue, 31)

        assert job.id == requeued
        assert bench.claimed_ids() == [later]

    def test_a_follower_that_expires_while_it_is_being_unparked_lets_the_next_one_go(self, bench: Bench) -> None:
        bench.put()
        running = bench.claim_one()
        expiring = bench.put(urgent_seconds=30, expires_seconds=30)
        last = bench.put()
        assert bench.claim() == []  # which parks them
        let_pass(bench.queue, 31)

        with bench.half_way() as expire:
            assert expire(EXPIRE, id=expiring, error="too late") == 1
            completed = bench.start(bench.queue.complete, running.lease)
        completed.result(PATIENCE_SECONDS)

        assert bench.claimed_ids() == [last]


class TestTwoClaimers:
    def test_the_second_of_a_lane_waits_for_the_first_or_gets_nothing(self, bench: Bench) -> None:
        """With SKIP LOCKED the rows beside the one that is taken may be locked as well, and be passed over."""
        first, _ = bench.put(), bench.put()

        with bench.half_way() as take:
            assert take(sql.TAKE, ids=[first], worker="other", token="other", seconds=LEASE_SECONDS) == 1
            claimed = bench.start(bench.claim, may_end=True)

        assert claimed.result(PATIENCE_SECONDS) == []
        assert bench.queue.counts() == Counts(pending=1, processing=1)

    def test_of_two_that_take_one_lane_at_once_one_gets_nothing_and_no_error(self, bench: Bench) -> None:
        """Whatever both have read before: the unique index has the last word."""
        first, second = bench.put(), bench.put()
        values = {"ids": [second], "worker": "late", "token": "late", "seconds": LEASE_SECONDS}

        def take_second() -> int | None:
            statement = bench.database.render(sql.TAKE, "bot_jobs")
            return bench.database.run(
                lambda session: session.execute_unless_duplicate(statement, **values), transaction=True
            )

        with bench.half_way() as take:
            take(sql.TAKE, ids=[first], worker="other", token="other", seconds=LEASE_SECONDS)
            taken = bench.start(take_second)

        assert taken.result(PATIENCE_SECONDS) is None
        assert bench.queue.counts() == Counts(pending=1, processing=1)

    @pytest.mark.parametrize("bench", [WITHOUT_SKIP_LOCKED], indirect=True)
    def test_a_candidate_that_is_parked_meanwhile_is_not_taken(self, bench: Bench) -> None:
        """With SKIP LOCKED nobody parks a candidate: the claimer holds it."""
        bench.put()
        requeued = bench.failed_job()
        candidate = bench.put()

        with bench.half_way() as park:
            park(sql.PARK, ids=[candidate])
            claimed = bench.start(bench.claimed_ids)
            bench.queue.requeue(requeued)
            park(sql.MARK_BLOCKER, id=requeued, first=candidate)

        assert claimed.result(PATIENCE_SECONDS) == [requeued]


class TestInterruptedClaim:
    @pytest.mark.parametrize("bench", ["mariadb-10.11", "mysql-9.7"], indirect=True)
    def test_a_connection_killed_before_commit_leaves_no_job_taken(self, bench: Bench) -> None:
        job_id = bench.put()
        kill_before(bench, "COMMIT")

        (job,) = bench.claim()

        assert (job.id, job.attempt) == (job_id, 1)
        assert bench.queue.counts() == Counts(processing=1)
        bench.queue.complete(job.lease)

    @pytest.mark.parametrize("bench", [WITHOUT_SKIP_LOCKED], indirect=True)
    def test_a_conflict_in_the_middle_of_a_batch_keeps_what_was_taken(self, bench: Bench) -> None:
        """Without a transaction what was taken is taken: a claim that begins anew must not forget it."""
        for _ in range(3):
            bench.put(lane=None)
        conflict_at_take(bench, 2)

        batch = bench.claim(limit=3)
        for job in batch:
            bench.queue.complete(job.lease)

        assert bench.queue.counts() == Counts(done=3)


def kill_before(bench: Bench, text: str) -> None:
    """Let the server end the claimer's connection when it is about to run the statement `text`; only once."""
    session = bench.database._connections.borrow()
    bench.database._connections.give_back(session)
    real = session.execute

    def execute(statement: str, **values: Any) -> int:
        if statement == text:
            ((number,),) = session.rows("SELECT CONNECTION_ID()")
            with bench.server.connect(as_admin=True) as admin, admin.cursor() as cursor:
                cursor.execute(f"KILL {number}")
        return real(statement, **values)

    session.execute = execute  # type: ignore[method-assign]


def conflict_at_take(bench: Bench, which: int) -> None:
    """Let the claimer's `which`-th TAKE meet a deadlock."""
    session = bench.database._connections.borrow()
    bench.database._connections.give_back(session)
    real = session.execute_unless_duplicate
    takes = 0

    def execute(statement: str, **values: Any) -> int:
        nonlocal takes
        takes += 1
        if takes == which:
            raise pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock")
        return real(statement, **values)

    session.execute_unless_duplicate = execute  # type: ignore[method-assign]
