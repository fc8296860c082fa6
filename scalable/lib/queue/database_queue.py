"""DatabaseQueue: the verbs of the queue. Knows what a job goes through; leaves words and connections to the dialect."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

from scalable.lib.errors import DuplicateKey, JobNotFound, JobNotRequeueable, LeaseLost, SchemaMissing
from scalable.lib.queue import statements as sql
from scalable.lib.queue.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.database import Database
from scalable.lib.queue.job import (
    DONE,
    EXPIRED,
    FAILED,
    PENDING,
    Adopted,
    ClaimedJob,
    Counts,
    Enqueued,
    JobSummary,
    Lease,
    NewJob,
    Reaped,
    ServerDescription,
)
from scalable.lib.queue.jobs_table import JobsTable
from scalable.lib.queue.lanes import claim_jobs, end_run
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.schema import ensure_schema

MAX_ERROR_CHARACTERS = 4000
BATCH = 100
# What a program that took a job without a lease is given to finish it: longer than any PHP worker's own limit.
ADOPTED_LEASE_SECONDS = 300
NOT_WORTH_IT = "not run: when its turn came, it was too late for an answer to be of use"


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
        self._jobs = JobsTable(database, table)

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
        try:
            insert = self._jobs.sql(sql.ENQUEUE)
            return Enqueued(self.database.run(lambda session: session.insert(insert, **vars(job))), duplicate=False)
        except DuplicateKey:
            found = self._jobs.rows(sql.FIND_UPDATE, update_id=job.update_id)
            if not found:  # pruned between the two statements, so it is no duplicate any more
                return self._enqueue(job)
            return Enqueued(int(found[0][0]), duplicate=True)

    def claim(self, worker: str, lease_seconds: float, limit: int = 1) -> list[ClaimedJob]:
        """Up to `limit` due jobs, each under a lease of `lease_seconds` for `worker`; never two of one lane.

        First those whose answer is soon worth nothing, then those that have waited longest; a job whose lane is busy,
        or has an earlier one waiting, is not due. The attempt is counted here, so that a job that kills its worker
        uses its attempts up.
        """
        return claim_jobs(self._jobs, worker, lease_seconds, limit)

    def heartbeat(self, lease: Lease, lease_seconds: float) -> None:
        """Let the lease run `lease_seconds` from now. Raises LeaseLost."""
        if not self._change(sql.HEARTBEAT, lease, seconds=lease_seconds):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    def complete(self, lease: Lease) -> None:
        """The bot handled the update: processing → done. Safe to repeat with the same lease. Raises LeaseLost."""
        if not end_run(self._jobs, sql.COMPLETE, lease.job_id, token=lease.token):
            self._check_repeated(lease, DONE)

    def retry(self, lease: Lease, error: str, delay_seconds: float) -> None:
        """The attempt failed: processing → pending, due in `delay_seconds`. Raises LeaseLost."""
        values = {"token": lease.token, "error": _short(error), "seconds": delay_seconds}
        if not end_run(self._jobs, sql.RETRY, lease.job_id, **values):
            self._check_repeated(lease, PENDING)

    def fail(self, lease: Lease, error: str) -> None:
        """The job will not be tried again by itself: processing → failed. Raises LeaseLost."""
        if not end_run(self._jobs, sql.FAIL, lease.job_id, token=lease.token, error=_short(error)):
            self._check_repeated(lease, FAILED)

    def release(self, lease: Lease) -> None:
        """Give the job back not run: processing → pending at once, the attempt refunded. Raises LeaseLost."""
        if not end_run(self._jobs, sql.RELEASE, lease.job_id, token=lease.token):
            self._check_repeated(lease, PENDING)

    def reap(self) -> Reaped:
        """End the leases that ran out: their jobs wait for the next attempt, or fail when attempts are used up."""
        return self._reap(self._jobs.rows(sql.EXPIRED_LEASES, limit=BATCH))

    def reap_worker(self, worker: str) -> Reaped:
        """The same, at once, for every lease of a worker that is known to be dead."""
        return self._reap(self._jobs.rows(sql.LEASES_OF_WORKER, worker=worker, limit=BATCH))

    def _reap(self, leases: list[tuple[Any, ...]]) -> Reaped:
        retried = failed = 0
        for job_id, attempts, token, worker in leases:
            error = f"worker {worker} died or lost its database during attempt {attempts}"
            if self.retry_policy.used_up(attempts):
                failed += end_run(self._jobs, sql.REVOKE_TO_FAILED, job_id, token=token, error=error)
            else:
                delay = self.retry_policy.delay_seconds(attempts)
                retried += end_run(
                    self._jobs, sql.REVOKE_TO_PENDING, job_id, token=token, error=error, seconds=delay
                )
        return Reaped(retried, failed)

    def expire(self) -> int:
        """Pending jobs that are not worth running any more become expired; how many did. Works in small batches."""
        total = 0
        while True:
            overdue = self._jobs.rows(sql.OVERDUE, limit=BATCH)
            ended = sum(end_run(self._jobs, sql.EXPIRE, job_id, error=NOT_WORTH_IT) for (job_id,) in overdue)
            total += ended
            if not ended or len(overdue) < BATCH:
                return total

    def prune(self, done_seconds: float, failed_seconds: float, limit: int = 1_000_000) -> int:
        """Delete jobs finished longer ago than that: done and expired ones, and failed ones; how many.

        At most `limit` of each kind, in small batches by primary key, so that nobody waits for it.
        """
        return sum(
            self._prune(status, seconds, limit)
            for status, seconds in ((DONE, done_seconds), (EXPIRED, done_seconds), (FAILED, failed_seconds))
        )

    def _prune(self, status: str, seconds: float, limit: int) -> int:
        total = 0
        while total < limit:
            old = self._jobs.rows(sql.OLD, status=status, seconds=seconds, limit=min(BATCH, limit - total))
            total += self._jobs.change_ids(sql.DELETE, (row[0] for row in old), status=status, seconds=seconds)
            if len(old) < BATCH:
                break
        return total

    def adopt(self) -> Adopted:
        """Take care of what another program did to this table; how many rows. Safe to repeat, costs little.

        Running ones get a lease, so that they are reaped unless that program finishes them in time. Waiting ones that
        are due later than our longest delay (the PHP version writes local time) are made due now. A lane whose head was
        deleted moves on.
        """
        running = self._jobs.change(
            sql.ADOPT_RUNNING, token="adopted", worker="another program", seconds=ADOPTED_LEASE_SECONDS
        )
        longest = self.retry_policy.max_seconds + 60
        late = self._jobs.rows(sql.DUE_TOO_LATE, seconds=longest, limit=10 * BATCH)
        waiting = self._jobs.change_ids(sql.MAKE_DUE, (row[0] for row in late), seconds=longest)
        stranded = self._jobs.rows(sql.STRANDED, limit=BATCH)
        return Adopted(running, waiting, sum(self._jobs.change(sql.UNPARK, id=row[0]) for row in stranded))

    def requeue(self, job_id: int) -> None:
        """A failed or expired job starts anew with all its attempts. Raises JobNotFound or JobNotRequeueable."""
        if self._jobs.change(sql.REQUEUE, id=job_id):
            return
        status = self.find(job_id).status
        raise JobNotRequeueable(f"job {job_id} is {status}: only failed and expired jobs can be run again")

    def requeue_failed(self) -> int:
        """Every job that is failed now starts anew; how many did. Works in small batches and may be repeated."""
        total = 0
        batch = self._jobs.rows(sql.FIRST_IN_STATE, status=FAILED, limit=BATCH)
        while batch:
            for job_id, _ in batch:
                total += self._jobs.change(sql.REQUEUE, id=job_id)
            last_id, created_at = batch[-1]
            batch = self._jobs.rows(sql.NEXT_IN_STATE, status=FAILED, created_at=created_at, id=last_id, limit=BATCH)
        return total

    def counts(self) -> Counts:
        """How many jobs are in each state, now."""
        return Counts(**{status: int(count) for status, count in self._jobs.rows(sql.COUNTS)})

    def newest(self, limit: int) -> list[JobSummary]:
        """The `limit` newest jobs, newest first."""
        return [self._summary(row) for row in self._jobs.rows(sql.NEWEST, limit=limit)]

    def find(self, job_id: int) -> JobSummary:
        """One job. Raises JobNotFound."""
        rows = self._jobs.rows(sql.FIND, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return self._summary(rows[0])

    def payload(self, job_id: int) -> str:
        """The update as Telegram sent it. Raises JobNotFound."""
        rows = self._jobs.rows(sql.PAYLOAD, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return str(rows[0][0])

    def describe_server(self) -> ServerDescription:
        """What database answers, and how jobs are claimed there."""
        return self.database.describe()

    def close(self) -> None:
        """Close this thread's connection; the queue stays usable."""
        self.database.close()

    def _check_repeated(self, lease: Lease, becomes: str) -> None:
        """No row was changed: the lease is gone, or this very change was made and only its answer was lost."""
        state = self._jobs.rows(sql.STATE, id=lease.job_id)
        if not state or tuple(state[0]) != (becomes, lease.token):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    def _change(self, statement: str, lease: Lease, **values: Any) -> int:
        return self._jobs.change(statement, id=lease.job_id, token=lease.token, **values)

    def _summary(self, row: tuple[Any, ...]) -> JobSummary:
        def time_of(value: Any) -> Optional[datetime]:
            return None if value is None else self.database.time_of(value)

        return JobSummary(
            id=row[0], status=row[1], update_id=row[2], update_type=row[3], attempts=row[4],
            available_at=self.database.time_of(row[5]), reserved_at=time_of(row[6]), reserved_by=row[7],
            processed_at=time_of(row[8]), created_at=self.database.time_of(row[9]), error_message=row[10],
        )


def _short(error: str) -> str:
    """The end of a long text, because that is where a program says why it stopped."""
    clean = error.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_ERROR_CHARACTERS else "…" + clean[-MAX_ERROR_CHARACTERS + 1:]
