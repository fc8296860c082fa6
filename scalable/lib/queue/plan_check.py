"""Asks the server how it would run the usual statements, so that a slow plan is found before the table is full."""

from __future__ import annotations

from typing import Any

from scalable.lib.queue import (
    bare_rows,
    far_times,
    held_jobs,
    lane_walk,
    lease_batch,
    maintenance,
    notes,
    outages,
    reaping,
    requeue,
)
from scalable.lib.queue import statements as sql
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.job import STATUSES
from scalable.lib.queue.views import browse, search, totals
from scalable.lib.queue.views.minutes import COUNT_ENQUEUED, READ_MINUTES, READ_SLOTS
from scalable.lib.queue.worker_registry import RUNNING

_TIME = "2026-01-01 00:00:00.000"
_AHEAD = {"tolerance_seconds": 10, "our_seconds": 360, "any_seconds": 3660}
# What runs again and again while the queue is used; the values only have to be of the right kind.
STATEMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "find what was stored": (sql.FIND_UPDATES, {"ids": [1, 2, 3], "limit": 32}),
    "claim": (sql.CANDIDATES, {"limit": 4}),
    "claim urgent ones": (sql.URGENT_CANDIDATES, {"limit": 4}),
    "claim a probe": (sql.PROBE_CANDIDATES, {"limit": 4, "ids": [0, 1, 2]}),
    "claim a probe that never failed": (
        sql.PROBE_CANDIDATES_THAT_NEVER_FAILED,
        {"limit": 100, "ids": [0, 1, 2], "retried": "x", "outage": "x", "requeued": "x"},
    ),
    "the breaker": (outages.READ, {}),
    "successes lately": (outages.SUCCEEDED, {"seconds": 60}),
    "renew": (lease_batch.LEASES, {"ids": [1, 2, 3], "limit": 3}),
    "park": (sql.DUE, {"limit": 500}),
    "look for what blocks": (sql.OPEN_IN_LANE, {"lane_0": "chat:1"}),
    "walk from lane to lane": (lane_walk.HEAD_OF_NEXT_LANE, {"lane": "chat:1"}),
    "look into a lane": (sql.RUNNING_IN_LANE, {"lane": "chat:1"}),
    "unpark": (sql.NEXT_IN_LANE, {"id_0": 1}),
    "hold": (held_jobs.BEHIND, {"lane_0": "chat:1", "id_0": 1, "limit": 10}),
    "held by a dead worker": (held_jobs.HELD_BEHIND, {"lane": "chat:1", "id": 1, "limit": 10}),
    "look": (maintenance.SNAPSHOT, {"grace_seconds": 30}),
    "reap": (reaping.EXPIRED_LEASES, {"grace_seconds": 30, "limit": 100}),
    "expire": (maintenance.OVERDUE, {"limit": 100}),
    "slow down": (maintenance.URGENT_TOO_LONG, {"limit": 100}),
    "adopt": (maintenance.STRANDED, {"limit": 100}),
    "adopt bare rows": (bare_rows.WAITING_BARE, {"bare": bare_rows.BARE, "limit": 100}),
    "running bare row": (bare_rows.RUNNING_BARE, {"bare": bare_rows.BARE}),
    "make due": (far_times.DUE_TOO_LATE, {"limit": 100, "other_program": "", **_AHEAD}),
    "shorten leases": (far_times.LONG_LEASES, {"limit": 100, "tolerance_seconds": 10, "longest_seconds": 360}),
    "prune": (maintenance.OLD, {"status": "done", "seconds": 1, "limit": 100}),
    "count enqueued": (COUNT_ENQUEUED, {"minute": "2026-01-01 00:00:00.000", "next_minute": "2026-01-01 00:01:00.000"}),
    "read minutes": (READ_MINUTES, {"seconds": 3600, "limit": 100}),
    "running jobs": (RUNNING, {"limit": 100}),
    "count a large state": (totals.STEP_END, {"status": "done", "created_at": _TIME, "id": 1, "offset": 100}),
}
_FOUND = {"update_type": "message", "lane": "chat:1", "digits": "1", "error": "%x%"}
# What the dashboard asks for its pages.
PAGE_STATEMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "notes": (notes.READ_NOTES, {}),
    "counts": (browse.COUNT_ALL_UP_TO, {f"most_{status}": 1001 for status in STATUSES}),
    "count one state": (browse.COUNT_UP_TO, {"status": "done", "limit": 10_001}),
    "waiting": (browse.WAITING, {}),
    "in back-off": (browse.RETRYING, {"most": 1000}),
    "newest job": (browse.NEWEST_AGE, {}),
    "minutes put together": (READ_SLOTS, {"seconds": 3600, "slot": 60, "limit": 100}),
    "running jobs": (RUNNING, {"limit": 100}),
    "one job": (browse.DETAIL, {"id": 1}),
    "open jobs of a lane": (browse.OPEN_IN_LANE, {"lane": "chat:1", "limit": 20}),
    "first and last id": (search.BOUNDS, {}),
    "job by number": (search.BY_NUMBER, {"number": 1}),
    "walk": (search.statement(search.WALK, _FOUND), {"before": 100, "lowest": 1, "limit": 50, **_FOUND}),
    "walk through a state": (search.statement(search.AMONG, _FOUND), {"ids": [1, 2, 3], "limit": 3, **_FOUND}),
    "earlier of a state": (search.EARLIER_IN_STATE, {"status": "failed", "created_at": _TIME, "id": 1, "limit": 50}),
    "earlier of a lane": (search.EARLIER_IN_LANE, {"lane": "chat:1", "before": 100, "limit": 50}),
    "place of a job": (search.POSITION, {"id": 1}),
    "next failed": (requeue.NEXT_IN_STATE, {"status": "failed", "created_at": _TIME, "id": 1, "limit": 100}),
    "newest id": (requeue.NEWEST_ID, {}),
    "newer ones that ran": (requeue.LAST_THAT_RAN, {"lane_0": "chat:1", "id_0": 1, "limit": 100}),
}


def slow_plans(queue: DatabaseQueue) -> list[str]:
    """A line for every statement the server would sort or scan a whole table for; empty when all is well.

    MySQL and MariaDB: type ALL or index without a limit on it, or `Using filesort`. SQLite: SCAN without an index, or a
    temporary B-tree for ORDER BY.
    """
    return [
        f"{verb}: {step}"
        for verb, (statement, values) in {**STATEMENTS, **PAGE_STATEMENTS}.items()
        for step in slow_steps(queue.database, queue.table.sql(statement), values)
    ]


def slow_steps(database: Database, rendered: str, values: dict[str, Any]) -> list[str]:
    """The same of one statement that is in the database's own words already: the steps of its plan that are slow."""
    explained = f"{database.explain_sql} {rendered}"
    rows = database.run(lambda session: session.rows(explained, **values))
    steps = (" ".join(str(value) for value in row if value is not None) for row in rows)
    return [step for step in steps if _is_slow(step)]


def _is_slow(step: str) -> bool:
    # The few rows found, put together; a SELECT without a table.
    if any(sign in step for sign in ("<union", "<derived", "(subquery", "SCAN found", "CONSTANT ROW")):
        return False
    words = step.replace("UNION ALL", "").split()
    sorts = "filesort" in step or "TEMP B-TREE FOR ORDER BY" in step
    return sorts or "ALL" in words or ("SCAN" in words and "USING" not in words)
