"""One try to claim jobs: reads the candidates in order of priority, takes those whose lane is free. Does not park jobs.

Where the server has SKIP LOCKED the candidates stay locked until they are taken, and other claimers pass them over.
Elsewhere claimers race for them, and the second one finds a row that is no longer pending.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.queue.parking import Candidates
from scalable.lib.queue.table import QueueTable

# id, payload, attempts, update_id, update_type, lane, waited, blocker
_Row = tuple[Any, ...]


class Claim:
    """One try to take jobs. `taken`, by id; `candidates`: every job it read, with the one that blocks it.

    It takes none behind a blocked one unless `past_blocked`: it sees few candidates, and one that
    it does not see may go first.
    """

    def __init__(
        self,
        table: QueueTable,
        worker: str,
        lease_seconds: float,
        limit: int,
        past_blocked: bool,
        urgent_only: bool = False,
    ) -> None:
        self.taken: dict[int, ClaimedJob] = {}
        self.candidates: Candidates = []
        self._table = table
        self._limit = limit
        self._past_blocked = past_blocked
        self._candidates = sql.URGENT_CANDIDATES if urgent_only else sql.CANDIDATES
        self._lease = {"worker": worker, "token": secrets.token_hex(8), "seconds": lease_seconds}

    def take(self, session: Session) -> None:
        """The work on the database; begun anew after a conflict."""
        if self._table.database.claims_in_transaction():
            self.taken.clear()  # a conflict undid it all; without a transaction, what was taken stays taken
        most = self._limit * self._table.database.candidates_per_job
        rows = session.rows(self._table.sql(self._candidates), limit=most)
        self.candidates = [(row[0], row[-1]) for row in rows]
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
            self.candidates = [
                (other, blocker if other != job_id or not running else running[0][0])
                for other, blocker in self.candidates
            ]
        return bool(matched)

    def _remember(self, rows: Iterable[_Row]) -> None:
        for job_id, payload, attempts, update_id, update_type, lane, waited, _ in rows:
            lease = Lease(job_id, str(self._lease["token"]), str(self._lease["worker"]))
            self.taken[job_id] = ClaimedJob(
                job_id, payload, attempts + 1, update_id, update_type, lane, lease, max(0, waited) / 1_000_000
            )
