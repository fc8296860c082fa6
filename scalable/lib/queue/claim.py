"""Claims jobs: looks at the candidates in their turn, and takes those whose lane is free. Parking is lanes.py's.

Where the server has SKIP LOCKED the candidates are locked until they are taken, and so are nobody else's. Elsewhere
claimers race for them, and whoever is late finds a row that is no longer pending.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.queue.parking import Seen, park_blocked
from scalable.lib.queue.table import QueueTable

# Claims that found candidates and lost every one of them to others, before the claimer says there is nothing.
MAX_LOST_CLAIMS = 5
# id, payload, attempts, update_id, update_type, lane, waited, blocker
_Row = tuple[Any, ...]


def claim_jobs(table: QueueTable, worker: str, lease_seconds: float, limit: int) -> list[ClaimedJob]:
    """Up to `limit` jobs under fresh leases; see DatabaseQueue.claim."""
    in_transaction = table.database.claims_in_transaction()
    lost = 0
    while True:
        last_try = lost == MAX_LOST_CLAIMS
        claim = _Claim(table, worker, lease_seconds, limit, past_blocked=last_try)
        table.database.run(claim.take, transaction=in_transaction)
        if claim.taken or not claim.seen or last_try:
            return list(claim.taken.values())
        # What is first in turn was blocked: put that away, and look at what comes behind it. Or others were faster.
        if not park_blocked(table, claim.seen):
            lost += 1


class _Claim:
    """One look at the candidates. `taken`, by id; `seen`: every candidate, with what blocks it.

    It takes none behind a blocked one unless `past_blocked`: it sees few candidates, and among those it does not see
    may be one whose turn comes first.
    """

    def __init__(self, table: QueueTable, worker: str, lease_seconds: float, limit: int, past_blocked: bool) -> None:
        self.taken: dict[int, ClaimedJob] = {}
        self.seen: Seen = []
        self._table = table
        self._limit = limit
        self._past_blocked = past_blocked
        self._lease = {"worker": worker, "token": secrets.token_hex(8), "seconds": lease_seconds}

    def take(self, session: Session) -> None:
        """The work on the database; begun anew after a conflict."""
        if self._table.database.claims_in_transaction():
            self.taken.clear()  # a conflict undid it all; without a transaction, what was taken stays taken
        candidates = self._limit * self._table.database.candidates_per_job
        rows = session.rows(self._table.sql(sql.CANDIDATES), limit=candidates)
        self.seen = [(row[0], row[-1]) for row in rows]
        free = self._free(rows)
        while free and len(self.taken) < self._limit:
            wanted = self._limit - len(self.taken)
            self._take(session, free[:wanted])
            free = free[wanted:]

    def _free(self, rows: list[_Row]) -> list[_Row]:
        free = []
        for row in rows:
            if row[-1] is None:
                free.append(row)
            elif not self._past_blocked:
                break
        return free

    def _take(self, session: Session, rows: list[_Row]) -> None:
        """All at once; one by one when the unique index refused one of them."""
        ids = [row[0] for row in rows]
        matched = session.execute_unless_duplicate(self._table.sql(sql.TAKE), ids=ids, **self._lease)
        if matched is None:
            ids = [row[0] for row in rows if self._take_one(session, row)]
        elif matched < len(ids):
            values = {"ids": ids, "limit": len(ids), "token": self._lease["token"]}
            ids = [job_id for (job_id,) in session.rows(self._table.sql(sql.TAKEN), **values)] if matched else []
        self._remember(row for row in rows if row[0] in ids)

    def _take_one(self, session: Session, row: _Row) -> bool:
        job_id, lane = row[0], row[5]
        matched = session.execute_unless_duplicate(self._table.sql(sql.TAKE), ids=[job_id], **self._lease)
        if matched is None:  # a later one of its lane runs: it was requeued, or its lane was taken a moment ago
            running = session.rows(self._table.sql(sql.RUNNING_IN_LANE), lane=lane)
            self.seen = [
                (seen, blocker if seen != job_id or not running else running[0][0]) for seen, blocker in self.seen
            ]
        return bool(matched)

    def _remember(self, rows: Iterable[_Row]) -> None:
        for job_id, payload, attempts, update_id, update_type, lane, waited, _ in rows:
            lease = Lease(job_id, str(self._lease["token"]), str(self._lease["worker"]))
            self.taken[job_id] = ClaimedJob(
                job_id, payload, attempts + 1, update_id, update_type, lane, lease, max(0, waited) / 1_000_000
            )
