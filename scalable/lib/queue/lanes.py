"""Keeps the order of lanes: who may be claimed, who is parked behind whom, and who goes on when a job ends.

A job with a lane runs only when no other job of its lane is running or waits before it. Looking that up for every
candidate is cheap; looking it up again and again for a long lane is not. So a claimer that meets a blocked job parks
it: the job leaves the claim's index, its blocker is marked, and whoever ends the blocker's run unparks the next one.
As long as jobs of a lane are parked, one that is not parked waits or runs with the mark; so the lane moves on.
"""

from __future__ import annotations

import secrets
from typing import Any, Optional

from scalable.lib.queue import statements as sql
from scalable.lib.queue.database import Session
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.queue.jobs_table import JobsTable

# How many blocked jobs a claimer parks before it looks again; a flood in one lane is parked in steps of this.
PARK_BATCH = 500
# Claims that found candidates and lost every one of them to others, before the claimer says there is nothing.
MAX_LOST_CLAIMS = 5
# Jobs, each with the one that blocks it.
_Seen = list[tuple[int, Optional[int]]]


def claim_jobs(table: JobsTable, worker: str, lease_seconds: float, limit: int) -> list[ClaimedJob]:
    """Up to `limit` jobs under fresh leases; see DatabaseQueue.claim."""
    in_transaction = table.database.claims_in_transaction()
    lost = 0
    while True:
        token = secrets.token_hex(8)
        claimed: dict[int, ClaimedJob] = {}
        last_try = lost == MAX_LOST_CLAIMS

        def work(
            session: Session, token: str = token, claimed: dict[int, ClaimedJob] = claimed, last_try: bool = last_try
        ) -> _Seen:
            if in_transaction:
                claimed.clear()  # a conflict undid it all; without a transaction, what was taken stays taken
            return _take(table, session, claimed, worker, token, lease_seconds, limit, last_try)

        seen = table.database.run(work, transaction=in_transaction)
        if claimed or not seen or last_try:
            return list(claimed.values())
        # What is first in turn was blocked: put that away, and look at what comes behind it. Or others were faster.
        if not park_blocked(table, seen):
            lost += 1


def _take(
    table: JobsTable, session: Session, claimed: dict[int, ClaimedJob], worker: str, token: str, lease_seconds: float,
    limit: int, past_blocked: bool,
) -> _Seen:
    """Adds the jobs taken to `claimed`; every candidate with its blocker.

    Takes none behind a blocked one unless `past_blocked`: a claim sees few candidates, and among those it does not see
    may be one whose turn comes first.
    """
    rows = session.rows(table.sql(sql.CANDIDATES), limit=limit * table.database.candidates_per_job)
    for job_id, payload, attempts, update_id, update_type, lane, waited, blocker in rows:
        if blocker is not None:
            if not past_blocked:
                break
        elif len(claimed) < limit and job_id not in claimed:  # an urgent job may be among the oldest, too
            values = {"id": job_id, "worker": worker, "token": token, "seconds": lease_seconds}
            if session.execute_unless_duplicate(table.sql(sql.TAKE), **values):
                lease = Lease(job_id, token, worker)
                claimed[job_id] = ClaimedJob(
                    job_id, payload, attempts + 1, update_id, update_type, lane, lease, max(0.0, float(waited))
                )
    return [(row[0], row[-1]) for row in rows]


def park_blocked(table: JobsTable, seen: _Seen) -> int:
    """Park what is blocked among the jobs seen, and when all are, up to PARK_BATCH more that are due; how many were."""
    if all(blocker is not None for _, blocker in seen):
        seen = seen + [(row[0], row[1]) for row in table.rows(sql.BLOCKED, limit=PARK_BATCH)]
    followers: dict[int, set[int]] = {}
    for job_id, blocker in seen:
        if blocker is not None:
            followers.setdefault(blocker, set()).add(job_id)
    return sum(_park_behind(table, blocker, sorted(jobs)) for blocker, jobs in sorted(followers.items()))


def _park_behind(table: JobsTable, blocker: int, jobs: list[int]) -> int:
    def work(session: Session) -> int:
        if not session.execute(table.sql(sql.MARK_BLOCKER), id=blocker, first=jobs[0]):
            return 0  # it ended or was given back meanwhile: they may be claimed now
        ids = ", ".join(str(int(job_id)) for job_id in jobs)
        return session.execute(table.sql(sql.PARK).replace("{ids}", ids))

    return table.in_transaction(work)


def end_run(table: JobsTable, statement: str, job_id: int, **values: Any) -> bool:
    """Run `statement`, which ends the job or its run, and let the first one of its lane go; False: it matched no row.

    One statement when nobody is parked behind the job, otherwise a transaction with the unparking.
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
