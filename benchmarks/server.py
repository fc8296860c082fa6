"""One MariaDB for a run of the benchmarks, and queues on it. Knows no measurement."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pymysql

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.servers.database_servers import DatabaseServer, start_server

NAME = "mariadb-10.11"
# What the tests' 64 MB would measure is the disk: the parts of a million jobs that a claim reads have to fit in memory.
OPTIONS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")
# The server's default, and what a shared host has: every commit is on the disk before it is answered.
DURABLE, IN_MEMORY = 1, 0


class Server:
    """A running server with one database for the whole run."""

    def __init__(self, server: DatabaseServer) -> None:
        self.version = server.version
        self._server = server
        self._database = server.create_database()

    @property
    def address(self) -> MySqlAddress:
        """The database, by the server's Unix socket."""
        server = self._server
        return MySqlAddress("localhost", server.port, server.socket, self._database, server.user, server.password)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._server.process.pid

    @property
    def settings(self) -> dict[str, str]:
        """The same as an owner sets it."""
        address = self.address
        return {
            "BOT_DB_HOST": str(address.socket),
            "BOT_DB_NAME": address.database,
            "BOT_DB_USER": address.user,
            "BOT_DB_PASS": address.password,
        }

    def connect(self) -> pymysql.connections.Connection[Any]:
        """A connection past the queue, autocommit on and in UTC, as the queue's own are; the caller closes it."""
        connection = self._server.connect(self._database)
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'")
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return connection

    def set_durability(self, commits_flush: int) -> None:
        """DURABLE or IN_MEMORY, for all connections at once."""
        with self._server.connect(as_admin=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET GLOBAL innodb_flush_log_at_trx_commit = {int(commits_flush)}")

    @contextmanager
    def on_other_cores(self) -> Iterator[None]:
        """This process on one core and the server on the others, so that no measurement is a lucky placement."""
        cores = os.sched_getaffinity(0)
        ours = {min(cores)}
        try:
            self._place(ours, cores - ours or cores)
            yield
        finally:
            self._place(cores, cores)

    def _place(self, ours: set[int], theirs: set[int]) -> None:
        os.sched_setaffinity(0, ours)
        for thread in Path(f"/proc/{self._server.process.pid}/task").iterdir():
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.sched_setaffinity(int(thread.name), theirs)

    def status(self) -> dict[str, int]:
        """The server's own counters, those that are whole numbers."""
        with self._server.connect(as_admin=True) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS")
            return {name: int(value) for name, value in cursor.fetchall() if value.isdigit()}

    def analyze(self, table: str) -> None:
        """Give the optimizer its statistics, as the server would after a while by itself."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE `{table}`")
            cursor.fetchall()

    def drop(self, *tables: str) -> None:
        """Remove tables that are there."""
        with self.connect() as connection, connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"DROP TABLE IF EXISTS `{table}`, `{table}_meta`")


def open_queue(address: MySqlAddress, table: str) -> DatabaseQueue:
    """The queue under measurement, on tables that are there already."""
    return DatabaseQueue(open_database(address), table, RetryPolicy())


def make_queue(database: Database, table: str) -> DatabaseQueue:
    """The same, with its tables made; queues on one `database` used by turns share one connection."""
    queue = DatabaseQueue(database, table, RetryPolicy())
    queue.ensure_schema()
    return queue


@contextmanager
def running_server() -> Iterator[Server]:
    """A fresh server, stopped and removed at the end. Raises NotAvailable with the reason when there is none."""
    with TemporaryDirectory(prefix="bench-") as folder:
        server = start_server(NAME, Path(folder), extra_args=OPTIONS)
        try:
            yield Server(server)
        finally:
            server.stop()
