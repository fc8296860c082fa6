"""Somebody else at the queue while a worker runs a job: sees whether the job still has its lease, and would reap it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.sqlite import SqliteDatabase
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.waiting import PATIENCE_SECONDS

LOOK_SECONDS = 0.02
LOOK = "SELECT lease_expires_at FROM bot_jobs WHERE id = :id AND status = 'processing' AND reserved_by = :worker"
DELAY = "SELECT (julianday(available_at) - julianday(updated_at)) * 86400 FROM bot_jobs WHERE id = :id"


class LeaseWatch:
    """Looks from `with` on, over a connection of its own, at a job that `worker` is to run.

    `expiries` are the ends of its lease, in the order they were seen; `reaped` is how many leases it found run out.
    """

    def __init__(self, path: Path, job_id: int, worker: str) -> None:
        self.expiries: list[str] = []
        self.reaped = 0
        self._database = SqliteDatabase(SqliteAddress(path))
        self._queue = DatabaseQueue(self._database, "bot_jobs", RetryPolicy(), LeaseTerms(grace_seconds=0))
        self._job = {"id": job_id, "worker": worker}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lease watch")

    def delay_seconds(self) -> float:
        """How long the job waits for its next attempt."""
        [(seconds,)] = self._database.run(lambda session: session.rows(DELAY, id=self._job["id"]))
        return float(seconds)

    def __enter__(self) -> LeaseWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=PATIENCE_SECONDS)
        self._queue.close()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            for (expires,) in self._database.run(lambda session: session.rows(LOOK, **self._job)):
                if expires not in self.expiries:
                    self.expiries.append(str(expires))
            reaped = self._queue.reap()
            self.reaped += reaped.retried + reaped.failed
