"""Jobs that a worker runs one after the other under the lease of the first of them: consecutive ones of its lane.

A quick bot would otherwise spend more time on claims than on runs where few chats write much. They stay pending, and
carry the token and the end of the lease: while the first one runs, nothing else of its lane can be claimed. When they
were run, all become done in one transaction; before one of them is retried, failed or noted, the lease moves on to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.job import DONE, PROCESSING, ClaimedJob, Lease
from scalable.lib.queue.parking import unpark_next
from scalable.lib.queue.table import QueueTable

# More than any claim holds behind one job.
MOST_HELD = 100

# The jobs behind one of their lane, and whether each may be held: it was never tried and cannot expire. By index
# open_lane, a short range of it for each lane.
BEHIND = """
SELECT * FROM (
    SELECT id, lane,
        status = 'pending' AND attempts = 0 AND history IS NULL AND expires_at IS NULL AND available_at <= {now} AS may
    FROM {jobs} AS job {use:open_lane}
    WHERE {open:job} = :lane_0 AND id > :id_0
    ORDER BY id
    LIMIT :limit) AS behind_0"""

# Holds them for the lease of another one of their lane. By primary key.
HOLD = """
UPDATE {jobs}
SET lease_token = :token, reserved_by = :worker, reserved_at = {now}, lease_expires_at = {in:seconds},
    updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
"""

# Which of them are held. By primary key.
HELD = """
SELECT id, payload, update_id, update_type, lane, {age:created_at}
FROM {jobs}
WHERE id IN ({ids})
  AND status = 'pending'
  AND lease_token = :token
ORDER BY id
LIMIT :limit
"""

# A held job has the token of the lease and its end, and waits; one that was tried keeps the token alone.
_IS_HELD = """WHERE id IN ({ids})
  AND status = 'pending'
  AND lease_token = :token
  AND lease_expires_at IS NOT NULL"""

# They may be skipped again; whoever claims the first of them holds them anew. By primary key.
LET_GO = f"""
UPDATE {{jobs}}
SET lease_token = NULL, lease_expires_at = NULL, updated_at = {{now}}
{_IS_HELD}
"""

# Those that were run behind them, right after that and in the same transaction. By primary key.
COMPLETE_HELD = f"""
UPDATE {{jobs}}
SET status = 'done', attempts = attempts + 1, parked = 0, processed_at = {{now}}, updated_at = {{now}},
    error_message = NULL, lease_expires_at = NULL
{_IS_HELD}
"""

# The lease moves on to a held job, which runs now. By primary key; the one before it is done by then, and the unique
# index one_running_per_lane makes sure of it. Others may be parked in the lane: the end of this run will see to it.
MOVE_ON = f"""
UPDATE {{jobs}}
SET status = 'processing', attempts = attempts + 1, parked = 0, has_followers = 1, updated_at = {{now}},
    lease_expires_at = {{in:seconds}}
{_IS_HELD}
"""

# The jobs behind one that a dead worker held. By index open_lane.
HELD_BEHIND = """
SELECT id, lease_token
FROM {jobs} AS job {use:open_lane}
WHERE {open:job} = :lane AND id > :id
ORDER BY id
LIMIT :limit
"""

# One of them may have killed the worker: an attempt of each is counted, and from then on each is run alone. By primary
# key.
COUNT_ATTEMPT = f"""
UPDATE {{jobs}}
SET attempts = attempts + 1, updated_at = {{now}}
{_IS_HELD}
"""

# Its line in their history, and the end of being held. Apart from the above, because of a column that the statement has
# just changed MySQL reads the new value, and SQLite the old one. By primary key.
END_HOLD = f"""
UPDATE {{jobs}}
SET history = {{history:entry}}, lease_token = NULL, lease_expires_at = NULL, updated_at = {{now}}
{_IS_HELD}
"""


def hold_followers(
    table: QueueTable, session: Session, heads: Sequence[ClaimedJob], jobs: int, lease: dict[str, Any]
) -> dict[int, list[ClaimedJob]]:
    """The jobs that come next in the lanes of `heads`, by the id of the head, so that there are `jobs` in all.

    In equal shares, and none behind a job that was tried before: one of the two may kill its worker.
    """
    leading = {job.lane: job for job in heads if job.lane is not None and job.attempt == 1}
    share = min(MOST_HELD, (jobs - len(heads)) // len(leading)) if leading else 0
    if share < 1:
        return {}
    values: dict[str, Any] = {"limit": share}
    for number, (lane, head) in enumerate(leading.items()):
        values |= {f"lane_{number}": lane, f"id_{number}": head.id}
    wanted: dict[str, list[int]] = {}
    refused: set[str] = set()
    for job_id, lane, may_be_held in session.rows(table.sql(sql.for_each(BEHIND, len(leading))), **values):
        if may_be_held and lane not in refused:
            wanted.setdefault(lane, []).append(job_id)
        else:
            refused.add(lane)
    ids = [job_id for job_ids in wanted.values() for job_id in job_ids]
    if not ids or not session.execute(table.sql(HOLD), ids=ids, **lease):
        return {}
    held = session.rows(table.sql(HELD), ids=ids, token=lease["token"], limit=len(ids))
    return {leading[lane].id: _in_a_row(leading[lane].id, ids, held, lease) for lane, ids in wanted.items()}


def _in_a_row(head: int, ids: list[int], held: list[tuple[Any, ...]], lease: dict[str, Any]) -> list[ClaimedJob]:
    """Those of the ids, from the first on, that were held without a gap."""
    rows = {row[0]: row for row in held}
    jobs = []
    for job_id in ids:
        if job_id not in rows:
            break
        _, payload, update_id, update_type, lane, waited = rows[job_id]
        mine = Lease(job_id, str(lease["token"]), str(lease["worker"]), head)
        jobs.append(ClaimedJob(job_id, payload, 1, update_id, update_type, lane, mine, max(0, waited) / 1_000_000))
    return jobs


class _NotAllHeld(Exception):
    """Some of the jobs are no longer held: nothing is changed."""


def complete_lanes(
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
        if session.execute(table.sql(sql.COMPLETE_MANY.replace("{alone}", "")), ids=ids, token=token) != len(ended):
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


def count_attempts_behind(table: QueueTable, session: Session, lane: str, job_id: int, token: str, entry: str) -> None:
    """A worker died that held jobs behind this one: any of them may have run. `entry` goes into their history."""
    behind = session.rows(table.sql(HELD_BEHIND), lane=lane, id=job_id, limit=MOST_HELD)
    ids = [behind_id for behind_id, its_token in behind if its_token == token]
    if ids:
        session.execute(table.sql(COUNT_ATTEMPT), ids=ids, token=token)
        session.execute(table.sql(END_HOLD), ids=ids, token=token, entry=entry)
