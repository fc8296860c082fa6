"""DatabaseQueue: the verbs of the queue. Knows what a job goes through; leaves words and connections to the dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from scalable.lib.errors import DuplicateKey, JobNotFound, LeaseLost, SchemaMissing
from scalable.lib.queue import history, maintenance, operator_actions
from scalable.lib.queue import statements as sql
from scalable.lib.queue.claim import claim_jobs
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.history import past
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
    QueueSnapshot,
    Reaped,
    ServerDescription,
)
from scalable.lib.queue.new_row import new_row
from scalable.lib.queue.notes import PAUSED, Notes
from scalable.lib.queue.operator_actions import Batch, Position
from scalable.lib.queue.parking import end_run
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.rows import summary
from scalable.lib.queue.schema import ensure_schema, repair_schema
from scalable.lib.queue.table import QueueTable
from scalable.lib.queue.views.search import Filter
from scalable.lib.telegram.update import Update

# Of the process of a pool, whose web server, watcher and maintenance take turns at them; each worker has one more.
POOL_CONNECTIONS = 3
MAX_ERROR_CHARACTERS = 4000
# Jobs that one statement stores: a small share of the megabyte that some servers take in one packet.
MOST_AT_ONCE = 32


def open_database(address: DatabaseAddress) -> Database:
    """The dialect for `address`; nothing is connected yet, and only the driver that is needed is loaded."""
    if isinstance(address, SqliteAddress):
        from scalable.lib.queue.dialects.sqlite import SqliteDatabase

        return SqliteDatabase(address)
    from scalable.lib.queue.dialects.mysql import MySqlDatabase

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
        self._jobs = QueueTable(database, table)
        self._notes = Notes(database, table)

    def ensure_schema(self) -> None:
        """Make the tables or bring them up to date; see schema.ensure_schema."""
        ensure_schema(self.database, self.table)

    def enqueue(self, job: Update) -> Enqueued:
        """Store a new pending job, or find the one its update_id already has. Commits before it returns.

        Makes the tables where they are missing, also one that somebody dropped.
        """
        insert, values = self._jobs.sql(sql.ENQUEUE), new_row(job)
        is_repaired = False
        while True:
            try:
                return Enqueued(self.database.run(lambda session: session.insert(insert, **values)), duplicate=False)
            except SchemaMissing:
                if is_repaired:
                    raise
                repair_schema(self.database, self.table)
                is_repaired = True
            except DuplicateKey:
                found = self._jobs.rows(sql.FIND_UPDATE, update_id=job.update_id)
                if found:  # else it was pruned between the two statements, so it is no duplicate any more
                    return Enqueued(int(found[0][0]), duplicate=True)

    def enqueue_many(self, jobs: Sequence[Update]) -> list[int]:
        """Store 1 to MOST_AT_ONCE new pending jobs, in this order, by one statement, and commit; their ids.

        Raises DuplicateKey when an update is there already or comes twice, and SchemaMissing; then none of them
        was stored. ValueError for too many, and for a job without `update_id`: it could be stored twice.
        """
        update_ids = [job.update_id for job in jobs]
        if not 1 <= len(jobs) <= MOST_AT_ONCE or None in update_ids:
            raise ValueError(f"{len(jobs)} jobs: expected 1 to {MOST_AT_ONCE}, each with an update_id")
        insert = self._jobs.sql(sql.enqueue_rows(len(jobs)))
        values = {f"{name}_{number}": value for number, job in enumerate(jobs) for name, value in new_row(job).items()}
        first_or_last = self.database.run(lambda session: session.insert(insert, **values))
        if len(jobs) == 1:
            return [first_or_last]
        # Which id each of them has, no server promises in all its modes.
        ids = dict(self._jobs.rows(sql.FIND_UPDATES, ids=update_ids, limit=MOST_AT_ONCE))
        return [ids[update_id] for update_id in update_ids]

    def prepared_insert(self) -> Optional[PreparedInsert]:
        """How the usual `enqueue` is done in a process that lives for it alone; None where it cannot be."""
        return self.database.prepared_insert(self._jobs.sql(sql.ENQUEUE))

    def claim(self, worker: str, lease_seconds: float, limit: int = 1) -> list[ClaimedJob]:
        """Up to `limit` due jobs, each under a lease of `lease_seconds` for `worker`; never two of one lane.

        First those whose answer is soon worth nothing, then those that have waited longest; a job whose lane is busy,
        or has an earlier one waiting, is not due. The attempt is counted here, so that a job that kills its worker
        uses its attempts up.
        """
        return claim_jobs(self._jobs, worker, lease_seconds, limit)

    def renew(self, lease: Lease, lease_seconds: float) -> None:
        """Let the lease run `lease_seconds` from now. Raises LeaseLost."""
        if not self._change(sql.RENEW, lease, seconds=lease_seconds):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    def complete(self, lease: Lease, note: Optional[str] = None) -> None:
        """The bot handled the update: processing → done. Safe to repeat with the same lease. Raises LeaseLost.

        `note` is kept with the job, where otherwise its error message is: something a person may want to know.
        """
        if not end_run(self._jobs, sql.COMPLETE, lease.job_id, token=lease.token, note=note and _short(note)):
            self._check_repeated(lease, DONE)

    def complete_many(self, leases: Sequence[Lease]) -> list[Lease]:
        """The same for several jobs at once; the leases that were lost, whose jobs were not changed. Safe to repeat.

        One statement for the jobs of one claim, when no job waits behind one of them.
        """
        lost = []
        for token in dict.fromkeys(lease.token for lease in leases):
            of_claim = [lease for lease in leases if lease.token == token]
            ids = [lease.job_id for lease in of_claim]
            if len(ids) == 1 or self._jobs.change(sql.COMPLETE_MANY, ids=ids, token=token) < len(ids):
                lost += [lease for lease in of_claim if not self._completed(lease)]
        return lost

    def _completed(self, lease: Lease) -> bool:
        try:
            self.complete(lease)
            return True
        except LeaseLost:
            return False

    def retry(self, lease: Lease, error: str, delay_seconds: float) -> None:
        """The attempt failed: processing → pending, due in `delay_seconds`. Raises LeaseLost."""
        short = _short(error)
        values = {
            "token": lease.token,
            "error": short,
            "seconds": delay_seconds,
            "past": past(history.RETRIED, lease.worker, short),
        }
        if not end_run(self._jobs, sql.RETRY, lease.job_id, **values):
            self._check_repeated(lease, PENDING)

    def fail(self, lease: Lease, error: str) -> None:
        """The job will not be tried again by itself: processing → failed. Raises LeaseLost."""
        short = _short(error)
        values = {"token": lease.token, "error": short, "past": past(history.FAILED, lease.worker, short)}
        if not end_run(self._jobs, sql.FAIL, lease.job_id, **values):
            self._check_repeated(lease, FAILED)

    def release(self, lease: Lease) -> None:
        """Give the job back not run: processing → pending at once, the attempt refunded. Raises LeaseLost."""
        told = past(history.RELEASED, lease.worker)
        if not end_run(self._jobs, sql.RELEASE, lease.job_id, token=lease.token, past=told):
            self._check_repeated(lease, PENDING)

    def snapshot(self) -> QueueSnapshot:
        """The queue at a glance, in one statement that costs next to nothing: for whoever waits for something to do."""
        return maintenance.snapshot(self._jobs)

    def reap(self) -> Reaped:
        """End the leases that ran out: their jobs wait for the next attempt, or fail when attempts are used up."""
        return maintenance.reap(self._jobs, self.retry_policy)

    def reap_worker(self, worker: str) -> Reaped:
        """The same, at once, for every lease of a worker that is known to be dead."""
        return maintenance.reap(self._jobs, self.retry_policy, worker)

    def expire(self) -> int:
        """Pending jobs that are not worth running any more become expired; how many did. Works in small batches.

        Those that are just not urgent any more take their place among the others.
        """
        return maintenance.expire(self._jobs)

    def prune(self, done_seconds: float, failed_seconds: float, limit: int = 1_000_000) -> int:
        """Delete jobs finished longer ago than that: done and expired ones, and failed ones; how many.

        At most `limit` of each kind, in small batches by primary key, so that nobody waits for it.
        """
        return maintenance.prune(self._jobs, {DONE: done_seconds, EXPIRED: done_seconds, FAILED: failed_seconds}, limit)

    def adopt(self) -> Adopted:
        """Take care of what another program did to this table; how many rows. Safe to repeat, costs little.

        Running ones get a lease, so that they are reaped unless that program finishes them in time. Waiting ones that
        are due later than our longest delay (the PHP version writes local time) are made due now. A lane whose head was
        deleted moves on.
        """
        return maintenance.adopt(self._jobs, self.retry_policy.max_seconds)

    def requeue(self, job_id: int) -> None:
        """A failed or expired job starts anew with all its attempts. Raises JobNotFound or WrongState."""
        operator_actions.requeue(self._jobs, job_id)

    def requeue_failed(self) -> int:
        """Every job that is failed now starts anew; how many did. Works in small batches and may be repeated."""
        total, after, until_id = 0, None, self.newest_id()
        while True:
            batch = self.requeue_matching(Filter(status=FAILED), maintenance.BATCH, after, until_id)
            total, after = total + batch.requeued, batch.after
            if after is None:
                return total

    def requeue_matching(self, wanted: Filter, limit: int, after: Optional[Position], until_id: int) -> Batch:
        """One step of the same for the jobs a filter means: the next `limit` of its state, failed or expired.

        Begin with `after` None and `until_id` newest_id(), and go on with what the Batch says.
        """
        return operator_actions.requeue_matching(self._jobs, wanted, limit, after, until_id)

    def newest_id(self) -> int:
        """The id of the newest job; 0 without any."""
        return operator_actions.newest_id(self._jobs)

    def run_now(self, job_id: int) -> None:
        """A job that waits for its next attempt is due at once. Raises JobNotFound or WrongState."""
        operator_actions.run_now(self._jobs, job_id)

    def skip(self, job_id: int) -> None:
        """A waiting job is failed, so that what waits behind it goes on. Raises JobNotFound or WrongState."""
        operator_actions.skip(self._jobs, job_id)

    def delete(self, job_id: int) -> None:
        """A job that does not run is gone for good. Raises JobNotFound or WrongState."""
        operator_actions.delete(self._jobs, job_id)

    def pause(self, by: str) -> None:
        """No job is given out from now on, to no worker; those that run are finished. `by`: who wants it, for others.

        Jobs are still enqueued. Safe to repeat.
        """
        self._notes.write(PAUSED, by)

    def resume(self) -> bool:
        """Jobs are given out again; False when they were."""
        return self._notes.forget(PAUSED)

    def counts(self) -> Counts:
        """How many jobs are in each state, now."""
        return Counts(**{status: int(count) for status, count in self._jobs.rows(sql.COUNTS)})

    def newest(self, limit: int) -> list[JobSummary]:
        """The `limit` newest jobs, newest first."""
        return [summary(self.database, row) for row in self._jobs.rows(sql.NEWEST, limit=limit)]

    def find(self, job_id: int) -> JobSummary:
        """One job. Raises JobNotFound."""
        rows = self._jobs.rows(sql.FIND, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return summary(self.database, rows[0])

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


def _short(error: str) -> str:
    """The end of a long text, because that is where a program says why it stopped."""
    clean = error.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_ERROR_CHARACTERS else "…" + clean[-MAX_ERROR_CHARACTERS + 1 :]
