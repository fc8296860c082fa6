"""DatabaseQueue: the verbs of the queue. SQL words and connections are left to the dialect."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Optional

from scalable.lib.errors import DuplicateKey, JobNotFound, LeaseLost, SchemaMissing
from scalable.lib.queue import enqueue_batch, history, lease_batch, maintenance, operator_actions, reaping
from scalable.lib.queue import requeue as requeueing
from scalable.lib.queue import statements as sql
from scalable.lib.queue.claim import claim_lanes
from scalable.lib.queue.claim_request import ClaimRequest
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.history import entry_text
from scalable.lib.queue.job import (
    DONE,
    FAILED,
    PENDING,
    ClaimedJob,
    ClaimedLane,
    Counts,
    Enqueued,
    JobSummary,
    Lease,
    ServerDescription,
)
from scalable.lib.queue.lane_walk import LaneWalk
from scalable.lib.queue.lease_terms import USUAL_TERMS, LeaseTerms
from scalable.lib.queue.new_row import new_row
from scalable.lib.queue.notes import PAUSED, Notes
from scalable.lib.queue.parking import end_run, park_blocked
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.rows import short_text, summary
from scalable.lib.queue.schema import ensure_schema, repair_schema
from scalable.lib.queue.table import QueueTable

if TYPE_CHECKING:
    from scalable.lib.queue.views.browse import JobBrowser
    from scalable.lib.queue.views.minutes import Minutes
    from scalable.lib.queue.views.search import Search
    from scalable.lib.queue.views.totals import Totals
    from scalable.lib.queue.worker_registry import WorkerRegistry
    from scalable.lib.telegram.update import Update

# Of the process of a pool, whose web server, watcher and maintenance share them; each worker has one more.
POOL_CONNECTIONS = 3
RESUME_SECONDS = 10.0
# Times a row is refused as a duplicate, and none with its update_id is found. One may be: it was pruned just then.
MAX_UNEXPLAINED = 3


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

    def __init__(
        self, database: Database, table: str, retry_policy: RetryPolicy, lease_terms: LeaseTerms = USUAL_TERMS
    ) -> None:
        self.database = database
        self.table = QueueTable(database, table)
        self.retry_policy = retry_policy
        self.lease_terms = lease_terms
        self._lane_walk = LaneWalk(self.table)

    @cached_property
    def notes(self) -> Notes:
        """Short texts that every process can read."""
        return Notes(self.table)

    @cached_property
    def workers(self) -> WorkerRegistry:
        """Which workers are alive, and what each has done."""
        from scalable.lib.queue.worker_registry import WorkerRegistry

        return WorkerRegistry(self.table)

    @cached_property
    def minutes(self) -> Minutes:
        """What happened in each minute."""
        from scalable.lib.queue.views.minutes import Minutes

        return Minutes(self.table)

    @cached_property
    def jobs(self) -> JobBrowser:
        """How many jobs there are, how long they wait, each with its history."""
        from scalable.lib.queue.views.browse import JobBrowser

        return JobBrowser(self.table)

    @cached_property
    def search(self) -> Search:
        """Finds jobs, a page at a time."""
        from scalable.lib.queue.views.search import Search

        return Search(self.table)

    @cached_property
    def totals(self) -> Totals:
        """Counts the jobs of each state once a minute at most."""
        from scalable.lib.queue.views.totals import Totals

        return Totals(self.table, self.notes)

    def ensure_schema(self) -> None:
        """Make the tables or bring them up to date; see schema.ensure_schema."""
        ensure_schema(self.table)

    def enqueue(self, job: Update) -> Enqueued:
        """Store a new pending job, or find the one its update_id already has. Commits before it returns.

        Makes the tables where they are missing, also one that was dropped. Raises DuplicateKey when the database
        refuses the row for another reason than its update_id: an index of the owner's own, or ids that are used up.
        """
        insert, values = self.table.sql(sql.ENQUEUE), new_row(job)
        is_repaired = False
        unexplained = 0
        while True:
            try:
                return Enqueued(self.database.run(lambda session: session.insert(insert, **values)), duplicate=False)
            except SchemaMissing:
                if is_repaired:
                    raise
                repair_schema(self.table)
                is_repaired = True
            except DuplicateKey:
                found = self.table.rows(sql.FIND_UPDATE, update_id=job.update_id)
                if found:  # else it was pruned between the two statements, so it is no duplicate any more
                    return Enqueued(int(found[0][0]), duplicate=True)
                unexplained += 1
                if unexplained == MAX_UNEXPLAINED:
                    raise

    # Several at once: methods that are written down in enqueue_batch.py.
    enqueue_many = enqueue_batch.enqueue_many
    send_many = enqueue_batch.send_many

    def prepared_insert(self) -> Optional[PreparedInsert]:
        """The usual `enqueue`, prepared for a process that does nothing else; None where that is not possible."""
        return self.database.prepared_insert(self.table.sql(sql.ENQUEUE))

    def claim(self, worker: str, lease_seconds: float, limit: int = 1, urgent_only: bool = False) -> list[ClaimedJob]:
        """Up to `limit` due jobs, each under a lease of `lease_seconds` for `worker`; never two of one lane.

        First those that are urgent, then those that have waited longest; with `urgent_only` none without a deadline. A
        job whose lane is busy, or has an earlier one waiting, is not due. The attempt is counted here, so that a job
        that kills its worker uses its attempts up.
        """
        request = ClaimRequest(worker, lease_seconds, limit, urgent_only=urgent_only)
        return [lane.jobs[0] for lane in claim_lanes(self.table, self._lane_walk, request)]

    def claim_lanes(self, worker: str, lease_seconds: float, lanes: int, jobs: int) -> list[ClaimedLane]:
        """The same of up to `lanes` lanes, and where they have more jobs due, those as well: up to `jobs` in all.

        For a worker that runs the jobs of a lane one after the other, and tells complete_many.
        """
        return claim_lanes(self.table, self._lane_walk, ClaimRequest(worker, lease_seconds, lanes, jobs))

    def renew(self, lease: Lease, lease_seconds: float) -> None:
        """Let the lease run `lease_seconds` from now. Raises LeaseLost."""
        if not self.table.change(sql.RENEW, id=lease.job_id, token=lease.token, seconds=lease_seconds):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    def complete(self, lease: Lease, note: Optional[str] = None) -> None:
        """The bot handled the update: processing → done. Safe to repeat with the same lease. Raises LeaseLost.

        `note` is kept with the job, where otherwise its error message is: a warning for the operator.
        """
        self._end_run(sql.COMPLETE, lease, DONE, note=note and short_text(note))

    # Several at once: methods that are written down in lease_batch.py.
    let_go = lease_batch.let_go
    renew_many = lease_batch.renew_many
    complete_many = lease_batch.complete_many
    keep_warnings = lease_batch.keep_warnings
    keep_note = lease_batch.keep_note

    def retry(self, lease: Lease, error: str, delay_seconds: float) -> None:
        """The attempt failed: processing → pending, due in `delay_seconds`. Raises LeaseLost."""
        short = short_text(error)
        entry = entry_text(history.RETRIED, lease.worker, short)
        self._end_run(sql.RETRY, lease, PENDING, error=short, seconds=delay_seconds, entry=entry)

    def fail(self, lease: Lease, error: str) -> None:
        """The job will not be tried again by itself: processing → failed. Raises LeaseLost."""
        short = short_text(error)
        self._end_run(sql.FAIL, lease, FAILED, error=short, entry=entry_text(history.FAILED, lease.worker, short))

    def release(self, lease: Lease, error: str = "", delay_seconds: Optional[float] = None) -> None:
        """Give the job back not run: processing → pending at once, the attempt refunded. Raises LeaseLost.

        `error`: it was run, and failed because the bot's side was down; `delay_seconds`: due not before that.
        """
        short = short_text(error)
        entry = entry_text(history.OUTAGE if error else history.RELEASED, lease.worker, short)
        self._end_run(sql.RELEASE, lease, PENDING, error=short or None, seconds=delay_seconds, entry=entry)

    def _end_run(self, statement: str, lease: Lease, becomes: str, **values: Any) -> None:
        if end_run(self.table, statement, lease.job_id, token=lease.token, **values):
            return
        # No row was changed: the lease is gone, or this very change was made and only its answer was lost.
        state = self.table.rows(sql.STATE, id=lease.job_id)
        if not state or tuple(state[0]) != (becomes, lease.token):
            raise LeaseLost(f"job {lease.job_id} is no longer leased to {lease.worker}")

    # Maintenance: methods that are written down in maintenance.py and reaping.py.
    snapshot = maintenance.snapshot
    reap = reaping.reap
    expire = maintenance.expire
    prune = maintenance.prune
    adopt = maintenance.adopt

    # What an operator does: methods that are written down in operator_actions.py and requeue.py.
    requeue = operator_actions.requeue
    requeue_failed = requeueing.requeue_failed
    requeue_all = requeueing.requeue_all
    requeue_matching = requeueing.requeue_matching
    newest_id = requeueing.newest_id
    run_now = operator_actions.run_now
    skip = operator_actions.skip
    delete = operator_actions.delete

    def pause(self, by: str) -> None:
        """No worker can claim a job from now on; running jobs are finished. `by`: who paused the queue, to be shown.

        Jobs are still enqueued. Safe to repeat.
        """
        self.notes.write(PAUSED, by)

    def resume(self) -> bool:
        """Jobs can be claimed again; False when the queue was not paused.

        First parks what is blocked, for RESUME_SECONDS at most: no worker did meanwhile, and jobs of one lane that
        piled up would keep other lanes waiting.
        """
        ends = time.monotonic() + RESUME_SECONDS
        while park_blocked(self.table).jobs and time.monotonic() < ends:
            pass
        return self.notes.delete(PAUSED)

    def counts(self) -> Counts:
        """How many jobs are in each state, now."""
        return Counts(**{status: int(count) for status, count in self.table.rows(sql.COUNTS)})

    def newest(self, limit: int) -> list[JobSummary]:
        """The `limit` newest jobs, newest first."""
        return [summary(row) for row in self.table.rows(sql.NEWEST, limit=limit)]

    def find(self, job_id: int) -> JobSummary:
        """One job. Raises JobNotFound."""
        rows = self.table.rows(sql.FIND, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return summary(rows[0])

    def payload(self, job_id: int) -> str:
        """The update as Telegram sent it. Raises JobNotFound."""
        rows = self.table.rows(sql.PAYLOAD, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        return str(rows[0][0])

    def describe_server(self) -> ServerDescription:
        """The product and version of the server, and how jobs are claimed there."""
        return self.database.describe()

    def close(self) -> None:
        """Close this thread's connection; the queue stays usable."""
        self.database.close()
