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


def set_clock_back(queue: DatabaseQueue, seconds: float) -> None:
    """Make every stored time lie `seconds` further ahead: so it is for all who look after the clock was set back."""
    table, lite = queue.table.name, "SQLite" in queue.database.place
    moved = "strftime('%Y-%m-%d %H:%M:%f', {0}, '+' || :s || ' seconds')" if lite else "({0} + INTERVAL :s SECOND)"
    stamp, rest = ("substr(value, 1, 23)", "substr(value, 24)") if lite else ("LEFT(value, 23)", "SUBSTRING(value, 24)")
    stamped = (
        f"{moved.format(stamp)} || {rest}"
        if lite
        else f"CONCAT({moved.format(f'CAST({stamp} AS DATETIME(3))')}, {rest})"
    )
    notes = ", ".join(f"'{name}'" for name in ("paused", "totals", "webhook", "webhook_before", "alerts"))
    statements = [
        f"UPDATE {table} SET " + ", ".join(f"{name} = {moved.format(name)}" for name in _TIMES),
        f"UPDATE {table}_meta SET held_until = {moved.format('held_until')}",
        f"UPDATE {table}_meta SET value = {stamped} WHERE name IN ({notes})",
        f"UPDATE {table}_workers SET heartbeat_at = {moved.format('heartbeat_at')}",
        # From the last one on, because each is moved to the place of another.
        f"UPDATE {table}_minutes SET minute = {moved.format('minute')}" + ("" if lite else " ORDER BY minute DESC"),
    ]
    for statement in statements:
        queue.table.change(statement, s=seconds)


def let_leases_run_out(queue: DatabaseQueue) -> None:
    """Let time pass until a lease that runs now can be reaped: it was found to have run out, and was not renewed."""
    let_pass(queue, queue.lease_terms.lease_seconds + 1)
    queue.reap()
    let_pass(queue, queue.lease_terms.grace_seconds + 1)
