"""What an operator does to jobs: run again (see requeue.py), run now, skip, delete. Used by the page and the shell.

Each function is a method of DatabaseQueue. It changes only a job in the state it is for, and raises an error with the
state otherwise: of two operators at once, the second is shown the state the first left. The words in
braces: statements.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from scalable.lib.errors import JobNotFound, WrongState
from scalable.lib.queue import history
from scalable.lib.queue.history import entry_text
from scalable.lib.queue.parking import end_run
from scalable.lib.queue.requeue import requeue_one

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue

SKIPPED, DELETED = "skipped by hand", "deleted by hand"

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


def requeue(queue: DatabaseQueue, job_id: int) -> bool:
    """A failed or expired job starts anew with all its attempts. Raises JobNotFound or WrongState.

    Whether newer jobs of its lane have run already, so that it cannot run before them any more.
    """
    batch = requeue_one(queue, job_id)
    if batch is None:
        _refuse(queue, job_id, "only failed and expired jobs can be run again")
    return batch.overtaken > 0


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
