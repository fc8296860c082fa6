"""What one server's locks promise must hold between the nodes of a Galera cluster, where nobody sees another's locks.

Each race is held in place: by transactions that are open at two nodes at once, or by a node that is held back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pymysql
import pytest
from pymysql.constants import ER

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue import statements as sql
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.dialects.minimal_mysql import insert
from scalable.lib.queue.job import Lease, Reaped
from scalable.lib.queue.leadership import Leadership
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_pass
from tests.support.servers.galera import NODES, GaleraCluster
from tests.support.servers.load_balancer import Relay
from tests.support.servers.site import wait_until

LEASE_SECONDS = 45.0
# A lease that ran out is reaped when it is found so.
AT_ONCE = LeaseTerms(grace_seconds=0)
# Without waiting for anything, on a busy machine: three statements, each of them tried twice.
AT_ONCE_SECONDS = 10.0
Result = TypeVar("Result")


class Rig:
    """One queue, as three machines see it, each at a node of its own."""

    def __init__(self, cluster: GaleraCluster) -> None:
        self.cluster = cluster
        self.database = cluster.create_database()
        self.queues = [
            DatabaseQueue(open_database(cluster.address(number, self.database)), "bot_jobs", RetryPolicy(), AT_ONCE)
            for number in range(NODES)
        ]
        self.threads = ThreadPoolExecutor(16)

    def close(self) -> None:
        self.threads.shutdown()
        for queue in self.queues:
            queue.close()

    def enqueue(self, number: int, update: int, lane: str) -> int:
        """Deliver an update to one of the machines; the id of its job."""
        return self.queues[number].enqueue(Update("{}", update, "message", lane)).job_id

    def begun(self, number: int, word: str, work: Callable[[], Result]) -> Future[Result]:
        """`work` in a thread of its own, when the node has begun a statement that starts with `word`."""
        running = self.threads.submit(work)
        wait_until(lambda: running.done() or self.runs(number, word), self.cluster.nodes[number].log_tail)
        return running

    def runs(self, number: int, word: str) -> bool:
        """Whether the bot's user has such a statement at that node just now."""
        return bool(
            self.cluster.nodes[number].ask(
                f"SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'bot' AND INFO RLIKE '^[[:space:]]*{word}'"
            )
        )

    def open_transaction(self, number: int) -> Session:
        """A connection at that node with a transaction that the test ends."""
        session = self.queues[number].database._connect()
        session.execute("START TRANSACTION")
        return session

    def words(self, statement: str) -> str:
        """The product's own statement, ready to run."""
        return self.queues[0].database.render(statement, "bot_jobs")

    def state(self, number: int) -> list[tuple[object, ...]]:
        """Id, state, and whether it is parked, of every job, as that node shows them."""
        return self.cluster.nodes[number].ask("SELECT id, status, parked FROM bot_jobs ORDER BY id", self.database)


@pytest.fixture
def rig(cluster: GaleraCluster) -> Iterator[Rig]:
    rig = Rig(cluster)
    rig.queues[0].ensure_schema()
    cluster.record()
    yield rig
    rig.close()


def commits(session: Session) -> bool:
    """End the transaction; False when the cluster took it back."""
    try:
        session.execute("COMMIT")
        return True
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.LOCK_DEADLOCK:
            raise
        return False
    finally:
        session.close()


class TestOrder:
    def test_an_update_taken_by_a_node_that_is_behind_goes_after_those_that_other_nodes_took_before(
        self, rig: Rig
    ) -> None:
        """Each node counts ids in steps of its own: one that does not know of the others' would give a smaller one."""
        with rig.cluster.held_back(1, rig.database):
            earlier = [rig.enqueue(0, update, "chat:1") for update in (1, 2, 3)]
            later = rig.begun(1, "(INSERT|SELECT)", lambda: rig.enqueue(1, 4, "chat:1"))

        assert later.result() > max(earlier)
        assert [job.update_id for job in rig.queues[2].claim("worker", LEASE_SECONDS, 4)] == [1]

    def test_so_does_one_that_the_webhook_of_a_single_request_stores(self, rig: Rig) -> None:
        lean = rig.queues[1].prepared_insert()
        assert lean is not None
        row = {
            "payload": "{}",
            "update_id": 4,
            "update_type": "message",
            "lane": "chat:1",
            "priority": 2,
            "urgent_seconds": None,
            "expires_seconds": None,
        }
        with rig.cluster.held_back(1, rig.database):
            earlier = [rig.enqueue(0, update, "chat:1") for update in (1, 2, 3)]
            later = rig.begun(1, "INSERT", lambda: insert(lean, dict(row)))

        assert later.result() > max(earlier)

    def test_two_jobs_of_a_lane_taken_at_two_nodes_at_once_are_not_both_taken(self, rig: Rig) -> None:
        first, second = rig.enqueue(0, 1, "chat:1"), rig.enqueue(0, 2, "chat:1")
        rig.cluster.record()
        take, values = rig.words(sql.TAKE), {"worker": "worker", "token": "token", "seconds": LEASE_SECONDS}
        here, there = rig.open_transaction(0), rig.open_transaction(1)

        taken = [here.execute(take, ids=[first], **values), there.execute(take, ids=[second], **values)]

        assert taken == [1, 1]
        assert [commits(here), commits(there)] == [True, False]

    def test_a_job_is_not_parked_behind_one_that_ends_at_another_node_at_the_same_moment(self, rig: Rig) -> None:
        """It would wait for somebody to unpark it who is gone. The job that ends has been a blocker before."""
        (head, behind), update = (rig.enqueue(0, update, "chat:1") for update in (1, 2)), 3
        lease = rig.queues[0].claim("worker", LEASE_SECONDS)[0].lease
        mark, park = rig.words(sql.MARK_BLOCKER), rig.words(sql.PARK)
        assert rig.queues[0].claim("worker", LEASE_SECONDS) == []  # parks the second behind the first
        rig.queues[0].skip(behind)
        newest = rig.enqueue(0, update, "chat:1")
        rig.cluster.record()
        parking, ending = rig.open_transaction(0), rig.open_transaction(1)

        parked = [parking.execute(mark, id=head, first=newest), parking.execute(park, ids=[newest])]
        complete = rig.words(sql.COMPLETE.replace("{alone}", ""))
        ended = ending.execute(complete, id=head, token=lease.token, note=None)

        assert (parked, ended) == ([1, 1], 1)
        assert [commits(parking), commits(ending)] == [True, False]

    def test_a_pool_is_told_that_ids_come_in_steps(self, rig: Rig) -> None:
        ids = [rig.enqueue(1, update, "chat:1") for update in range(3)]

        assert (
            {later - earlier for earlier, later in zip(ids, ids[1:])} == {rig.queues[1].snapshot().id_step} == {NODES}
        )


class TestOnce:
    def test_an_update_delivered_to_all_nodes_at_once_is_one_job(self, rig: Rig) -> None:
        deliveries = [
            rig.threads.submit(rig.enqueue, number, update, "chat:1") for update in range(40) for number in range(NODES)
        ]

        ids = [delivery.result() for delivery in deliveries]

        assert len(set(ids)) == 40
        assert rig.queues[0].counts().pending == 40

    def test_claimers_of_all_nodes_take_every_job_once(self, rig: Rig) -> None:
        jobs = 200
        for update in range(jobs):
            rig.enqueue(update % NODES, update, f"chat:{update % 40}")

        def drain(number: int) -> list[int]:
            queue, taken = rig.queues[number % NODES], []
            while queue.counts().pending:
                for job in queue.claim(f"claimer {number}", LEASE_SECONDS, 4):
                    queue.complete(job.lease)
                    taken.append(job.id)
            return taken

        runs = Counter(job for taken in rig.threads.map(drain, range(2 * NODES)) for job in taken)

        assert (len(runs), max(runs.values())) == (jobs, 1)
        assert rig.queues[0].counts().done == jobs

    def test_one_leads(self, rig: Rig) -> None:
        leaders = [Leadership(queue.table, f"machine {number}", 60) for number, queue in enumerate(rig.queues)]

        led = list(rig.threads.map(Leadership.take, leaders))

        assert sum(led) == 1


class TestLeases:
    def held(self, rig: Rig) -> Lease:
        rig.enqueue(0, 1, "chat:1")
        (job,) = rig.queues[0].claim("worker", LEASE_SECONDS)
        return job.lease

    @pytest.mark.parametrize("verb", ["renew", "complete", "release"])
    def test_a_worker_whose_connections_go_to_several_nodes_does_not_lose_its_lease(self, rig: Rig, verb: str) -> None:
        """Through a load balancer the next statement may come to a node that does not know of the claim yet."""
        with rig.cluster.held_back(1, rig.database):
            lease = self.held(rig)
            more = (LEASE_SECONDS,) if verb == "renew" else ()
            told = rig.begun(1, "(UPDATE|SELECT)", lambda: getattr(rig.queues[1], verb)(lease, *more))

        told.result()

    def test_a_lease_that_was_extended_at_another_node_is_not_taken_away(self, rig: Rig) -> None:
        lease = self.held(rig)
        let_pass(rig.queues[0], LEASE_SECONDS + 1)
        rig.cluster.record()
        with rig.cluster.held_back(1, rig.database):
            rig.queues[0].renew(lease, LEASE_SECONDS)
            reaping = rig.begun(1, "(UPDATE|SELECT)", rig.queues[1].reap)

        assert reaping.result() == Reaped()
        rig.queues[0].complete(lease)


@contextmanager
def without_its_cluster(cluster: GaleraCluster, number: int) -> Iterator[None]:
    """While the block runs, the network lets nothing through between the node and the others."""

    def is_ready(wanted: bool) -> bool:
        view = cluster.sees(number)
        return view is not None and view.is_ready == wanted and (not wanted or view.size == NODES)

    cluster.nodes[number].set("gmcast.isolate", "1")
    try:
        wait_until(lambda: is_ready(False), lambda: cluster.sees(number))
        yield
    finally:
        cluster.nodes[number].set("gmcast.isolate", "0")
        wait_until(lambda: is_ready(True), lambda: cluster.sees(number))


class TestNotReady:
    def test_a_node_that_lost_its_cluster_is_away_until_it_is_back_and_behind_a_load_balancer_another_one_answers(
        self, rig: Rig
    ) -> None:
        """It goes on answering on every connection, old and new: that it cannot work."""
        alone, relay = rig.queues[2], Relay(rig.cluster.nodes[2].server.port)
        address = replace(rig.cluster.address(2, rig.database), port=relay.port)
        balanced = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())
        assert [queue.counts().pending for queue in (alone, balanced)] == [0, 0]

        with without_its_cluster(rig.cluster, 2):
            began = time.monotonic()
            for work in (alone.counts, alone.snapshot, partial(rig.enqueue, 2, 1, "chat:1")):
                with pytest.raises(DatabaseUnavailable):
                    work()
            assert time.monotonic() - began < AT_ONCE_SECONDS
            relay.targets = (rig.cluster.nodes[0].server.port,)
            assert not balanced.enqueue(Update("{}", 2)).duplicate

        assert [job.update_id for job in alone.newest(10)] == [2]
        balanced.close()
        relay.close()


class TestTables:
    def test_every_table_has_a_primary_key(self, rig: Rig) -> None:
        """Galera finds conflicts by it; rows without one it cannot even delete."""
        (missing,) = rig.cluster.nodes[0].ask(
            "SELECT GROUP_CONCAT(TABLE_NAME) FROM information_schema.TABLES AS tables"
            f" WHERE TABLE_SCHEMA = '{rig.database}' AND (ENGINE != 'InnoDB' OR NOT EXISTS ("
            "   SELECT 1 FROM information_schema.STATISTICS AS indexes WHERE INDEX_NAME = 'PRIMARY'"
            "   AND indexes.TABLE_SCHEMA = tables.TABLE_SCHEMA AND indexes.TABLE_NAME = tables.TABLE_NAME))"
        )

        assert missing == (None,)

    def test_machines_that_start_at_once_at_all_nodes_make_them_together(self, cluster: GaleraCluster) -> None:
        rig = Rig(cluster)
        try:
            assert list(rig.threads.map(DatabaseQueue.ensure_schema, rig.queues)) == [None] * NODES
            assert [rig.enqueue(number, number, "chat:1") > 0 for number in range(NODES)] == [True] * NODES
        finally:
            rig.close()
