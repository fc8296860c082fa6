"""What the queue adds to an INSERT: `enqueue` against the bare statement, one row at a time, each committed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

from benchmarks.figures import ratios, spread, table, verdict
from benchmarks.jobs import new_job
from benchmarks.server import DURABLE, IN_MEMORY, Server, make_queue
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.telegram.update import Update

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
    queue = make_queue(open_database(server.address), TABLE)
    try:
        _make_bare_tables(server)
        parts = []
        numbers = itertools.count(1)
        for title, durability in (("Every commit on disk", DURABLE), ("Commits in memory only", IN_MEMORY)):
            server.set_durability(durability)
            say(f"enqueue: measuring, {title.lower()}")
            with server.on_other_cores():
                parts.append(f"{title}:\n\n{_report(_measured(server, queue, numbers))}")
        return "\n\n".join(parts)
    finally:
        queue.close()
        server.set_durability(DURABLE)
        server.drop(TABLE, SAME, PLAIN)


def _make_bare_tables(server: Server) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        for name in (SAME, PLAIN):
            cursor.execute(f"CREATE TABLE `{name}` LIKE `{TABLE}`")
        cursor.execute(f"SHOW INDEX FROM `{PLAIN}`")
        indexes = sorted({row[2] for row in cursor.fetchall()} - {"PRIMARY"})
        cursor.execute(f"ALTER TABLE `{PLAIN}` " + ", ".join(f"DROP INDEX `{index}`" for index in indexes))


def _measured(server: Server, queue: DatabaseQueue, numbers: Iterator[int]) -> dict[str, list[float]]:
    """Rows per second of each way, by round; each round starts with another one of them.

    Each turn has a new connection, opened before its clock runs, so that no way keeps a luckier one than the others.
    """
    ways: list[tuple[str, Callable[[list[Update]], float]]] = [
        (TABLE, lambda jobs: _enqueue(queue, jobs)),
        (SAME, lambda jobs: _insert(server, SAME, jobs)),
        (PLAIN, lambda jobs: _insert(server, PLAIN, jobs)),
    ]
    rates: dict[str, list[float]] = {name: [] for name, _ in ways}
    for number in range(-1, ROUNDS):  # round -1 warms up
        jobs = [new_job(next(numbers), LANES) for _ in range(ROWS)]
        turn = number % len(ways)
        for name, seconds in ways[turn:] + ways[:turn]:
            rates[name].append(ROWS / seconds(jobs))
    return {name: by_round[1:] for name, by_round in rates.items()}


def _enqueue(queue: DatabaseQueue, jobs: list[Update]) -> float:
    queue.describe_server()  # connected
    started = time.perf_counter()
    for job in jobs:
        queue.enqueue(job)
    seconds = time.perf_counter() - started
    queue.close()
    return seconds


def _insert(server: Server, name: str, jobs: list[Update]) -> float:
    statement = BARE.format(table=name)
    with server.connect() as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        for job in jobs:
            cursor.execute(statement, (job.payload, job.update_id, job.update_type, job.lane))
        return time.perf_counter() - started


def _report(rates: dict[str, list[float]]) -> str:
    names = {
        TABLE: "queue.enqueue",
        SAME: "bare INSERT, same columns and indexes",
        PLAIN: "bare INSERT, primary key only (for information)",
    }
    rows = []
    for name, title in names.items():
        ratio = ratios(rates[TABLE], rates[name])
        goal = verdict(ratio.median, at_least=GOAL) if name == SAME else ""
        rows.append([title, spread(rates[name]).text(0), ratio.text(), goal])
    heads = ["one row at a time", "rows/s (rounds)", "enqueue is … times as fast (rounds)", f"goal ≥ {GOAL}"]
    return table(heads, rows)
