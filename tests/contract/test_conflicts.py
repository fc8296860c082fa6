"""Conflicts on real servers: they are repeated, and when they do not end, they are no outage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from scalable.lib.errors import DatabaseBusy
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects import database, mysql_session
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.dialects.mysql import MySqlDatabase
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.servers.database_servers import DatabaseServer
from tests.support.servers.databases import DATABASES, Servers


class SnapshotDatabase(MySqlDatabase):
    """Every transaction sees the rows as they were when it began, and must not change one that changed since."""

    def _connect(self) -> Session:
        session = super()._connect()
        session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.execute("SET SESSION innodb_snapshot_isolation = ON")
        return session


def made(database: MySqlDatabase) -> DatabaseQueue:
    queue = DatabaseQueue(database, "bot_jobs", RetryPolicy())
    queue.ensure_schema()
    return queue


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest, servers: Servers) -> DatabaseServer:
    return servers.get(request.param)


@pytest.fixture
def address(server: DatabaseServer, servers: Servers) -> MySqlAddress:
    return servers.fresh_database(server.name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements wait for a lock for a second, and are not repeated for long."""
    waits = f"lock_wait_timeout = {mysql_session.LOCK_WAIT_SECONDS}"
    first, *others = mysql_session.SESSION
    assert waits in first
    monkeypatch.setattr(mysql_session, "SESSION", (first.replace(waits, "lock_wait_timeout = 1"), *others))
    monkeypatch.setattr(database, "LONGEST_CONFLICTS_SECONDS", 0.5)


@pytest.fixture
def queue(address: MySqlAddress) -> Iterator[DatabaseQueue]:
    queue = made(MySqlDatabase(address))
    yield queue
    queue.close()


def test_a_row_that_changed_since_it_was_read_is_a_conflict_and_the_whole_work_is_repeated(servers: Servers) -> None:
    """Error 1020 of MariaDB 11.6.2 and newer, with innodb_snapshot_isolation."""
    address = servers.fresh_database("mariadb-11.8")
    queue, other = made(SnapshotDatabase(address)), made(MySqlDatabase(address))
    queue.enqueue(Update("{}", 1))
    seen = []

    def work(session: Session) -> int:
        [(attempts,)] = session.rows("SELECT attempts FROM bot_jobs")
        seen.append(attempts)
        if len(seen) == 1:
            other.table.change("UPDATE {jobs} SET attempts = 5")
        return session.execute("UPDATE bot_jobs SET attempts = attempts + 1")

    queue.table.in_transaction(work)

    assert seen == [0, 5]
    assert other.table.rows("SELECT attempts FROM {jobs}") == [(6,)]
    for each in (queue, other):
        each.close()


def test_a_table_that_stays_locked_is_busy_and_nothing_is_stored_when_nobody_waits_any_more(
    impatient: None, server: DatabaseServer, address: MySqlAddress, queue: DatabaseQueue
) -> None:
    """By a nightly dump, for one: without a limit the server stores the row when the dump ends."""
    with closing(server.connect(address.database, as_admin=True)) as admin, admin.cursor() as cursor:
        cursor.execute("LOCK TABLES bot_jobs READ")
        with pytest.raises(DatabaseBusy):
            queue.enqueue(Update("{}", 1))
        cursor.execute("UNLOCK TABLES")

    assert not queue.enqueue(Update("{}", 1)).duplicate


def test_a_change_of_the_tables_waits_for_whoever_uses_them(
    impatient: None, server: DatabaseServer, address: MySqlAddress, queue: DatabaseQueue
) -> None:
    queue.table.change("ALTER TABLE {jobs} DROP COLUMN lease_missed_at")
    queue.table.change("UPDATE {jobs}_meta SET value = '4' WHERE name = 'schema_version'")
    newer = DatabaseQueue(MySqlDatabase(address), "bot_jobs", RetryPolicy())
    with closing(server.connect(address.database, as_admin=True)) as admin, admin.cursor() as cursor:
        cursor.execute("LOCK TABLES bot_jobs READ")
        start = threading.Thread(target=newer.ensure_schema)
        start.start()
        start.join(3)  # several times as long as a statement of the queue waits
        assert start.is_alive()
        cursor.execute("UNLOCK TABLES")
        start.join(60)

    assert newer.snapshot().newest_id == 0
    newer.close()
