"""Runs failed and expired jobs again, because an operator asked for it: one, or all that a filter matches.

Jobs of one lane run in their order, and before newer ones of it that still wait. What has run already cannot be put
behind them any more: that is counted. The words in braces: statements.py.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Optional

from scalable.lib.queue import history
from scalable.lib.queue import statements as sql
from scalable.lib.queue.history import entry_text
from scalable.lib.queue.job import EXPIRED, FAILED
from scalable.lib.queue.rows import BEFORE_ALL, stored_time, time_of
from scalable.lib.queue.table import QueueTable

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue
    from scalable.lib.queue.views.search import Filter

# Jobs that one step takes.
STEP = 500
# How long jobs of a step wait at most for the steps that follow it. Less than what adopt takes for another program's
# mistake; when the walk breaks off, they run by themselves after it.
HOLD_SECONDS = 50.0
# Lanes looked at by one statement, and how far into each.
LANES, JOBS_OF_A_LANE = 50, 100
_POSITION = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})/([0-9]{1,19})", re.ASCII)

# A failed or expired job starts anew, with all its attempts, and is not expired a second time. By primary key; a
# second requeue finds it pending. Also for many at once.
REQUEUE = """
UPDATE {jobs}
SET history = {history:entry}, status = 'pending', attempts = 0, available_at = {in:hold_seconds}, updated_at = {now},
    processed_at = NULL, parked = 0, priority = 2, urgent_until = NULL, expires_at = NULL
WHERE id IN ({ids})
  AND status IN ('failed', 'expired')
"""

# The end of waiting for the steps that follow. By primary key; one that runs, or was tried meanwhile, is left alone.
LET_RUN = """
UPDATE {jobs}
SET available_at = {now}, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
  AND attempts = 0
  AND available_at > {now}
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

# By primary key.
LANES_OF = """
SELECT lane, id
FROM {jobs}
WHERE id IN ({ids})
  AND status = 'pending'
  AND lane IS NOT NULL
ORDER BY id
LIMIT :limit
"""

# The last one of a lane that ran, runs, or is held by its worker to run next, among those that come behind a job. By
# index lane, a short range of it for each lane; with other numbers for several.
LAST_THAT_RAN = """
SELECT MAX(lane), MAX(CASE WHEN has_run THEN id END)
FROM (
    SELECT lane, id,
        status IN ('done', 'processing') OR (status = 'pending' AND lease_expires_at IS NOT NULL) AS has_run
    FROM {jobs} AS job {use:lane}
    WHERE lane = :lane_0 AND id > :id_0
    ORDER BY id
    LIMIT :limit) AS found_0"""


@dataclass(frozen=True)
class Position:
    """A place in the row of a state's jobs, oldest first: behind the job with this id, enqueued at this time."""

    created_at: str
    job_id: int

    def __str__(self) -> str:
        return f"{self.created_at}/{self.job_id}"


@dataclass(frozen=True)
class Batch:
    """What a call did: jobs that will run again, jobs it looked at, where the next call begins (None: at the end).

    `overtaken`: how many of the first have newer jobs in their lane that ran already. `held`: those that wait for the
    steps that follow.
    """

    requeued: int
    looked_at: int
    after: Optional[Position]
    overtaken: int = 0
    held: tuple[int, ...] = ()


def read_position(text: str) -> Optional[Position]:
    """What str() made of a Position; None for anything else."""
    found = _POSITION.fullmatch(text)
    return Position(found.group(1), int(found.group(2))) if found else None


def requeue_one(queue: DatabaseQueue, job_id: int) -> Optional[Batch]:
    """A failed or expired job starts anew with all its attempts; None when it is neither."""
    if not _requeue(queue.table, [job_id], 0):
        return None
    return Batch(1, 1, None, _overtaken(queue.table, [job_id]))


def requeue_failed(queue: DatabaseQueue) -> Batch:
    """Every job that is failed now starts anew. Works in steps of a bounded size, and may be repeated."""
    from scalable.lib.queue.views.search import Filter

    return requeue_all(queue, Filter(status=FAILED), None, newest_id(queue))


def requeue_all(
    queue: DatabaseQueue, wanted: Filter, after: Optional[Position], until_id: int, seconds: float = math.inf
) -> Batch:
    """Requeue those `wanted` (failed or expired) up to `until_id`; at least one step, and no new one after `seconds`.

    Begin with `after` None and `until_id` newest_id(); while the result's `after` is not None, go on from there within
    HOLD_SECONDS. Until the last step no job of the others runs: a newer one of its lane would go before the jobs that
    a later step finds.
    """
    requeued, looked_at, overtaken, ends = 0, 0, 0, time.monotonic() + seconds
    held: list[int] = []
    while True:
        batch = requeue_matching(queue, wanted, STEP, after, until_id)
        requeued, looked_at, after = requeued + batch.requeued, looked_at + batch.looked_at, batch.after
        overtaken += batch.overtaken
        held += batch.held
        if after is None or time.monotonic() > ends:
            break
    if after is None:
        let_run(queue, held)
    return Batch(requeued, looked_at, after, overtaken)


def requeue_matching(
    queue: DatabaseQueue, wanted: Filter, limit: int, after: Optional[Position], until_id: int
) -> Batch:
    """One step: the next `limit` jobs of the filter's state, failed or expired, of which those start anew that fit it.

    Begin with `after` None and `until_id` newest_id(), and go on with what the Batch says. Jobs newer than `until_id`
    are left alone, so that calls that follow each other come to an end. Then tell let_run which were held.
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
    is_last = len(window) < limit
    requeued = _requeue(queue.table, ids, 0 if is_last else HOLD_SECONDS)
    overtaken = _overtaken(queue.table, ids) if requeued else 0
    if is_last:
        return Batch(requeued, len(window), None, overtaken)
    last_id, created_at = window[-1]
    position = Position(stored_time(time_of(created_at)), last_id)
    return Batch(requeued, len(window), position, overtaken, tuple(ids))


def let_run(queue: DatabaseQueue, held: Iterable[int]) -> None:
    """The walk is over: its jobs are due. Safe to repeat; those that it does not reach run within HOLD_SECONDS."""
    ids = sorted(held)
    for first in range(0, len(ids), STEP):
        queue.table.change_ids(LET_RUN, ids[first : first + STEP])


def newest_id(queue: DatabaseQueue) -> int:
    """The id of the newest job; 0 without any."""
    return queue.table.rows(NEWEST_ID)[0][0] or 0


def _requeue(table: QueueTable, ids: list[int], hold_seconds: float) -> int:
    return table.change_ids(REQUEUE, ids, entry=entry_text(history.REQUEUED), hold_seconds=hold_seconds)


def _overtaken(table: QueueTable, ids: Sequence[int]) -> int:
    """How many of these jobs, which wait now, have newer ones in their lane that ran already."""
    lanes: dict[str, list[int]] = {}
    for lane, job_id in table.rows(LANES_OF, ids=list(ids), limit=len(ids)):
        lanes.setdefault(lane, []).append(job_id)
    names = list(lanes)
    last_that_ran: dict[str, Optional[int]] = {}
    for start in range(0, len(names), LANES):
        some = names[start : start + LANES]
        values: dict[str, object] = {"limit": JOBS_OF_A_LANE}
        for number, lane in enumerate(some):
            values |= {f"lane_{number}": lane, f"id_{number}": lanes[lane][0]}
        last_that_ran.update(table.rows(sql.for_each(LAST_THAT_RAN, len(some)), **values))
    return sum(job_id < (last_that_ran.get(lane) or 0) for lane, ids in lanes.items() for job_id in ids)
