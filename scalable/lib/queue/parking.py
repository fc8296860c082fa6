"""Keeps the order of lanes: which job is parked behind which, and which goes on when a job ends.

A job with a lane runs only when no other job of its lane is running or waits before it. Checking that for every
candidate is cheap; checking it again and again for a long lane is not. So a claimer that meets a blocked job parks
what is due and blocked: claims no longer read these jobs, their blocker is marked, and the transaction that ends the
blocker's run unparks the next one. As long as jobs of a lane are parked, one that is not parked waits or runs with the
mark: the lane moves on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.table import QueueTable

# How many due jobs a claimer looks at to park those that are blocked. Each claim reads over what was parked just
# before, until the server has cleaned it up, so large steps put away a flood in one lane three times as fast as steps
# of 500.
PARK_BATCH = 5000
# The same for one that has jobs to run already.
SMALL_PARK_BATCH = 500
# Lanes whose jobs are parked by one transaction: it keeps a row of each locked, which nobody can claim meanwhile.
MOST_LANES = 50


@dataclass(frozen=True)
class Candidate:
    """A job that is due, its lane, and the job that blocks it, if any does."""

    job_id: int
    lane: Optional[str]
    blocker: Optional[int]


@dataclass(frozen=True)
class Parked:
    """What park_blocked did: how many jobs it parked. `is_flood`: there may be more that are due than it looked at.

    `is_left_out`: another process was at it.
    """

    jobs: int = 0
    is_flood: bool = False
    is_left_out: bool = False


def park_blocked(
    table: QueueTable, candidates: Iterable[Candidate] = (), *, is_quick: bool = False, waits: bool = True
) -> Parked:
    """Park the blocked ones of the candidates, and of the next PARK_BATCH jobs that are due; of fewer when `is_quick`.

    One process at a time: others wait for it, and find the jobs parked; without `waits` they leave it out.
    """
    database = table.database
    batch = SMALL_PARK_BATCH if is_quick else PARK_BATCH

    def work(session: Session) -> Parked:
        with database.one_at_a_time(session, f"park {table.name}", waits) as is_mine:
            if not is_mine and not waits:
                return Parked(is_left_out=True)
            due = session.rows(table.sql(sql.DUE), limit=batch)
            lanes: dict[str, dict[int, int]] = {}
            for job in (*candidates, *_with_blockers(table, session, due)):
                if job.lane is not None and job.blocker is not None:
                    lanes.setdefault(job.lane, {})[job.job_id] = job.blocker
            rows = [sorted(blockers.items()) for blockers in lanes.values()]
            parked = 0
            for first in range(0, len(rows), MOST_LANES):
                with database.transaction(session):
                    parked += _park(table, session, rows[first : first + MOST_LANES])
            return Parked(parked, len(due) == batch)

    return database.run(work)


def _with_blockers(table: QueueTable, session: Session, due: Sequence[tuple[int, Optional[str]]]) -> list[Candidate]:
    """Due jobs, each with one of its lane that is before it; those that have none are left out."""
    lanes = list({lane for _, lane in due if lane is not None})
    first: dict[str, int] = {}
    for start in range(0, len(lanes), MOST_LANES):
        some = lanes[start : start + MOST_LANES]
        values = {f"lane_{number}": lane for number, lane in enumerate(some)}
        first.update(session.rows(table.sql(sql.for_each(sql.OPEN_IN_LANE, len(some))), **values))
    return [Candidate(job_id, lane, first[lane]) for job_id, lane in due if lane in first and first[lane] < job_id]


def _park(table: QueueTable, session: Session, lanes: Sequence[Sequence[tuple[int, int]]]) -> int:
    """Park jobs of some lanes, given with what blocks them; all but the first one where that blocker has just ended."""
    ids: list[int] = []
    mark = table.sql(sql.MARK_BLOCKER)
    for blocked in sorted(lanes, key=lambda of_lane: of_lane[0][1]):
        (first, blocker), *others = blocked
        if session.execute(mark, id=blocker, first=first):
            ids += [job_id for job_id, _ in blocked]
        elif others and session.execute(mark, id=first, first=others[0][0]):
            ids += [job_id for job_id, _ in others]
    return session.execute(table.sql(sql.PARK), ids=ids) if ids else 0


def end_run(
    table: QueueTable, statement: str, job_id: int, also: Optional[Callable[[Session], None]] = None, **values: Any
) -> bool:
    """Run `statement`, which ends the job or its run, and unpark the first one of its lane; False: it matched no row.

    One statement when no job is parked behind it, otherwise a transaction with the unparking, and with `also`.
    """
    if also is None and table.change(statement.replace("{alone}", sql.ALONE), id=job_id, **values):
        return True

    def work(session: Session) -> bool:
        if not session.execute(table.sql(statement.replace("{alone}", "")), id=job_id, **values):
            return False
        if also is not None:
            also(session)
        unpark_next(table, session, [job_id])
        return True

    return table.in_transaction(work)


def unpark_next(table: QueueTable, session: Session, ended: Sequence[int]) -> None:
    """Unpark the first waiting job of each lane of the jobs that ended, in their transaction."""
    values = {f"id_{number}": job_id for number, job_id in enumerate(ended)}
    while True:
        waiting = {row[0] for row in session.rows(table.sql(sql.for_each(sql.NEXT_IN_LANE, len(ended))), **values)}
        # One may expire between the two statements; then the one after it is next.
        if not waiting or session.execute(table.sql(sql.UNPARK), ids=waiting) == len(waiting):
            return
