"""Maintenance of the queue, done now and then: deadlines, old rows, rows of another program.

Each function is a method of DatabaseQueue, and safe in several processes at once: a batch is read without a lock, and
each row of it changed only if it is still what it was. worker/maintenance.py says which process does it, and when;
statements.py has the words in braces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalable.lib.queue.far_times import ADOPTED_LEASE_SECONDS, OTHER_PROGRAM, make_due, shorten_leases
from scalable.lib.queue.job import DONE, EXPIRED, FAILED, Adopted, QueueSnapshot
from scalable.lib.queue.notes import LONGEST_HOLD_SECONDS
from scalable.lib.queue.parking import end_run
from scalable.lib.queue.reaping import TO_BE_REAPED
from scalable.lib.queue.statements import PAUSED, UNPARK
from scalable.lib.queue.table import QueueTable

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue

BATCH = 100
TOO_LATE = "not run: when its turn came, it was too late for an answer to be of use"

# Jobs that are not worth running any more, or never expire and are not urgent any more. By index turn, among the
# urgent ones only; one that expires stays urgent until then, so it is found here.
OVERDUE = """
SELECT id
FROM {jobs} {use:turn}
WHERE status = 'pending'
  AND parked IN (0, 1)
  AND priority IN (0, 1)
  AND expires_at <= {now}
LIMIT :limit
"""

URGENT_TOO_LONG = """
SELECT id
FROM {jobs} {use:turn}
WHERE status = 'pending'
  AND parked IN (0, 1)
  AND priority IN (0, 1)
  AND urgent_until <= {now}
  AND expires_at IS NULL
LIMIT :limit
"""

# They wait like all others from now on. By primary key.
SLOW_DOWN = """
UPDATE {jobs}
SET priority = 2, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
"""

EXPIRE = """
UPDATE {jobs}
SET status = 'expired', processed_at = {now}, updated_at = {now}, error_message = :error
WHERE id = :id
  AND status = 'pending'
  AND expires_at <= {now}
  {alone}
"""

# Jobs finished longer than `:seconds` ago. By index status_created: they were made before that.
OLD = """
SELECT id
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at < {ago:seconds}
  AND processed_at < {ago:seconds}
ORDER BY created_at, id
LIMIT :limit
"""

# By primary key, and only what is still finished: an operator may have requeued it.
DELETE = """
DELETE FROM {jobs}
WHERE id IN ({ids})
  AND status = :status
  AND processed_at < {ago:seconds}
"""

# Running jobs without a lease: another program took them, the PHP version before it was replaced. By index turn.
ADOPT_RUNNING = """
UPDATE {jobs}
SET lease_token = :token, lease_expires_at = {in:seconds}, reserved_by = :other_program, updated_at = {now}
WHERE status = 'processing'
  AND parked IN (0, 1)
  AND lease_expires_at IS NULL
"""

# Parked jobs that no other job of their lane will unpark: the one they waited for was deleted. By indexes turn and
# open_lane; one condition with OR would make SQLite read the whole lane for every job of it. The hint keeps MySQL from
# reading all jobs once to look the lanes up in them (manual: "Optimizing Subqueries with Semijoin Transformations").
STRANDED = """
SELECT id
FROM {jobs} AS job {use:turn}
WHERE status = 'pending'
  AND parked = 1
  AND priority IN (0, 1, 2)
  AND available_at <= {now}
  AND NOT EXISTS (
    SELECT /*+ NO_SEMIJOIN() */ 1 FROM {jobs} AS running
    WHERE {running:running} = job.lane)
  AND NOT EXISTS (
    SELECT /*+ NO_SEMIJOIN() */ 1 FROM {jobs} AS waiting {use:open_lane}
    WHERE {open:waiting} = job.lane AND waiting.status = 'pending' AND waiting.parked = 0)
ORDER BY priority, available_at, id
LIMIT :limit
"""


def _first_waiting(priority: int) -> str:
    return (
        f"(SELECT {{age:available_at}} FROM {{jobs}} {{use:turn}} WHERE status = 'pending' AND parked = 0"
        f" AND priority = {priority} ORDER BY available_at LIMIT 1)"
    )


# The queue at a glance. By primary key and index turn: the first row of each priority, the few that are running, and
# the urgent ones.
SNAPSHOT = f"""
SELECT
    (SELECT MAX(id) FROM {{jobs}}),
    {{id_step}},
    {PAUSED},
    (SELECT {{age:held_until}} FROM {{jobs}}_meta WHERE name = 'breaker'),
    EXISTS (SELECT 1 FROM {{jobs}} {{use:turn}} WHERE {TO_BE_REAPED}),
    EXISTS (SELECT 1 FROM {{jobs}} {{use:turn}}
            WHERE status = 'pending' AND parked IN (0, 1) AND priority IN (0, 1) AND urgent_until <= {{now}}),
    {", ".join(_first_waiting(priority) for priority in (0, 1, 2))}
LIMIT 1
"""


def snapshot(queue: DatabaseQueue) -> QueueSnapshot:
    """What has come, what is due, and whether there is something to reap or to expire: one statement that is cheap."""
    grace_seconds = queue.lease_terms.grace_seconds
    [(newest, id_step, paused, probe, ran_out, late, *ages)] = queue.table.rows(SNAPSHOT, grace_seconds=grace_seconds)
    due = [-age / 1_000_000 for age in ages if age is not None and not paused]
    if probe is not None:  # while the bot's side is down nothing is due before the next probe
        due = [max(seconds, min(-probe / 1_000_000, LONGEST_HOLD_SECONDS)) for seconds in due]
    return QueueSnapshot(newest or 0, min(due) if due else None, bool(ran_out or late), int(id_step))


def expire(queue: DatabaseQueue) -> int:
    """Pending jobs that are not worth running any more become expired; how many did. Works in small batches.

    Those that are just not urgent any more wait in line like all others from now on.
    """
    table, total = queue.table, 0
    while True:
        overdue = table.rows(OVERDUE, limit=BATCH)
        ended = sum(end_run(table, EXPIRE, job_id, error=TOO_LATE) for (job_id,) in overdue)
        total += ended
        if not ended or len(overdue) < BATCH:
            break
    while True:
        late = table.rows(URGENT_TOO_LONG, limit=BATCH)
        if not table.change_ids(SLOW_DOWN, (row[0] for row in late)) or len(late) < BATCH:
            return total


def prune(queue: DatabaseQueue, done_seconds: float, failed_seconds: float, limit: int = 1_000_000) -> int:
    """Delete jobs finished longer ago than that: done and expired ones, and failed ones; how many.

    At most `limit` of each kind, in small batches by primary key, so that no other statement waits long.
    """
    keep_seconds = {DONE: done_seconds, EXPIRED: done_seconds, FAILED: failed_seconds}
    return sum(_prune(queue.table, status, seconds, limit) for status, seconds in keep_seconds.items())


def _prune(table: QueueTable, status: str, seconds: float, limit: int) -> int:
    total = 0
    while total < limit:
        old = table.rows(OLD, status=status, seconds=seconds, limit=min(BATCH, limit - total))
        total += table.change_ids(DELETE, (row[0] for row in old), status=status, seconds=seconds)
        if len(old) < BATCH:
            break
    return total


def adopt(queue: DatabaseQueue) -> Adopted:
    """Repair rows that another program changed; how many rows. Safe to repeat, costs little.

    Running jobs get a lease, so that they are reaped unless that program finishes them in time. A lane whose first job
    was deleted moves on. Times that lie too far ahead are put right, see far_times.py.
    """
    table = queue.table
    running = table.change(ADOPT_RUNNING, token="adopted", other_program=OTHER_PROGRAM, seconds=ADOPTED_LEASE_SECONDS)
    waiting, ahead = make_due(queue), shorten_leases(queue)
    stranded = table.rows(STRANDED, limit=BATCH)
    return Adopted(running, waiting, table.change_ids(UNPARK, (row[0] for row in stranded)), ahead)
