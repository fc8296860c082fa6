"""What becomes of the jobs of a worker that died, or has not been heard since its lease ran out.

The database alone cannot know which of them were run. Where the worker's own log of its runs is at hand (see
worker/run_log.py), what succeeded is stored as done, and what was not begun had no attempt. Without it every one counts
as an attempt, because it may be why the worker died. Safe in several processes: each row is changed only if it is still
what it was read as.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.held_jobs import end_hold_behind, held_behind
from scalable.lib.queue.history import DIED, RELEASED, RETRIED, entry_text
from scalable.lib.queue.job import DONE, FAILED, KnownRuns, Lease, Reaped
from scalable.lib.queue.parking import end_run
from scalable.lib.queue.rows import time_of

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue

# What a worker of this name has run; None when that is not known.
RunsOf = Callable[[str], Optional[KnownRuns]]
BATCH = 100

# A lease that ran out and was not found so before, or was, and its worker has not been heard for the grace time since.
# A renewal, and the next claim, set lease_expires_at later than lease_missed_at.
TO_BE_REAPED = """status = 'processing'
  AND lease_expires_at < {now}
  AND (lease_missed_at IS NULL OR lease_missed_at < lease_expires_at OR lease_missed_at <= {ago:grace_seconds})"""

# By index turn: the rows that are processing are as many as the workers.
EXPIRED_LEASES = f"""
SELECT id, attempts, lease_token, reserved_by, updated_at, lane, COALESCE(lease_missed_at >= lease_expires_at, 0)
FROM {{jobs}} {{use:turn}}
WHERE {TO_BE_REAPED}
LIMIT :limit
"""

# The grace time of a lease begins. By primary key; of two reapers the first one begins it. At {moment}, because the
# statement may have waited for a lock until now, as those of the workers have. `updated_at` stays the time of the last
# heartbeat.
MISS = """
UPDATE {jobs}
SET lease_missed_at = {moment}, updated_at = updated_at
WHERE id IN ({ids})
  AND status = 'processing'
  AND lease_expires_at < {now}
  AND (lease_missed_at IS NULL OR lease_missed_at < lease_expires_at)
"""

# Leases of one worker that is known to be dead. By index turn, as above.
LEASES_OF_WORKER = """
SELECT id, attempts, lease_token, reserved_by, updated_at, lane
FROM {jobs} {use:turn}
WHERE status = 'processing'
  AND reserved_by = :worker
LIMIT :limit
"""

# Only a lease that is still what it was read as. {ran_out} is RAN_OUT, or nothing when the owner is dead.
_HELD = """WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {ran_out}
  {alone}
"""

# Takes a lease away, so that its late owner can change nothing. By primary key; two reapers: the second finds no row.
REVOKE_TO_PENDING = f"""
UPDATE {{jobs}}
SET history = {{history:entry}}, status = 'pending', available_at = {{in:seconds}}, updated_at = {{now}},
    error_message = :error, lease_token = NULL, lease_expires_at = NULL
{_HELD}"""

REVOKE_TO_FAILED = f"""
UPDATE {{jobs}}
SET history = {{history:entry}}, status = 'failed', processed_at = {{now}}, updated_at = {{now}},
    error_message = :error, lease_token = NULL, lease_expires_at = NULL
{_HELD}"""

# The same for one that its worker had not begun: it has had no attempt, and keeps its place in the queue.
REVOKE_NOT_BEGUN = f"""
UPDATE {{jobs}}
SET history = {{history:entry}}, status = 'pending', attempts = attempts - 1, updated_at = {{now}}, lease_token = NULL,
    lease_expires_at = NULL
{_HELD}"""

# Not one that was renewed after it was read.
RAN_OUT = "AND lease_expires_at < {now}"


def reap(queue: DatabaseQueue, worker: Optional[str] = None, runs_of: RunsOf = lambda _: None) -> Reaped:
    """End the leases that ran out, or, at once, those of a `worker` that is known to be dead.

    A lease that is found to have run out gets the grace time of lease_terms.py, and is ended by a later call, of any
    process, unless its worker renewed it meanwhile. Jobs of ended leases wait for the next attempt, or fail when
    attempts are used up; those that `runs_of` the worker knows better become done, or are given back as they were.
    """
    if worker is not None:
        return _end_leases(queue, queue.table.rows(LEASES_OF_WORKER, worker=worker, limit=BATCH), "", runs_of)
    total, grace_seconds = Counter[str](), queue.lease_terms.grace_seconds
    while True:
        over = queue.table.rows(EXPIRED_LEASES, grace_seconds=grace_seconds, limit=BATCH)
        missed = queue.table.change_ids(MISS, (row[0] for row in over if not row[-1]))
        reaped = _end_leases(queue, [row[:-1] for row in over if row[-1]], RAN_OUT, runs_of)
        total.update(vars(reaped))
        if not missed and reaped == Reaped():
            return Reaped(**total)


def _end_leases(queue: DatabaseQueue, leases: list[tuple[Any, ...]], condition: str, runs_of: RunsOf) -> Reaped:
    runs = {holder: runs_of(holder) for holder in {row[3] for row in leases if row[3]}}
    ends = Counter(end for row in leases for end in _end_lease(queue, row, condition, runs.get(row[3])))
    return Reaped(retried=ends[RETRIED], failed=ends[FAILED], not_begun=ends[RELEASED], done=ends[DONE])


def _end_lease(queue: DatabaseQueue, row: tuple[Any, ...], condition: str, runs: Optional[KnownRuns]) -> list[str]:
    """What became of the job, and of those behind it that are done; empty when somebody else was faster."""
    job_id, attempts, token, holder, heartbeat_at, lane = row
    if runs is not None and (job_id, token) in runs.succeeded:
        return _store_successes(queue, row, runs)
    table, policy = queue.table, queue.retry_policy
    heard = f"{time_of(heartbeat_at):%Y-%m-%d %H:%M:%S} UTC"
    error = f"worker {holder} died or lost its database during attempt {attempts}; last heartbeat at {heard}"
    entry = entry_text(DIED, holder or "", error)
    told: dict[str, Any] = {"error": error, "entry": entry}

    def end_hold(session: Session) -> None:
        end_hold_behind(table, session, (lane, job_id), token, entry, runs)

    if runs is not None and (job_id, token) not in runs.begun:
        becomes, statement = RELEASED, REVOKE_NOT_BEGUN
        told = {"entry": entry_text(RELEASED, holder or "", f"worker {holder} died before it began this update")}
    elif policy.used_up(attempts):
        becomes, statement = FAILED, REVOKE_TO_FAILED
    else:
        becomes, statement = RETRIED, REVOKE_TO_PENDING
        told["seconds"] = policy.delay_seconds(attempts)
    also = end_hold if lane is not None else None
    ended = end_run(table, statement.replace("{ran_out}", condition), job_id, also, token=token, **told)
    return [becomes] if ended else []


def _store_successes(queue: DatabaseQueue, row: tuple[Any, ...], runs: KnownRuns) -> list[str]:
    """The run succeeded, and perhaps some of those behind it; one behind these that was begun ends as a dead one's."""
    job_id, _, token, holder, heartbeat_at, lane = row
    behind = [] if lane is None else held_behind(queue.table, lane, job_id, token)
    done = [Lease(job_id, token, holder)]
    while behind and (behind[0], token) in runs.succeeded:
        done.append(Lease(behind.pop(0), token, holder, job_id))
    rest = [Lease(each, token, holder, job_id) for each in behind]
    begun = rest[:1] if rest and (rest[0].job_id, token) in runs.begun else []
    if queue.complete_many(done, begun):
        return []
    ends = [DONE] * len(done)
    if begun:
        return ends + _end_lease(queue, (begun[0].job_id, 1, token, holder, heartbeat_at, lane), "", runs)
    queue.let_go(rest)
    return ends
