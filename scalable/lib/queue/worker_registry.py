"""The registry of workers: which there are, since when, and what each has done.

A worker writes its own row, at most every ten seconds; a row that is no longer written belongs to a worker that ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Optional

from scalable.lib.queue.rows import with_times
from scalable.lib.queue.table import QueueTable

# More than an idle worker's longest pause (BOT_WORKER_SLEEP is 60 s at most, give or take a fifth) and one heartbeat.
ALIVE_SECONDS = 90.0
# Rows of workers that were killed are kept this long, to be shown.
KEEP_GONE_SECONDS = 86_400.0
MOST_WORKERS = 1000
MOST_RUNNING = 10_000

# A worker's own row; no other process writes it. By primary key.
UPDATE_WORKER = """
UPDATE {jobs}_workers
SET host = :host, pid = :pid, started_at = {ago:up_seconds}, heartbeat_at = {now}, runs = :runs,
    succeeded = :succeeded, retried = :retried, failed = :failed, memory_kb = :memory_kb
WHERE name = :name
"""

# The first heartbeat, and the first after the row was deleted as that of a dead worker.
ADD_WORKER = """
INSERT INTO {jobs}_workers
    (name, host, pid, started_at, heartbeat_at, runs, succeeded, retried, failed, memory_kb)
VALUES
    (:name, :host, :pid, {ago:up_seconds}, {now}, :runs, :succeeded, :retried, :failed, :memory_kb)
"""

# The rows of one pool's workers, whose names begin alike. By primary key, a range of a few rows.
REFRESH = """
UPDATE {jobs}_workers
SET heartbeat_at = {now}
WHERE name >= :first
  AND name < :beyond
"""

DELETE_WORKER = """
DELETE FROM {jobs}_workers
WHERE name = :name
"""

# Reads the whole table, which has as many rows as there are workers. A heartbeat from the future is one from before the
# clock was set back; who lives has written a new one since.
ALIVE = """
SELECT name, host, pid, started_at, heartbeat_at, runs, succeeded, retried, failed, memory_kb
FROM {jobs}_workers
WHERE heartbeat_at >= {ago:seconds}
  AND heartbeat_at <= {in:seconds}
ORDER BY name
LIMIT :limit
"""

# Names first, then each row by primary key and only if it is still silent: no row of a worker at work is locked.
SILENT = """
SELECT name
FROM {jobs}_workers
WHERE heartbeat_at < {ago:seconds}
LIMIT :limit
"""

DELETE_SILENT = """
DELETE FROM {jobs}_workers
WHERE name = :name
  AND heartbeat_at < {ago:seconds}
"""

# What runs now. By index turn: the rows that are processing are about as many as the open slots.
RUNNING = """
SELECT reserved_by, id
FROM {jobs} {use:turn}
WHERE status = 'processing'
LIMIT :limit
"""


@dataclass(frozen=True)
class Heartbeat:
    """A worker's own report. `up_seconds` since it started; totals since then; `memory_kb` at its largest."""

    name: str
    host: str
    pid: int
    up_seconds: float
    runs: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    memory_kb: Optional[int] = None


@dataclass(frozen=True)
class RegisteredWorker:
    """A worker as others see it; times are UTC by the database's clock, `job_ids` is what it runs at this moment."""

    name: str
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    runs: int
    succeeded: int
    retried: int
    failed: int
    memory_kb: Optional[int]
    job_ids: tuple[int, ...]

    @property
    def pool(self) -> str:
        """How the names of its pool's workers begin; its own name when it has no pool."""
        return self.name.partition("/")[0]


class WorkerRegistry:
    """The workers of the queue in `table`. Safe to share between threads."""

    def __init__(self, table: QueueTable) -> None:
        self._table = table

    def record_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Store that the worker is alive; one statement, but for the first time. Safe to repeat."""
        self._table.upsert(UPDATE_WORKER, ADD_WORKER, **vars(heartbeat))

    def refresh(self, pool: str) -> None:
        """Store that the workers whose names begin with `pool/` are alive: the pool sees them. Safe to repeat."""
        self._table.change(REFRESH, first=f"{pool}/", beyond=f"{pool}0")  # 0 comes right after the slash

    def remove(self, worker: str) -> None:
        """The worker ended, or is known to be dead. Safe to repeat."""
        self._table.change(DELETE_WORKER, name=worker)

    def alive(self, within_seconds: float = ALIVE_SECONDS) -> list[RegisteredWorker]:
        """The workers that wrote their row in the last `within_seconds`, by name, with the jobs that each runs now."""
        rows = self._table.rows(ALIVE, seconds=within_seconds, limit=MOST_WORKERS)
        running: dict[str, tuple[int, ...]] = {}
        for name, job_id in sorted(self._table.rows(RUNNING, limit=MOST_RUNNING)) if rows else ():
            running[name] = (*running.get(name, ()), job_id)
        return [RegisteredWorker(*with_times((*row, running.get(row[0], ())), 3, 4)) for row in rows]

    def forget_gone(self, silent_seconds: float = KEEP_GONE_SECONDS) -> int:
        """Delete workers that have not written their row for `silent_seconds`; how many. Safe in several processes."""
        silent = self._table.rows(SILENT, seconds=silent_seconds, limit=MOST_WORKERS)
        return sum(self._table.change(DELETE_SILENT, name=name, seconds=silent_seconds) for (name,) in silent)
