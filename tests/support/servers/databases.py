"""Database servers shared by one test run, and a way to let time pass in a queue."""

from __future__ import annotations

from pathlib import Path

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import MySqlAddress
from tests.support.need import need
from tests.support.servers.database_servers import DatabaseServer, available, start_server

DATABASES = ("mariadb-10.5", "mariadb-10.11", "mariadb-11.8", "mysql-9.7")
_TIMES = (
    "available_at",
    "reserved_at",
    "processed_at",
    "created_at",
    "urgent_until",
    "expires_at",
    "lease_expires_at",
    "lease_missed_at",
)


class Servers:
    """Starts a server when the first test asks for it, and keeps it for the others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, DatabaseServer] = {}

    def get(self, name: str) -> DatabaseServer:
        """The running server of that name; skips the test at a desk, and fails it in CI, when it cannot be had."""
        if name not in self._running:
            need(available(name))
            folder = self._folder / name
            folder.mkdir()
            self._running[name] = start_server(name, folder)
        return self._running[name]

    def fresh_database(self, name: str) -> MySqlAddress:
        """A new, empty database on that server, reached by its socket."""
        server = self.get(name)
        return MySqlAddress(
            "localhost", server.port, str(server.socket), server.create_database(), server.user, server.password
        )

    def stop(self) -> None:
        """Stop them all."""
        for server in self._running.values():
            server.stop()


def let_pass(queue: DatabaseQueue, seconds: float) -> None:
    """Make everything in the queue `seconds` older, as if that time had passed by the database's clock."""
    if "SQLite" in queue.database.place:
        moved = "strftime('%Y-%m-%d %H:%M:%f', {name}, '-' || :seconds || ' seconds')"
    else:
        moved = "{name} - INTERVAL (:seconds * 1000000) MICROSECOND"
    changes = ", ".join(f"{name} = {moved.format(name=name)}" for name in _TIMES)
    queue.database.run(lambda session: session.execute(f"UPDATE {queue.table.name} SET {changes}", seconds=seconds))
    turn = f"UPDATE {queue.table.name}_meta SET held_until = {moved.format(name='held_until')} WHERE name = 'breaker'"
    queue.database.run(lambda session: session.execute(turn, seconds=seconds))


def let_leases_run_out(queue: DatabaseQueue) -> None:
    """Let time pass until a lease that runs now can be reaped: it was found to have run out, and was not renewed."""
    let_pass(queue, queue.lease_terms.lease_seconds + 1)
    queue.reap()
    let_pass(queue, queue.lease_terms.grace_seconds + 1)
