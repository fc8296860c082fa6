"""The database is away for longer than a lease: who lives tells what it did, nothing is run twice, no bot is stopped.

And a machine that alone cannot reach it: it stops its bot before another machine runs the update again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects import database, mysql_login, mysql_session
from scalable.lib.queue.dialects.address import MySqlAddress, SqliteAddress
from scalable.lib.queue.dialects.sqlite import SqliteDatabase
from scalable.lib.telegram.update import Update
from tests.support.fakes.lease_scene import POLICY, TERMS, Machine, Run, overlapping
from tests.support.need import need
from tests.support.servers.database_servers import DatabaseServer, available, start_server
from tests.support.servers.load_balancer import Relay
from tests.support.servers.site import wait_until
from tests.support.waiting import PATIENCE_SECONDS

# Longer than a lease, and than a lease with its grace time.
OUTAGE_SECONDS = TERMS.lease_seconds + TERMS.grace_seconds + 2
# A nightly dump of a minute, at a tenth of the time.
DUMP_SECONDS = 6.0


@pytest.fixture(autouse=True)
def at_a_tenth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a statement waits for an answer or a lock, as everything here."""
    for name in ("CONNECT_SECONDS", "READ_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(mysql_login, name, 1)
    waits = f"lock_wait_timeout = {mysql_session.LOCK_WAIT_SECONDS}"
    assert waits in mysql_session.SESSION[0]
    monkeypatch.setattr(
        mysql_session,
        "SESSION",
        (mysql_session.SESSION[0].replace(waits, "lock_wait_timeout = 1"), *mysql_session.SESSION[1:]),
    )
    monkeypatch.setattr(database, "LONGEST_CONFLICTS_SECONDS", 1.0)


@pytest.fixture(scope="module", params=["mariadb-10.11", "mysql-9.7"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A server for these tests alone, to be killed; after each of them it is as before."""
    need(available(request.param))
    server = start_server(request.param, tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


class Scene:
    """One queue on that server, and what bots did with its updates."""

    def __init__(self, server: DatabaseServer) -> None:
        self.server = server
        self.runs: list[Run] = []
        self.database = server.create_database()
        self.queue = DatabaseQueue(open_database(self.address(server.port)), "bot_jobs", POLICY, TERMS)
        self.queue.ensure_schema()

    def address(self, port: int) -> MySqlAddress:
        return MySqlAddress("127.0.0.1", port, None, self.database, self.server.user, self.server.password)

    def machine(self, name: str, bot_seconds: float, port: int | None = None) -> Machine:
        return Machine(name, self.address(port or self.server.port), bot_seconds, self.runs)

    def wait_for_runs(self, count: int, within_seconds: float = PATIENCE_SECONDS) -> None:
        wait_until(lambda: len(self.runs) >= count, lambda: self.runs, within_seconds)

    def wait_until_done(self, count: int) -> None:
        def is_done() -> bool:
            counts = self.queue.counts()
            return counts.done == count and counts.total == count

        wait_until(is_done, lambda: (self.queue.counts(), self.runs))

    def admin(self, statement: str) -> None:
        with closing(self.server.connect(as_admin=True)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.fixture
def scene(server: DatabaseServer) -> Iterator[Scene]:
    scene = Scene(server)
    yield scene
    scene.queue.close()


@contextmanager
def killed(scene: Scene) -> Iterator[None]:
    scene.server.kill()
    try:
        yield
    finally:
        scene.server.restart()


@contextmanager
def frozen(scene: Scene) -> Iterator[None]:
    scene.server.pause()
    try:
        yield
    finally:
        scene.server.resume()


@contextmanager
def read_only(scene: Scene) -> Iterator[None]:
    scene.admin("SET GLOBAL read_only = 1")
    try:
        yield
    finally:
        scene.admin("SET GLOBAL read_only = 0")


@contextmanager
def locked(scene: Scene) -> Iterator[None]:
    with closing(scene.server.connect(scene.database, as_admin=True)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES bot_jobs READ")
        yield
        cursor.execute("UNLOCK TABLES")


OUTAGES = pytest.mark.parametrize("outage", [killed, frozen, read_only, locked], ids=lambda outage: outage.__name__)
Outage = Callable[[Scene], "contextmanager[None]"]


@OUTAGES
def test_what_ended_during_an_outage_longer_than_lease_and_grace_is_told_and_not_run_again(
    scene: Scene, outage: Outage
) -> None:
    """F20: killed, and a dump's lock; also frozen, and read only."""
    names = [f"machine {number}" for number in range(3)]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(scene.machine(name, bot_seconds=1.5))
        for number in range(len(names)):
            scene.queue.enqueue(Update(f"{number}", number, "message", f"chat:{number}"))
        scene.wait_for_runs(len(names))
        with outage(scene):
            time.sleep(OUTAGE_SECONDS)
        scene.wait_until_done(len(names))

    assert sorted(run.payload for run in scene.runs) == [f"{number}" for number in range(len(names))]
    assert not [run for run in scene.runs if run.stopped]


@OUTAGES
def test_a_bot_that_takes_nearly_all_of_its_time_is_not_stopped_by_an_outage(scene: Scene, outage: Outage) -> None:
    """F20: 50 of 60 seconds in the product's terms, and an outage of a minute."""
    with scene.machine("machine", bot_seconds=5.0), scene.machine("another", bot_seconds=5.0):
        scene.queue.enqueue(Update("0", 0, "message", "chat:0"))
        scene.wait_for_runs(1)
        with outage(scene):
            time.sleep(DUMP_SECONDS)
        scene.wait_until_done(1)

    assert [run.stopped for run in scene.runs] == [False]


@pytest.mark.parametrize("silently", [False, True], ids=["refused", "silent"])
def test_a_machine_that_is_cut_off_alone_stops_its_bot_before_another_runs_the_update(
    scene: Scene, silently: bool
) -> None:
    """F20: of the kind, one machine alone."""
    relay = Relay(scene.server.port)
    with scene.machine("cut off", bot_seconds=30.0, port=relay.port):
        scene.queue.enqueue(Update("0", 0, "message", "chat:0"))
        scene.wait_for_runs(1)
        with scene.machine("another", bot_seconds=1.0):
            relay.cut(silently)
            scene.wait_for_runs(2)  # 16 on a quiet machine
            scene.wait_until_done(1)
    relay.close()

    assert [(run.machine, run.stopped) for run in scene.runs] == [("cut off", True), ("another", False)]
    assert overlapping(scene.runs) == []


@pytest.mark.parametrize("server", ["mariadb-10.5"], indirect=True)
def test_a_claim_that_nobody_waits_for_any_more_is_not_made_when_the_table_is_unlocked(scene: Scene) -> None:
    """F20: without SKIP LOCKED a claim is one UPDATE, which the server would carry out when its client is long gone."""
    scene.queue.pause("test")
    scene.queue.enqueue(Update("0", 0, "message", "chat:0"))
    with scene.machine("machine", bot_seconds=0.1):
        with locked(scene):
            scene.queue.resume()
            time.sleep(4 * mysql_login.READ_SECONDS)
        unlocked = time.monotonic()
        scene.wait_until_done(1)

    assert scene.runs[0].began - unlocked < TERMS.lease_seconds
    assert len(scene.runs) == 1


def test_on_sqlite_a_file_that_is_locked_for_longer_than_lease_and_grace_is_such_an_outage(tmp_path: Path) -> None:
    """F20: of the kind, on SQLite."""
    address, runs = SqliteAddress(tmp_path / "queue.sqlite3"), []
    queue = DatabaseQueue(open_database(address), "bot_jobs", POLICY, TERMS)
    queue.ensure_schema()
    with Machine("machine", address, 1.5, runs), Machine("another", address, 1.5, runs):
        queue.enqueue(Update("0", 0, "message", "chat:0"))
        wait_until(lambda: runs, lambda: runs)
        blocker = SqliteDatabase(address)._connect()
        blocker.execute("BEGIN IMMEDIATE")
        time.sleep(OUTAGE_SECONDS)
        blocker.execute("COMMIT")
        blocker.close()
        wait_until(lambda: queue.counts().done == 1, lambda: (queue.counts(), runs))
    queue.close()

    assert [run.stopped for run in runs] == [False]
