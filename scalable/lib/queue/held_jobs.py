"""Jobs that a worker runs one after the other under the lease of the first of them: consecutive ones of its lane.

A quick bot would otherwise spend more time on claims than on runs where few chats write much. They stay pending, and
carry the token and the end of the lease: while the first one runs, nothing else of its lane can be claimed. When they
were run, all become done in one transaction; before one of them is retried, failed or noted, the lease moves on to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.job import ClaimedJob, KnownRuns, Lease
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
IS_HELD = """WHERE id IN ({ids})
  AND status = 'pending'
  AND lease_token = :token
  AND lease_expires_at IS NOT NULL"""

# They may be skipped again; whoever claims the first of them holds them anew. By primary key.
LET_GO = f"""
UPDATE {{jobs}}
SET lease_token = NULL, lease_expires_at = NULL, updated_at = {{now}}
{IS_HELD}
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
{IS_HELD}
"""

# Its line in their history, and the end of being held. Apart from the above, because of a column that the statement has
# just changed MySQL reads the new value, and SQLite the old one. By primary key.
END_HOLD = f"""
UPDATE {{jobs}}
SET history = {{history:entry}}, lease_token = NULL, lease_expires_at = NULL, updated_at = {{now}}
{IS_HELD}
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


def held_behind(table: QueueTable, lane: str, job_id: int, token: str) -> list[int]:
    """The jobs that are held behind this one by the lease with that token, in their order."""
    behind = table.rows(HELD_BEHIND, lane=lane, id=job_id, limit=MOST_HELD)
    return [behind_id for behind_id, its_token in behind if its_token == token]


def end_hold_behind(
    table: QueueTable, session: Session, head: tuple[str, int], token: str, entry: str, runs: Optional[KnownRuns]
) -> None:
    """A worker died that held jobs behind `head`, a lane and its first job: any of them may have run.

    Unless its `runs` are known: what it had not begun is let go as it was. `entry` is for the history of the others.
    """
    behind = session.rows(table.sql(HELD_BEHIND), lane=head[0], id=head[1], limit=MOST_HELD)
    held = [behind_id for behind_id, its_token in behind if its_token == token]
    ran = [job_id for job_id in held if runs is None or (job_id, token) in runs.begun]
    if ran:
        session.execute(table.sql(COUNT_ATTEMPT), ids=ran, token=token)
        session.execute(table.sql(END_HOLD), ids=ran, token=token, entry=entry)
    if len(ran) < len(held):
        session.execute(table.sql(LET_GO), ids=[job_id for job_id in held if job_id not in ran], token=token)
