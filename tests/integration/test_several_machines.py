"""Three machines share one queue, and one of them dies: what it held is run by the others, soon, once, and in order.

A machine is a UTS and a PID namespace with a data folder of its own. Killing its first process is pulling the plug: the
kernel ends everything in it at the same moment (pid_namespaces(7)), so nobody there can tell anybody anything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.leadership import Leadership
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.integration.conftest import database_settings
from tests.support.fakes.worker_killer import children
from tests.support.generators.bots import python_bot
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, tail
from tests.support.servers.databases import Servers
from tests.support.servers.site import wait_until

NAMES = ("machine-a", "machine-b", "machine-c")
UPDATES, LANES = 400, 40
# The promise of README: from the death of a machine until what it held runs elsewhere.
MOVES_WITHIN_SECONDS = 120.0
ENDS_WITHIN_SECONDS = 60.0
# By the clock that all processes share (CLOCK_MONOTONIC).
BOT = """
import fcntl, json, os, sys, time
update = json.load(sys.stdin)

def write(event):
    line = {"event": event, "update": update["update_id"], "lane": update["lane"], "host": os.uname().nodename,
            "at": time.monotonic()}
    with open(os.environ["BOT_JOURNAL"], "a") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        journal.write(json.dumps(line) + "\\n")

write("start")
time.sleep(0.3)
write("end")
"""


@dataclass(frozen=True)
class Line:
    """One line of the bots' journal."""

    event: str
    update: int
    lane: str
    host: str
    at: float


class Machine:
    """A host with a pool of its own."""

    def __init__(self, name: str, home: Path, settings: dict[str, str]) -> None:
        self.name = name
        self.log = home / f"{name}.log"
        environment = {**settings, "PATH": os.environ["PATH"], "BOT_DATA_DIR": str(home / name)}
        # What `unshare` starts is the machine's first process and dies with it; setpriv's own signal does not pass on.
        command = [
            "unshare",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
            "sh",
            "-c",
            'hostname "$0" && exec "$@"',
            name,
            sys.executable,
            str(REPOSITORY / "scalable" / "worker_pool.py"),
        ]
        self.pool = Child(command, log=self.log, environment=environment)

    def pull_the_plug(self) -> None:
        """Nothing of it lives when this returns: its first process ends when all others have (pid_namespaces(7)).

        /proc shows that one as ended (Z) when its first thread has, which is too early; a pidfd waits for all of them.
        """
        with ExitStack() as stack:
            descriptors = [os.pidfd_open(process) for process in children(self.pool.pid)]
            for descriptor in descriptors:
                stack.callback(os.close, descriptor)
            self.pool.kill()
            for descriptor in descriptors:
                assert select([descriptor], [], [], ENDS_WITHIN_SECONDS)[0], f"{self.name} lives on"

    def end_the_pool(self) -> None:
        """As its owner would; `unshare` itself ends at a signal and pulls the plug."""
        (pool,) = children(self.pool.pid)
        os.kill(pool, signal.SIGTERM)
        wait_until(lambda: not self.pool.is_running(), lambda: tail(self.log))


class Queue:
    """The shared queue as the test sees it, from outside of every machine."""

    def __init__(self, settings: dict[str, str]) -> None:
        host, port = settings["BOT_DB_HOST"].split(":")
        database = open_database(
            MySqlAddress(
                host, int(port), None, settings["BOT_DB_NAME"], settings["BOT_DB_USER"], settings["BOT_DB_PASS"]
            )
        )
        self.queue = DatabaseQueue(database, "bot_jobs", RetryPolicy())

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """The rows of a statement."""

        def work(session: Session) -> list[tuple[object, ...]]:
            return list(session.rows(statement))

        return self.queue.database.run(work)

    def held_by(self, machine: str) -> set[int]:
        """Ids of the updates whose lease a worker of that machine has."""
        return {
            int(str(row[0]))
            for row in self.ask(
                "SELECT update_id FROM bot_jobs WHERE status = 'processing'"
                f" AND reserved_by LIKE '{machine}:%' LIMIT 1000"
            )
        }

    def leader(self) -> str:
        """The machine that leads; empty when none does."""
        rows = self.ask("SELECT value FROM bot_jobs_meta WHERE name = 'leader' LIMIT 1")
        return str(rows[0][0]).partition(":")[0] if rows else ""


@contextmanager
def three_machines(home: Path, settings: dict[str, str]) -> Iterator[dict[str, Machine]]:
    with ExitStack() as stack:
        machines = {}
        for name in NAMES:
            machines[name] = machine = Machine(name, home, settings)
            stack.callback(machine.pool.close)
            stack.callback(machine.pull_the_plug)  # at TERM, unshare would wait
            machine.pool.start()
        yield machines


def read_journal(journal: Path) -> list[Line]:
    if not journal.exists():
        return []
    return [Line(**json.loads(line)) for line in journal.read_text().splitlines()]


def disorder(lines: list[Line]) -> list[str]:
    """Every place where a lane was not run one after the other, in the order of its updates."""
    wrong, ended = [], defaultdict(int)
    for line in lines:
        if line.event == "start" and line.update < ended[line.lane]:
            wrong.append(f"{line} after update {ended[line.lane]}")
        if line.event == "end":
            ended[line.lane] = max(ended[line.lane], line.update)
    return wrong


def reruns(lines: list[Line], held: set[int]) -> list[str]:
    """Updates that were run more than once although no machine died with them."""
    starts = defaultdict(list)
    for line in lines:
        if line.event == "start":
            starts[line.update].append(line.host)
    return [f"update {update}: {hosts}" for update, hosts in starts.items() if len(hosts) > 1 and update not in held]


@pytest.mark.timeout(360)
def test_what_a_dead_machine_held_runs_elsewhere_within_a_minute(servers: Servers, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    settings = {
        **database_settings(servers, "mariadb-10.11"),
        "BOT_CONFIG": "",
        "BOT_JOURNAL": str(journal),
        "BOT_LEGACY_PATH": str(python_bot(tmp_path, BOT)),
        "BOT_WORKER_POOL_SIZE": "2",
        "BOT_WORKER_SLEEP": "0.5",
    }
    shared = Queue(settings)
    shared.queue.ensure_schema()
    for number in range(1, UPDATES + 1):
        lane = f"chat:{number % LANES}"
        shared.queue.enqueue(Update(json.dumps({"update_id": number, "lane": lane}), number, "message", lane))

    with three_machines(tmp_path, settings) as machines:
        wait_until(
            lambda: {line.host for line in read_journal(journal)} == set(NAMES) and shared.leader() != "",
            lambda: [tail(machine.log) for machine in machines.values()],
        )
        victim = shared.leader()
        wait_until(lambda: len(shared.held_by(victim)) >= 2, lambda: tail(machines[victim].log))
        machines[victim].pull_the_plug()
        died = time.monotonic()
        held = shared.held_by(victim)
        wait_until(
            lambda: shared.queue.counts().done == UPDATES,
            lambda: (shared.queue.counts(), [tail(machine.log) for machine in machines.values()]),
            timeout_seconds=240,
        )

    lines = read_journal(journal)
    after = {line.update: line for line in reversed(lines) if line.event == "start" and line.at > died}
    waits = {update: after[update].at - died for update in held}
    print(f"{victim} died with {len(held)} jobs; they began elsewhere after at most {max(waits.values()):.1f} s")
    assert held
    assert all(after[update].host != victim for update in held)
    assert max(waits.values()) < MOVES_WITHIN_SECONDS
    assert (disorder(lines), reruns(lines, held)) == ([], [])
    assert {line.host for line in lines if line.at > died} == set(NAMES) - {victim}
    shared.queue.close()


def test_a_machine_that_ends_in_order_leaves_nothing_behind_and_lets_another_one_lead(
    servers: Servers, tmp_path: Path
) -> None:
    settings = {
        **database_settings(servers, "mariadb-10.11"),
        "BOT_CONFIG": "",
        "BOT_JOURNAL": str(tmp_path / "journal"),
        "BOT_LEGACY_PATH": str(python_bot(tmp_path, BOT)),
        "BOT_WORKER_POOL_SIZE": "2",
    }
    shared = Queue(settings)
    with three_machines(tmp_path, settings) as machines:
        wait_until(lambda: "bot_jobs_meta" in tables(shared), lambda: "no tables")
        wait_until(lambda: shared.leader() in NAMES, lambda: [tail(machine.log) for machine in machines.values()])
        leader = shared.leader()
        machines[leader].end_the_pool()

        next_one = Leadership(shared.queue.table, "the next one", 60)
        assert next_one.take() or shared.leader() in set(NAMES) - {leader}
        assert shared.held_by(leader) == set()
    shared.queue.close()


def tables(shared: Queue) -> set[str]:
    return {str(row[0]) for row in shared.ask("SHOW TABLES")}


class TestTheJudge:
    """It would be worth nothing if it never found anything."""

    def test_it_finds_a_later_update_that_was_overtaken(self) -> None:
        lines = [Line("start", 2, "a", "x", 1.0), Line("end", 2, "a", "x", 2.0), Line("start", 1, "a", "x", 3.0)]

        assert len(disorder(lines)) == 1

    def test_it_finds_a_run_too_many(self) -> None:
        lines = [Line("start", 1, "a", "x", 1.0), Line("start", 1, "a", "y", 2.0)]

        assert (len(reruns(lines, set())), reruns(lines, {1})) == (1, [])
