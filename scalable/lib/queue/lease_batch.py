"""What is done to several leases of one worker at once: renewed, completed, let go, whichever lanes they are of.

Jobs that were held behind another one of their lane, see held_jobs.py, become done together with it; and its lease
moves on to the next one that is run. The public functions are methods of DatabaseQueue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scalable.lib.errors import LeaseLost
from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.held_jobs import IS_HELD, LET_GO
from scalable.lib.queue.job import DONE, PROCESSING, Lease, by_token
from scalable.lib.queue.parking import unpark_next
from scalable.lib.queue.rows import short_text
from scalable.lib.queue.table import QueueTable

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue

# Extends all leases of one worker that are still held. By primary key; what another worker has by now is not touched.
RENEW_MANY = """
UPDATE {jobs}
SET lease_expires_at = {in:seconds}, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'processing'
  AND reserved_by = :worker
"""

# Which leases are those of running jobs, when some are not what was expected. By primary key.
LEASES = """
SELECT id, lease_token
FROM {jobs}
WHERE id IN ({ids})
  AND status = 'processing'
LIMIT :limit
"""

# The end of several jobs of one claim. By primary key; only for their own lease. {alone} is ALONE, or nothing.
COMPLETE_MANY = """
UPDATE {jobs}
SET status = 'done', processed_at = {now}, updated_at = {now}, error_message = NULL, lease_expires_at = NULL
WHERE id IN ({ids})
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# Those that were run behind them, right after that and in the same transaction. By primary key.
COMPLETE_HELD = f"""
UPDATE {{jobs}}
SET status = 'done', attempts = attempts + 1, parked = 0, processed_at = {{now}}, updated_at = {{now}},
    error_message = NULL, lease_expires_at = NULL
{IS_HELD}
"""

# The lease moves on to a held job, which runs now. By primary key; the one before it is done by then, and the unique
# index one_running_per_lane makes sure of it. Others may be parked in the lane: the end of this run will see to it.
MOVE_ON = f"""
UPDATE {{jobs}}
SET status = 'processing', attempts = attempts + 1, parked = 0, has_followers = 1, updated_at = {{now}},
    lease_expires_at = {{in:seconds}}
{IS_HELD}
"""


# What the bot wrote in a run that is stored as done. By primary key; only while that run was the job's last one.
KEEP_NOTE = """
UPDATE {jobs}
SET error_message = :text, warned = :warned, updated_at = {now}
WHERE id = :id
  AND status = 'done'
  AND lease_token = :token
"""


class _NotAllHeld(Exception):
    """Some of the jobs are no longer held: nothing is changed."""


def let_go(queue: DatabaseQueue, leases: Sequence[Lease]) -> None:
    """Held jobs of claim_lanes will not be run under the lease of the one before them. Safe to repeat."""
    for token, of_claim in by_token(leases).items():
        queue.table.change_ids(LET_GO, (lease.job_id for lease in of_claim), token=token)


def renew_many(queue: DatabaseQueue, leases: Sequence[Lease], lease_seconds: float) -> list[Lease]:
    """`renew` all leases of one worker, in one statement; those that were lost. Safe to repeat."""
    if not leases:
        return []
    ids, worker = {lease.job_id for lease in leases}, leases[0].worker
    if queue.table.change(RENEW_MANY, ids=ids, worker=worker, seconds=lease_seconds) == len(leases):
        return []
    held = set(queue.table.rows(LEASES, ids=ids, limit=len(ids)))
    return [lease for lease in leases if (lease.job_id, lease.token) not in held]


def keep_warnings(queue: DatabaseQueue, warnings: Sequence[tuple[Lease, str]]) -> None:
    """Keep what the bot wrote, by a lease that `complete` ended, and count the job as done with warnings.

    Safe to repeat. A worker that is killed between the two loses the text alone.
    """

    def work(session: Session) -> None:
        for lease, text in warnings:
            session.execute(queue.table.sql(KEEP_NOTE), **_note(lease, text, is_warning=True))

    if warnings:
        queue.table.in_transaction(work)


def keep_note(queue: DatabaseQueue, lease: Lease, text: str, is_warning: bool) -> None:
    """Keep another note than the one that `complete` was given, of a run that is stored as done. Safe to repeat."""
    queue.table.change(KEEP_NOTE, **_note(lease, text, is_warning))


def _note(lease: Lease, text: str, is_warning: bool) -> dict[str, Any]:
    values = {"id": lease.job_id, "token": lease.token, "text": short_text(text)}
    return {**values, "warned": int(is_warning)}


def complete_many(
    queue: DatabaseQueue, leases: Sequence[Lease], going_on: Sequence[Lease] = (), lease_seconds: float = 0.0
) -> list[Lease]:
    """Each run succeeded: processing → done; the leases that were lost. Safe to repeat. Most quickly of one claim.

    Of a lane of claim_lanes: the jobs from the first to the last that was run, in one call. `going_on`: held jobs,
    one of a lane, that are run next: their leases of `lease_seconds` begin. Needed before such a job is given
    another end than this one, and for a run that takes long; when its lease is returned, it must not be run.
    """
    lost: list[Lease] = []
    moving = by_token(going_on)
    for token, of_claim in by_token(leases).items():
        if token in moving or any(lease.held_by for lease in of_claim):
            lost += _complete_lanes(queue.table, of_claim, moving.get(token, []), lease_seconds)
            continue
        lost += _complete_claim(queue, token, of_claim)
    return lost


def _complete_claim(queue: DatabaseQueue, token: str, leases: list[Lease]) -> list[Lease]:
    """Jobs that were claimed themselves, by one claim: those without followers together, then those with some."""
    ids = [lease.job_id for lease in leases]
    alone = queue.table.change(COMPLETE_MANY.replace("{alone}", sql.ALONE), ids=ids, token=token)
    if alone == len(ids):
        return []
    held = set(queue.table.rows(LEASES, ids=ids, limit=len(ids)))
    followed = [lease for lease in leases if (lease.job_id, token) in held]
    lost = _complete_lanes(queue.table, followed, [], 0.0) if followed else []
    if alone + len(followed) < len(ids):  # some were lost, or were completed by a call whose answer was
        lost += [lease for lease in leases if lease not in followed and not _completed(queue, lease)]
    return lost


def _completed(queue: DatabaseQueue, lease: Lease) -> bool:
    try:
        queue.complete(lease)
        return True
    except LeaseLost:
        return False


def _complete_lanes(
    table: QueueTable, done: Sequence[Lease], going_on: Sequence[Lease], lease_seconds: float
) -> list[Lease]:
    """End the runs of jobs of one claim, and move their leases on to `going_on`; the leases that were lost.

    All in one transaction; when a lease was lost, in one for each lane.
    """
    try:
        _complete(table, done, going_on, lease_seconds)
        return []
    except _NotAllHeld:
        pass
    lost: list[Lease] = []
    for head in dict.fromkeys(lease.head for lease in done):
        of_lane = [lease for lease in done if lease.head == head]
        next_one = [lease for lease in going_on if lease.head == head]
        try:
            _complete(table, of_lane, next_one, lease_seconds)
        except _NotAllHeld:  # or this very change was made, and only its answer was lost
            lost += _without_state(table, of_lane, DONE) + _without_state(table, next_one, PROCESSING)
    return lost


def _complete(table: QueueTable, done: Sequence[Lease], going_on: Sequence[Lease], lease_seconds: float) -> None:
    token = done[0].token
    ids, next_ids = ([lease.job_id for lease in leases] for leases in (done, going_on))

    def work(session: Session) -> None:
        ended = {lease.head: lease.job_id for lease in done}
        if session.execute(table.sql(COMPLETE_MANY.replace("{alone}", "")), ids=ids, token=token) != len(ended):
            raise _NotAllHeld
        held = len(ids) - len(ended)
        if held and session.execute(table.sql(COMPLETE_HELD), ids=ids, token=token) != held:
            raise _NotAllHeld
        moved = {"ids": next_ids, "token": token, "seconds": lease_seconds}
        if next_ids and session.execute(table.sql(MOVE_ON), **moved) != len(next_ids):
            raise _NotAllHeld
        for lease in going_on:
            ended.pop(lease.head, None)
        if ended:
            unpark_next(table, session, list(ended.values()))

    table.in_transaction(work)


def _without_state(table: QueueTable, leases: Sequence[Lease], status: str) -> list[Lease]:
    """Those of the leases whose job is not in that state by them."""
    states = {lease: table.rows(sql.STATE, id=lease.job_id) for lease in leases}
    return [lease for lease, rows in states.items() if not rows or tuple(rows[0]) != (status, lease.token)]
