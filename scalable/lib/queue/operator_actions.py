"""What an operator does to jobs: run again, run now, skip, delete. Used by the page and the shell.

Each function is a method of DatabaseQueue. It changes only a job in the state it is for, and raises an error with the
state otherwise: of two operators at once, the second is shown the state the first left. The words in
braces: statements.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, Optional

from scalable.lib.errors import JobNotFound, WrongState
from scalable.lib.queue import history
from scalable.lib.queue.history import entry_text
from scalable.lib.queue.job import EXPIRED, FAILED
from scalable.lib.queue.parking import end_run
from scalable.lib.queue.rows import BEFORE_ALL, stored_time, time_of

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue
    from scalable.lib.queue.views.search import Filter

SKIPPED, DELETED = "skipped by hand", "deleted by hand"
# Jobs that one step of requeue_failed takes.
BATCH = 100
_POSITION = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})/([0-9]{1,19})", re.ASCII)

# A failed or expired job starts anew, with all its attempts, and is not expired a second time. By primary key; a
# second requeue finds it pending. Also for many at once.
REQUEUE = """
UPDATE {jobs}
SET history = {history:entry}, status = 'pending', attempts = 0, available_at = {now}, updated_at = {now},
    processed_at = NULL, parked = 0, priority = 2, urgent_until = NULL, expires_at = NULL
WHERE id IN ({ids})
  AND status IN ('failed', 'expired')
"""

# The jobs of a state after a given one. By index status_created, which ends in the id. Walking on from
# the last row seen ends even when jobs come back into the state behind it.
NEXT_IN_STATE = """
SELECT id, created_at
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at >= :created_at
  AND (created_at > :created_at OR id > :id)
ORDER BY created_at, id
LIMIT :limit
"""

# By primary key from its end.
NEWEST_ID = "SELECT MAX(id) FROM {jobs} LIMIT 1"

# The next attempt is due at once. By primary key; a worker that took the job meanwhile has changed its state.
RUN_NOW = """
UPDATE {jobs}
SET available_at = {now}, updated_at = {now}
WHERE id = :id
  AND status = 'pending'
  AND available_at > {now}
"""

# Given up by an operator, so that what waits behind it in its lane may go on. By primary key; see end_run for {alone}.
# Not while a worker holds it, see held_jobs.py: it may be running. What a dead worker holds is free with its lease.
SKIP = """
UPDATE {jobs}
SET history = {history:entry}, status = 'failed', processed_at = {now}, updated_at = {now}, error_message = :error
WHERE id = :id
  AND status = 'pending'
  AND (lease_expires_at IS NULL OR lease_expires_at < {now})
  {alone}
"""

# By primary key, and never what waits or runs: the order of a lane hangs on it.
DELETE_ENDED = """
DELETE FROM {jobs}
WHERE id = :id
  AND status IN ('done', 'failed', 'expired')
"""

STATUS = """
SELECT status, status = 'pending' AND lease_expires_at > {now} AS is_held
FROM {jobs}
WHERE id = :id
LIMIT 1
"""


@dataclass(frozen=True)
class Position:
    """A place in the row of a state's jobs, oldest first: behind the job with this id, enqueued at this time."""

    created_at: str
    job_id: int

    def __str__(self) -> str:
        return f"{self.created_at}/{self.job_id}"


@dataclass(frozen=True)
class Batch:
    """What one call did: jobs that will run again, jobs it looked at, where the next call begins (None: at the end)."""

    requeued: int
    looked_at: int
    after: Optional[Position]


def read_position(text: str) -> Optional[Position]:
    """What str() made of a Position; None for anything else."""
    found = _POSITION.fullmatch(text)
    return Position(found.group(1), int(found.group(2))) if found else None


def requeue(queue: DatabaseQueue, job_id: int) -> None:
    """A failed or expired job starts anew with all its attempts. Raises JobNotFound or WrongState."""
    if not queue.table.change_ids(REQUEUE, [job_id], entry=entry_text(history.REQUEUED)):
        _refuse(queue, job_id, "only failed and expired jobs can be run again")


def requeue_failed(queue: DatabaseQueue) -> int:
    """Every job that is failed now starts anew; how many did. Works in small batches and may be repeated."""
    from scalable.lib.queue.views.search import Filter

    total, after, until_id = 0, None, newest_id(queue)
    while True:
        batch = requeue_matching(queue, Filter(status=FAILED), BATCH, after, until_id)
        total, after = total + batch.requeued, batch.after
        if after is None:
            return total


def requeue_matching(
    queue: DatabaseQueue, wanted: Filter, limit: int, after: Optional[Position], until_id: int
) -> Batch:
    """The next `limit` jobs of the filter's state, failed or expired, of which those start anew that fit it.

    Begin with `after` None and `until_id` newest_id(), and go on with what the Batch says. Jobs newer than `until_id`
    are left alone, so that calls that follow each other come to an end.
    """
    from scalable.lib.queue.views.search import AMONG, matching

    if wanted.status not in (FAILED, EXPIRED):
        raise ValueError(f"status {wanted.status!r}: expected {FAILED} or {EXPIRED}")
    begin = after or Position(BEFORE_ALL, 0)
    place = {"created_at": begin.created_at, "id": begin.job_id}
    window = queue.table.rows(NEXT_IN_STATE, status=wanted.status, limit=limit, **place)
    ids = [job_id for job_id, _ in window if job_id <= until_id]
    if ids and wanted.in_a_row:
        jobs, _ = matching(queue.table, AMONG, replace(wanted, status=None), ids=ids, limit=len(ids))
        ids = [job.id for job in jobs]
    requeued = queue.table.change_ids(REQUEUE, ids, entry=entry_text(history.REQUEUED))
    if len(window) < limit:
        return Batch(requeued, len(window), None)
    last_id, created_at = window[-1]
    return Batch(requeued, len(window), Position(stored_time(time_of(created_at)), last_id))


def newest_id(queue: DatabaseQueue) -> int:
    """The id of the newest job; 0 without any."""
    return queue.table.rows(NEWEST_ID)[0][0] or 0


def run_now(queue: DatabaseQueue, job_id: int) -> None:
    """A job that waits for its next attempt is due at once. Raises JobNotFound or WrongState."""
    if not queue.table.change(RUN_NOW, id=job_id):
        _refuse(queue, job_id, "only a job that waits for its next attempt can be run now")


def skip(queue: DatabaseQueue, job_id: int) -> None:
    """A waiting job is failed, so that what waits behind it goes on. Raises JobNotFound or WrongState."""
    if not end_run(queue.table, SKIP, job_id, entry=entry_text(history.SKIPPED), error=SKIPPED):
        _refuse(queue, job_id, "only a job that waits can be skipped")


def delete(queue: DatabaseQueue, job_id: int) -> None:
    """A job that does not run is deleted; what waited behind it goes on. Raises JobNotFound or WrongState.

    A waiting job is skipped first, so that its lane moves on; in between it is failed for a moment.
    """
    end_run(queue.table, SKIP, job_id, entry=entry_text(history.SKIPPED), error=DELETED)
    if not queue.table.change(DELETE_ENDED, id=job_id):
        _refuse(queue, job_id, "a job that runs cannot be deleted")


def _refuse(queue: DatabaseQueue, job_id: int, expected: str) -> NoReturn:
    found = queue.table.rows(STATUS, id=job_id)
    if not found:
        raise JobNotFound(f"there is no job {job_id}")
    status, is_held = found[0]
    if is_held:
        raise WrongState(f"job {job_id} is about to be run: try again in a few seconds", status=status)
    raise WrongState(f"job {job_id} is {status}: {expected}", status=status)
