"""Asks the server how it would run the claim, so that a slow plan is found before a full table finds it."""

from __future__ import annotations

from typing import Any

from scalable.lib.queue import statements as sql
from scalable.lib.queue import upkeep
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.minutes import COUNT_ENQUEUED, READ_MINUTES
from scalable.lib.queue.registry import RUNNING

# What runs again and again while the queue is used; the values only have to be of the right kind.
STATEMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "claim": (sql.CANDIDATES, {"limit": 4}),
    "park": (sql.BLOCKED, {"limit": 500}),
    "look into a lane": (sql.RUNNING_IN_LANE, {"lane": "chat:1"}),
    "unpark": (sql.NEXT_IN_LANE, {"id": 1}),
    "look": (upkeep.LOOK, {}),
    "reap": (upkeep.EXPIRED_LEASES, {"limit": 100}),
    "expire": (upkeep.OVERDUE, {"limit": 100}),
    "slow down": (upkeep.URGENT_TOO_LONG, {"limit": 100}),
    "adopt": (upkeep.STRANDED, {"limit": 100}),
    "make due": (upkeep.DUE_TOO_LATE, {"limit": 100, "seconds": 60, "stranger": ""}),
    "prune": (upkeep.OLD, {"status": "done", "seconds": 1, "limit": 100}),
    "count enqueued": (COUNT_ENQUEUED, {"minute": "2026-01-01 00:00:00.000", "next_minute": "2026-01-01 00:01:00.000"}),
    "read minutes": (READ_MINUTES, {"seconds": 3600, "limit": 100}),
    "running jobs": (RUNNING, {"limit": 100}),
}


def slow_plans(queue: DatabaseQueue) -> list[str]:
    """A line for every statement the server would sort or scan a whole table for; empty when all is well.

    MySQL and MariaDB: type ALL or index without a limit on it, or `Using filesort`. SQLite: SCAN without an index, or a
    temporary B-tree for ORDER BY.
    """
    problems = []
    for verb, (statement, values) in STATEMENTS.items():
        for step in _plan(queue, statement, values):
            if _is_slow(step):
                problems.append(f"{verb}: {step}")
    return problems


def _plan(queue: DatabaseQueue, statement: str, values: dict[str, Any]) -> list[str]:
    rendered = queue.database.render(statement, queue.table)
    prefix = queue.database.explain_sql
    return [
        " ".join(str(value) for value in row if value is not None)
        for row in queue.database.run(lambda session: session.rows(f"{prefix} {rendered}", **values))
    ]


def _is_slow(step: str) -> bool:
    # The few rows found, put together; a SELECT without a table.
    if any(sign in step for sign in ("<union", "<derived", "(subquery", "CONSTANT ROW")):
        return False
    words = step.replace("UNION ALL", "").split()
    return "filesort" in step or "ALL" in words or "TEMP B-TREE" in step or ("SCAN" in words and "USING" not in words)
