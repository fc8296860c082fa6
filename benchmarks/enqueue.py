"""What the queue adds to an INSERT: `enqueue` against the bare statement, one row at a time, each committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pymysql

from benchmarks.figures import ratios, spread, table, verdict
from benchmarks.jobs import new_job
from benchmarks.server import DURABLE, IN_MEMORY, Server, make_queue
from scalable.lib.queue.database_queue import DatabaseQueue

GOAL = 0.8
ROUNDS, ROWS, LANES = 40, 200, 1_000
TABLE, SAME, PLAIN = "bot_jobs", "bare_same", "bare_plain"
# The row that ENQUEUE stores for a job that is neither urgent nor short-lived.
BARE = """
INSERT INTO `{table}` (payload, update_id, update_type, lane, available_at, created_at)
VALUES (%s, %s, %s, %s, NOW(3), NOW(3))
"""


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: rows per second of the three ways, with and without the disk."""
    queue = make_queue(server.address, TABLE)
    try:
        with server.connect() as connection:
            _make_bare_tables(connection)
            parts = []
            for title, durability in (("Every commit on disk", DURABLE), ("Commits in memory only", IN_MEMORY)):
                server.set_durability(durability)
                say(f"enqueue: measuring, {title.lower()}")
                parts.append(f"{title}:\n\n{_report(_measured(queue, connection))}")
        return "\n\n".join(parts)
    finally:
        queue.close()
        server.set_durability(DURABLE)
        server.drop(TABLE, SAME, PLAIN)


def _make_bare_tables(connection: pymysql.connections.Connection[Any]) -> None:
    with connection.cursor() as cursor:
        for name in (SAME, PLAIN):
            cursor.execute(f"CREATE TABLE `{name}` LIKE `{TABLE}`")
        cursor.execute(f"SHOW INDEX FROM `{PLAIN}`")
        indexes = sorted({row[2] for row in cursor.fetchall()} - {"PRIMARY"})
        cursor.execute(f"ALTER TABLE `{PLAIN}` " + ", ".join(f"DROP INDEX `{index}`" for index in indexes))


def _measured(queue: DatabaseQueue, connection: pymysql.connections.Connection[Any]) -> dict[str, list[float]]:
    """Rows per second of each way, by round; each round starts with another one of them."""
    ways: list[tuple[str, Callable[[range], None]]] = [
        (TABLE, lambda numbers: _enqueue(queue, numbers)),
        (SAME, lambda numbers: _insert(connection, SAME, numbers)),
        (PLAIN, lambda numbers: _insert(connection, PLAIN, numbers)),
    ]
    rates: dict[str, list[float]] = {name: [] for name, _ in ways}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COALESCE(MAX(update_id), 0) + 1 FROM `{TABLE}`")
        [(first,)] = cursor.fetchall()
    for number in range(-1, ROUNDS):  # round -1 warms up
        turn = number % len(ways)
        for name, work in ways[turn:] + ways[:turn]:
            started = time.perf_counter()
            work(range(first, first + ROWS))
            rates[name].append(ROWS / (time.perf_counter() - started))
        first += ROWS
    return {name: by_round[1:] for name, by_round in rates.items()}


def _enqueue(queue: DatabaseQueue, numbers: range) -> None:
    for number in numbers:
        queue.enqueue(new_job(number, LANES))


def _insert(connection: pymysql.connections.Connection[Any], name: str, numbers: range) -> None:
    statement = BARE.format(table=name)
    with connection.cursor() as cursor:
        for number in numbers:
            job = new_job(number, LANES)
            cursor.execute(statement, (job.payload, job.update_id, job.update_type, job.lane))


def _report(rates: dict[str, list[float]]) -> str:
    names = {TABLE: "queue.enqueue", SAME: "bare INSERT, same columns and indexes",
             PLAIN: "bare INSERT, primary key only (for information)"}
    rows = []
    for name, title in names.items():
        ratio = ratios(rates[TABLE], rates[name])
        goal = verdict(ratio.median, at_least=GOAL) if name == SAME else ""
        rows.append([title, spread(rates[name]).text(0), ratio.text(), goal])
    heads = ["one row at a time", "rows/s (rounds)", "enqueue is … times as fast (rounds)", f"goal ≥ {GOAL}"]
    return table(heads, rows)
