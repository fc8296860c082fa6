"""How the tables come about: once, by adding, safely with several starters, on every database."""

from __future__ import annotations

import importlib
import threading

import pytest

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.dialects.database import Database, Session
from scalable.lib.queue.job import Counts
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.schema import SCHEMA_VERSION, ensure_schema, missing_statements, stored_version
from scalable.lib.queue.table import QueueTable
from scalable.lib.telegram.update import Update

STARTERS = 8


def missing(database: Database) -> list[str]:
    table = QueueTable(database, "bot_jobs")
    return database.run(lambda session: missing_statements(table, session))


def execute(database: Database, statement: str) -> None:
    database.run(lambda session: session.execute(statement))


def test_a_new_database_gets_everything_and_the_second_time_changes_nothing(address: DatabaseAddress) -> None:
    table = QueueTable(open_database(address), "bot_jobs")

    ensure_schema(table)
    ensure_schema(table)

    assert missing(table.database) == []
    assert stored_version(table) == SCHEMA_VERSION


def test_starters_at_the_same_moment_all_end_up_with_the_same_tables(address: DatabaseAddress) -> None:
    database = open_database(address)
    barrier = threading.Barrier(STARTERS)
    errors: list[BaseException] = []

    def start() -> None:
        barrier.wait()
        try:
            ensure_schema(QueueTable(database, "bot_jobs"))
        except BaseException as error:  # noqa: BLE001 - the test fails on any of them, below
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(STARTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert missing(database) == []


def test_a_missing_column_or_index_is_added_and_the_rows_stay(queue: DatabaseQueue) -> None:
    database = queue.database
    queue.enqueue(Update("{}", 1, "message"))
    in_sqlite = "SQLite" in database.identity
    execute(database, "DROP INDEX bot_jobs_turn" if in_sqlite else "DROP INDEX turn ON bot_jobs")
    execute(database, "ALTER TABLE bot_jobs DROP COLUMN expires_at")
    execute(database, "UPDATE bot_jobs_meta SET value = '0'")

    queue.ensure_schema()

    assert missing(database) == []
    assert queue.counts() == Counts(pending=1)


def test_tables_of_a_newer_version_are_refused_and_left_alone(queue: DatabaseQueue) -> None:
    execute(queue.database, f"UPDATE bot_jobs_meta SET value = '{SCHEMA_VERSION + 1}'")

    with pytest.raises(ConfigurationError, match=f"version {SCHEMA_VERSION + 1}"):
        queue.ensure_schema()

    assert stored_version(queue.table) == SCHEMA_VERSION + 1


def test_looking_at_a_queue_without_tables_says_that_they_are_missing(address: DatabaseAddress) -> None:
    queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())

    with pytest.raises(SchemaMissing):
        queue.counts()


def test_a_change_that_takes_longer_than_any_other_statement_may_is_waited_for(
    queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large table is written anew for a new column; giving up would leave every process with half a schema."""
    if "SQLite" in queue.database.identity:
        pytest.skip("SQLite answers in this process: there is nothing to wait for")
    mysql = importlib.import_module("scalable.lib.queue.dialects.mysql_login")
    execute(queue.database, "ALTER TABLE bot_jobs DROP COLUMN history")
    execute(queue.database, "UPDATE bot_jobs_meta SET value = '3'")
    monkeypatch.setattr(mysql, "READ_SECONDS", 1)
    impatient = DatabaseQueue(open_database(queue.database._address), "bot_jobs", RetryPolicy())
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        def work(session: Session) -> None:
            session.execute("LOCK TABLES bot_jobs READ")
            locked.set()
            go_on.wait(60)
            session.execute("UNLOCK TABLES")

        queue.database.run(work)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(60)
    threading.Timer(3, go_on.set).start()

    impatient.ensure_schema()

    holder.join(60)
    assert missing(queue.database) == []
    with pytest.raises(DatabaseUnavailable):
        impatient.database.run(lambda session: session.rows("SELECT SLEEP(3)"))
