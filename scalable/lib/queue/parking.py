"""Keeps the order of lanes: which job is parked behind which, and which goes on when a job ends.

A job with a lane runs only when no other job of its lane is running or waits before it. Checking that for every
candidate is cheap; checking it again and again for a long lane is not. So a claimer that meets a blocked job parks
it: claims no longer read the job, its blocker is marked, and the transaction that ends the blocker's run unparks the
next one. As long as jobs of a lane are parked, one that is not parked waits or runs with the mark: the lane moves on.
"""

from __future__ import annotations

from typing import Any, Optional

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.table import QueueTable

# How many blocked jobs a claimer parks before it claims again. Each claim reads over what was parked just before, until
# the server has cleaned it up, so large steps put away a flood in one lane three times as fast as steps of 500.
PARK_BATCH = 5000
# Jobs, each with the one that blocks it, if any does.
Candidates = list[tuple[int, Optional[int]]]


def park_blocked(table: QueueTable, candidates: Candidates) -> int:
    """Park the blocked ones of the candidates, and when all are, up to PARK_BATCH more that are due; how many."""
    if all(blocker is not None for _, blocker in candidates):
        candidates = candidates + [(row[0], row[1]) for row in table.rows(sql.BLOCKED, limit=PARK_BATCH)]
    followers: dict[int, set[int]] = {}
    for job_id, blocker in candidates:
        if blocker is not None:
            followers.setdefault(blocker, set()).add(job_id)
    return sum(_park_behind(table, blocker, sorted(jobs)) for blocker, jobs in sorted(followers.items()))


def _park_behind(table: QueueTable, blocker: int, jobs: list[int]) -> int:
    def work(session: Session) -> int:
        if not session.execute(table.sql(sql.MARK_BLOCKER), id=blocker, first=jobs[0]):
            return 0  # it ended or was given back meanwhile: they may be claimed now
        return session.execute(table.sql(sql.PARK), ids=jobs)

    return table.in_transaction(work)


def end_run(table: QueueTable, statement: str, job_id: int, **values: Any) -> bool:
    """Run `statement`, which ends the job or its run, and unpark the first one of its lane; False: it matched no row.

    One statement when no job is parked behind it, otherwise a transaction with the unparking.
    """
    if table.change(statement.replace("{alone}", sql.ALONE), id=job_id, **values):
        return True

    def work(session: Session) -> bool:
        if not session.execute(table.sql(statement.replace("{alone}", "")), id=job_id, **values):
            return False
        while True:
            waiting = session.rows(table.sql(sql.NEXT_IN_LANE), id=job_id)
            # It may expire between the two statements; then the one after it is next.
            if not waiting or session.execute(table.sql(sql.UNPARK), id=waiting[0][0]):
                return True

    return table.in_transaction(work)
