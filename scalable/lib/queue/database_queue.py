"""DatabaseQueue: the verbs of the queue. Knows what a job goes through; leaves words and connections to the dialect."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Optional

from scalable.lib.errors import DuplicateKey, JobNotFound, JobNotRequeueable, LeaseLost, SchemaMissing
from scalable.lib.queue import statements as sql
from scalable.lib.queue.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.database import Database, Session
from scalable.lib.queue.job import (
    DONE,
    FAILED,
    PENDING,
    ClaimedJob,
    Counts,
    Enqueued,
    JobSummary,
    Lease,
    NewJob,
    Reaped,
    ServerDescription,
)
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.schema import ensure_schema

MAX_ERROR_CHARACTERS = 4000
BATCH = 100


def open_database(address: DatabaseAddress) -> Database:
    """The dialect for `address`; nothing is connected yet, and only the driver that is needed is loaded."""
    if isinstance(address, SqliteAddress):
        from scalable.lib.queue.sqlite import SqliteDatabase

        return SqliteDatabase(address)
    from scalable.lib.queue.mysql import MySqlDatabase

    return MySqlDatabase(address)


class DatabaseQueue:
    """A durable queue of updates in one table. Safe to share between threads.

    Delivery is at least once; an update_id is enqueued once. All times are the database's clock. Every verb raises
    DatabaseUnavailable when the database cannot do it now, and has then changed nothing or can safely be repeated.
    """

    def __init__(self, database: Database, table: str, retry_policy: RetryPolicy) -> None:
        self.database = database
        self.table = table
        self.retry_policy = retry_policy
        self._rendered: dict[str, str] = {}

    def ensure_schema(self) -> None:
        """Make the tables or bring them up to date; see schema.ensure_schema."""
        ensure_schema(self.database, self.table)

    def enqueue(self, job: NewJob) -> Enqueued:
        """Store a new pending job, or find the one its update_id already has. Commits before it returns."""
        try:
            return self._enqueue(job)
        except SchemaMissing:
            self.ensure_schema()
            return self._enqueue(job)

    def _enqueue(self, job: NewJob) -> Enqueued:
        values = {"payload": job.payload, "update_id": job.update_id, "update_type": job.update_type}
        try:
            job_id = self.database.run(lambda session: session.insert(self._sql(sql.ENQUEUE), **values))
            return Enqueued(job_id, duplicate=False)
        except DuplicateKey:
            found = self._rows(sql.FIND_UPDATE, update_id=job.update_id)
            if not found:  # pruned between the two statements, so it is no duplicate any more
                return self._enqueue(job)
            return Enqueued(int(found[0][0]), duplicate=True)

    def claim(self, worker: str, lease_seconds: float, limit: int = 1) -> list[ClaimedJob]:
        """Up to `limit` due jobs, longest waiting first, each under a lease of `lease_seconds` for `worker`.

        The attempt is counted here, so that a job that kills its worker uses its attempts up.
        """
        token = secrets.token_hex(8)
        in_transaction = self.database.claims_in_transaction()

        def work(session: Session) -> list[ClaimedJob]:
            claimed: list[ClaimedJob] = []
            wanted = limit * self.database.candidates_per_job
            for row in session.rows(self._sql(sql.CANDIDATES), limit=wanted):
                if len(claimed) == limit:
                    break
                values = {"id": row[0], "worker": worker, "token": token, "seconds": lease_seconds}
                if session.execute(self._sql(sql.TAKE), **values) == 1:
                    claimed.append(ClaimedJob(row[0], row[1], row[2] + 1, row[3], row[4], Lease(row[0], token, worker)))
            return claimed

        return self.database.run(work, transaction=in_transaction)

    def heartbeat(self, lease: Lease, lease_seconds: float) -> None:
        """Let the lease run `lease_seconds` from now. Raises LeaseLost."""
        if not self._change(sql.HEARTBEAT, lease, seconds=lease_seconds):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    def complete(self, lease: Lease) -> None:
        """The bot handled the update: processing → done. Safe to repeat with the same lease. Raises LeaseLost."""
        self._finish(sql.COMPLETE, lease, DONE)

    def retry(self, lease: Lease, error: str, delay_seconds: float) -> None:
        """The attempt failed: processing → pending, due in `delay_seconds`. Raises LeaseLost."""
        self._finish(sql.RETRY, lease, PENDING, error=_short(error), seconds=delay_seconds)

    def fail(self, lease: Lease, error: str) -> None:
        """The job will not be tried again by itself: processing → failed. Raises LeaseLost."""
        self._finish(sql.FAIL, lease, FAILED, error=_short(error))

    def release(self, lease: Lease) -> None:
        """Give the job back not run: processing → pending at once, the attempt refunded. Raises LeaseLost."""
        self._finish(sql.RELEASE, lease, PENDING)

    def reap(self) -> Reaped:
        """End the leases that ran out: their jobs wait for the next attempt, or fail when attempts are used up."""
        return self._reap(self._rows(sql.EXPIRED_LEASES, limit=BATCH))

    def reap_worker(self, worker: str) -> Reaped:
        """The same, at once, for every lease of a worker that is known to be dead."""
        return self._reap(self._rows(sql.LEASES_OF_WORKER, worker=worker, limit=BATCH))

    def _reap(self, leases: list[tuple[Any, ...]]) -> Reaped:
        retried = failed = 0
        for job_id, attempts, token, worker in leases:
            error = f"worker {worker} died or lost its database during attempt {attempts}"
            lease = Lease(job_id, token, worker)
            if self.retry_policy.used_up(attempts):
                failed += self._change(sql.REVOKE_TO_FAILED, lease, error=error)
            else:
                delay = self.retry_policy.delay_seconds(attempts)
                retried += self._change(sql.REVOKE_TO_PENDING, lease, error=error, seconds=delay)
        return Reaped(retried, failed)

    def requeue(self, job_id: int) -> None:
        """A failed or expired job starts anew with all its attempts. Raises JobNotFound or JobNotRequeueable."""
        if self.database.run(lambda session: session.execute(self._sql(sql.REQUEUE), id=job_id)):
            return
        status = self.find(job_id).status
        raise JobNotRequeueable(f"job {job_id} is {status}: only failed and expired jobs can be run again")

    def requeue_failed(self) -> int:
        """Every job that is failed now starts anew; how many did. Works in small batches and may be repeated."""
        total = 0
        batch = self._rows(sql.FIRST_IN_STATE, status=FAILED, limit=BATCH)
        while batch:
            for job_id, _ in batch:
                total += self.database.run(_executing(self._sql(sql.REQUEUE), id=job_id))
            last_id, created_at = batch[-1]
            batch = self._rows(sql.NEXT_IN_STATE, status=FAILED, created_at=created_at, id=last_id, limit=BATCH)
        return total

    def counts(self) -> Counts:
        """How many jobs are in each state, now."""
        return Counts(**{status: int(count) for status, count in self._rows(sql.COUNTS)})

    def newest(self, limit: int) -> list[JobSummary]:
        """The `limit` newest jobs, newest first."""
        return [self._summary(row) for row in self._rows(sql.NEWEST, limit=limit)]

    def find(self, job_id: int) -> JobSummary:
        """One job. Raises JobNotFound."""
        rows = self._rows(sql.FIND, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return self._summary(rows[0])

    def payload(self, job_id: int) -> str:
        """The update as Telegram sent it. Raises JobNotFound."""
        rows = self._rows(sql.PAYLOAD, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return str(rows[0][0])

    def describe_server(self) -> ServerDescription:
        """What database answers, and how jobs are claimed there."""
        return self.database.describe()

    def close(self) -> None:
        """Close this thread's connection; the queue stays usable."""
        self.database.close()

    def _finish(self, statement: str, lease: Lease, becomes: str, **values: Any) -> None:
        if self._change(statement, lease, **values):
            return
        # No row: either the lease is gone, or this very change was made and only its answer was lost on the way.
        state = self._rows(sql.STATE, id=lease.job_id)
        if not state or tuple(state[0]) != (becomes, lease.token):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    def _change(self, statement: str, lease: Lease, **values: Any) -> int:
        return self.database.run(_executing(self._sql(statement), id=lease.job_id, token=lease.token, **values))

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.database.run(lambda session: session.rows(self._sql(statement), **values))

    def _sql(self, statement: str) -> str:
        if statement not in self._rendered:
            self._rendered[statement] = self.database.render(statement.replace("{jobs}", self.table))
        return self._rendered[statement]

    def _summary(self, row: tuple[Any, ...]) -> JobSummary:
        def time_of(value: Any) -> Optional[datetime]:
            return None if value is None else self.database.time_of(value)

        return JobSummary(
            id=row[0], status=row[1], update_id=row[2], update_type=row[3], attempts=row[4],
            available_at=self.database.time_of(row[5]), reserved_at=time_of(row[6]), reserved_by=row[7],
            processed_at=time_of(row[8]), created_at=self.database.time_of(row[9]), error_message=row[10],
        )


def _executing(statement: str, **values: Any) -> Callable[[Session], int]:
    return lambda session: session.execute(statement, **values)


def _short(error: str) -> str:
    """The end of a long text, because that is where a program says why it stopped."""
    clean = error.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_ERROR_CHARACTERS else "…" + clean[-MAX_ERROR_CHARACTERS + 1:]
