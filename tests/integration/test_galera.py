"""Three hosts on a Galera cluster; a node dies while updates arrive at all of them, and comes back.

Two hosts use a node of their own, the first one a load balancer that sends each connection to another node. Nothing is
lost, every lane keeps its order, and all nodes hold the same in the end. `make cluster` kills every node in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.fakes.worker_killer import JOURNAL_BOT, read_journal
from tests.support.generators.bots import python_bot
from tests.support.generators.long_tests import LONG, sized
from tests.support.judges.documents import read
from tests.support.judges.judge import Kill, Run, Story, find_wrongs, read_runs
from tests.support.places import REPOSITORY
from tests.support.servers.children import DidNotStart, tail
from tests.support.servers.galera import NODES, GaleraCluster
from tests.support.servers.load_balancer import Relay
from tests.support.servers.many_hosts import Host, Telegram
from tests.support.servers.site import wait_until

TABLES = ("bot_jobs", "bot_jobs_meta", "bot_jobs_workers", "bot_jobs_minutes")
BALANCED = 0
VICTIMS = (1, 2, BALANCED) if LONG else (1,)
CHATS = 24
UPDATES_PER_SECOND = 12
ALWAYS_FAILS = 83  # one update in so many
RETRY_BASE_SECONDS = 1
# Runs to wait for: before a node dies, elsewhere while it is away, and at its host when it is back.
RUNS_BEFORE, RUNS_MEANWHILE, RUNS_AFTER = sized(40, 120), sized(40, 80), sized(20, 60)
# When a node was away for so long, leases of its workers may have ended before these could tell what they had done.
LONG_OUTAGE_SECONDS, LONG_OUTAGE_ENDS_LEASES_SECONDS = 60.0, 75.0
START_SECONDS = 120.0
# A lease with its grace time, and time to work off what waited behind it.
END_SECONDS = 180.0
EVERYTHING = 1_000_000
CONFLICTS = "SHOW STATUS WHERE Variable_name IN ('wsrep_local_cert_failures', 'wsrep_local_bf_aborts')"


@dataclass(frozen=True)
class Outage:
    """When a node was killed, when the others had noticed, and when it was about to come back, and was."""

    host: str
    killed: float
    noticed: float
    returning: float
    back: float


class Scene:
    """The cluster, and a host at each of its nodes."""

    def __init__(self, cluster: GaleraCluster, folder: Path) -> None:
        self.cluster = cluster
        self.database = cluster.create_database()
        self.journal = folder / "journal"
        self.balancer = Relay(*(node.server.port for node in cluster.nodes))
        bot = python_bot(folder, JOURNAL_BOT)
        self.hosts = [self._host(number, folder, bot) for number in range(NODES)]
        self.conflicts = 0

    def _host(self, number: int, folder: Path, bot: Path) -> Host:
        address = self.cluster.address(number, self.database)
        port = self.balancer.port if number == BALANCED else address.port
        name = f"host-{number}"
        return Host(
            name,
            folder / name,
            bot,
            BOT_DB_HOST=f"{address.host}:{port}",
            BOT_DB_NAME=address.database,
            BOT_DB_USER=address.user,
            BOT_DB_PASS=address.password,
            BOT_WORKER_POOL_SIZE="2",
            BOT_WORKER_SLEEP="0.5",
            BOT_JOB_MAX_ATTEMPTS="5",
            BOT_JOB_RETRY_BASE=str(RETRY_BASE_SECONDS),
            BOT_JOB_RETRY_MAX="2",
        )

    def queue(self, number: int) -> DatabaseQueue:
        """The queue as that node shows it."""
        address = self.cluster.address(number, self.database)
        return DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())

    def starts(self, since: float, hosts: set[str]) -> int:
        """How many runs began at these hosts since that time."""
        if not self.journal.exists():
            return 0
        runs, _ = read_runs(read_journal(self.journal), [])
        return sum(run.start > since and run.host in hosts for run in runs)

    def wait_for_starts(self, wanted: int, hosts: set[str]) -> None:
        """Return when so many runs more began there."""
        began = time.monotonic()
        wait_until(lambda: self.starts(began, hosts) >= wanted, self.describe, timeout_seconds=START_SECONDS)

    def describe(self) -> object:
        """For a message."""
        return [tail(host.log) for host in self.hosts], self.cluster.log_tails()

    def count_conflicts(self, number: int) -> None:
        """Add those a node has seen since it started."""
        self.conflicts += sum(int(count) for _, count in self.cluster.nodes[number].ask(CONFLICTS))

    def outage(self, victim: int) -> Outage:
        """Kill a node in the middle of its work, and bring it back when the others have gone on without it."""
        here, others = self.hosts[victim].name, {host.name for host in self.hosts} - {self.hosts[victim].name}
        self.wait_for_starts(RUNS_BEFORE, {here})
        self.count_conflicts(victim)
        killed = time.monotonic()
        self.cluster.kill(victim)
        witness = (victim + 1) % NODES
        wait_until(lambda: (view := self.cluster.sees(witness)) and view.size == NODES - 1, self.describe)
        noticed = time.monotonic()
        self.wait_for_starts(RUNS_MEANWHILE, others)
        returning = time.monotonic()
        self.cluster.bring_back(victim)
        back = time.monotonic()
        self.wait_for_starts(RUNS_AFTER, {here})
        return Outage(here, killed, noticed, returning, back)

    def rows(self, number: int) -> dict[str, list[tuple[object, ...]]]:
        """All that the node holds of the queue, by table."""
        node = self.cluster.nodes[number]
        return {table: sorted(node.ask(f"SELECT * FROM {table}", self.database), key=repr) for table in TABLES}


@contextmanager
def arriving(telegram: Telegram) -> Iterator[None]:
    telegram.start()
    try:
        yield
    except BaseException:
        telegram.stop(give_up=True)
        raise
    telegram.stop()


def wait_for_the_end(scene: Scene, queue: DatabaseQueue) -> None:
    def is_over() -> bool:
        counts = queue.counts()
        return counts.pending + counts.processing == 0

    wait_until(is_over, lambda: (queue.counts(), scene.describe()), timeout_seconds=END_SECONDS)


def ended_leases(runs: Sequence[Run], outages: Sequence[Outage]) -> list[Kill]:
    """Workers that may have lost leases, as the judge wants to know it: from when on another run is right."""
    return [
        Kill(run.worker, (), outage.killed + LONG_OUTAGE_ENDS_LEASES_SECONDS, outage.back)
        for outage in outages
        if outage.back - outage.killed > LONG_OUTAGE_SECONDS
        for run in runs
        if run.host == outage.host and outage.killed - 1 < run.end < outage.back
    ]


def seconds_since(began: float) -> Callable[[float], str]:
    return lambda moment: f"{moment - began:.1f} s"


@pytest.mark.timeout(sized(300, 600))
def test_every_update_ends_and_every_lane_keeps_its_order_while_nodes_die_and_come_back(
    cluster: GaleraCluster, tmp_path: Path
) -> None:
    scene = Scene(cluster, tmp_path)
    telegram = Telegram(scene.hosts, CHATS, UPDATES_PER_SECOND, ALWAYS_FAILS)
    began = time.monotonic()
    with ExitStack() as stack:
        stack.callback(scene.balancer.close)
        for host in scene.hosts:
            stack.enter_context(host)
        with arriving(telegram):
            outages = [scene.outage(victim) for victim in VICTIMS]
        queue = scene.queue(0)
        wait_for_the_end(scene, queue)
        states = {job.update_id or 0: job.status for job in queue.newest(EVERYTHING)}
        queue.close()
    cluster.record()
    for number in range(NODES):
        scene.count_conflicts(number)

    runs, wrong = read_runs(read_journal(scene.journal), [])
    accepted = dict(sorted(telegram.accepted.items()))
    wrong += find_wrongs(Story(accepted, states, runs, ended_leases(runs, outages), RETRY_BASE_SECONDS))
    print(
        f"\n{len(telegram.accepted)} updates, {len(runs)} runs, {len(outages)} nodes killed, "
        f"{scene.conflicts} conflicts between nodes, {sum(telegram.refused.values())} deliveries refused and "
        f"repeated, {time.monotonic() - began:.0f} seconds"
    )
    for outage in outages:
        since = seconds_since(outage.killed)
        first = min(run.start for run in runs if run.start > outage.back and run.host == outage.host)
        print(
            f"{outage.host}: its node was killed; noticed after {since(outage.noticed)}, "
            f"back after {since(outage.back)}, its workers after {since(first)}"
        )
    assert wrong == []
    assert sorted(states) == sorted(telegram.accepted)
    assert all(states[number] == "failed" for number in states if number % ALWAYS_FAILS == 0)
    assert set(telegram.refused) >= {outage.host for outage in outages} - {scene.hosts[BALANCED].name}
    assert all(scene.rows(number) == scene.rows(0) for number in range(NODES))


def bring_back_patiently(cluster: GaleraCluster, number: int) -> None:
    """As systemd does, which starts a node again that ended because its giver was not ready yet."""
    for _ in range(3):
        try:
            return cluster.bring_back(number)
        except DidNotStart as error:
            reason = error
    raise reason


def test_the_last_node_refuses_everything_until_it_is_told_to_go_on_alone(cluster: GaleraCluster) -> None:
    statement = "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'"
    assert statement in read(REPOSITORY / "docs" / "growing.md")
    database = cluster.create_database()
    queue = DatabaseQueue(open_database(cluster.address(0, database)), "bot_jobs", RetryPolicy())
    queue.ensure_schema()
    cluster.record()
    for number in (1, 2):
        cluster.kill(number)
    try:
        wait_until(lambda: (view := cluster.sees(0)) is not None and not view.is_ready, cluster.log_tails)
        with pytest.raises(DatabaseUnavailable, match="WSREP has not yet prepared node"):
            queue.enqueue(Update("{}", 1))

        cluster.nodes[0].ask(statement)

        wait_until(lambda: (view := cluster.sees(0)) is not None and view.is_synced, cluster.log_tails)
        queue.enqueue(Update("{}", 2))
    finally:
        for number in (1, 2):
            bring_back_patiently(cluster, number)
    queue.close()
    cluster.record()
    updates = [cluster.nodes[number].ask("SELECT update_id FROM bot_jobs", database) for number in range(NODES)]
    assert [sorted(rows) for rows in updates] == [[(2,)]] * NODES
