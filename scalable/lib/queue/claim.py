"""Claims jobs: reads the candidates in order of priority, takes those whose lane is free, and parks those that block.

Where the server has SKIP LOCKED the candidates stay locked until they are taken, and other claimers pass them over.
Elsewhere claimers race for them, and the second one finds a row that is no longer pending.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import event
from scalable.lib.queue import statements as sql
from scalable.lib.queue.claim_request import ClaimRequest
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.held_jobs import hold_followers
from scalable.lib.queue.job import ClaimedJob, ClaimedLane, Lease
from scalable.lib.queue.lane_walk import LaneWalk
from scalable.lib.queue.origins import Origin, origin_of
from scalable.lib.queue.parking import Candidate, park_blocked
from scalable.lib.queue.table import QueueTable

log = logging.getLogger(__name__)
# Claims that found candidates and lost every one of them to others, before there is said to be nothing.
MAX_LOST_CLAIMS = 5
# How many jobs of a lane are reckoned with where others wait behind the first one.
JOBS_OF_A_LANE = 4
# Among so many jobs that have never failed one is looked for that is of nobody whose updates failed.
MOST_INNOCENTS = 100
# How the history of a job begins its line about a run that failed, or about what an operator did.
_FAULTS = {"retried": '["retried"', "outage": '["outage"', "requeued": '["requeued"'}
# id, payload, attempts, update_id, update_type, lane, waited, has_followers
_Row = tuple[Any, ...]


def claim_lanes(table: QueueTable, walk: LaneWalk, request: ClaimRequest) -> list[ClaimedLane]:
    """What may be run now, in order of priority; a job without a lane is a lane of its own.

    While more blocked jobs are due than can be parked at once: also what `walk` finds behind them, in no order.
    """
    claimed: list[ClaimedLane] = []
    lost_claims = 0
    try:
        while True:
            claim = _Claim(table, request)
            table.database.run(claim.take, transaction=table.database.claims_in_transaction())
            claimed, request = claimed + claim.lanes(), request.without(claim.lanes())
            if not claim.is_cut_short or request.is_fulfilled or lost_claims == MAX_LOST_CLAIMS:
                return claimed
            # Park the blocked ones, then claim again what comes behind them. None parked: other claimers were faster.
            parked = park_blocked(table, claim.candidates, is_quick=bool(claimed), waits=False)
            if (parked.is_flood or parked.is_left_out) and not request.urgent_only:
                claimed += _claim_on_the_way(table, walk, request)
                if claimed:
                    return claimed
            if parked.is_left_out:
                parked = park_blocked(table, claim.candidates)
            if not parked.jobs:
                lost_claims += 1
    except DatabaseUnavailable as error:
        if not claimed:
            raise
        log.debug(event("claim cut short", jobs=len(claimed), cause=error))
        return claimed


def _claim_on_the_way(table: QueueTable, walk: LaneWalk, request: ClaimRequest) -> list[ClaimedLane]:
    claim = _Claim(table, request)
    heads = table.database.run(lambda session: walk.free_heads(session, request.lanes))
    work = partial(claim.take_of, heads)
    table.database.run(work, transaction=table.database.claims_in_transaction())
    return claim.lanes()


class _Claim:
    """One try. `taken`, by id; `candidates`: every job it read, with the one that blocks it."""

    def __init__(self, table: QueueTable, request: ClaimRequest) -> None:
        self.taken: dict[int, ClaimedJob] = {}
        self.candidates: list[Candidate] = []
        self._followers: dict[int, list[ClaimedJob]] = {}
        self._table = table
        self._request = request
        self._most_candidates = request.lanes * table.database.candidates_per_job
        self._lease = {
            "worker": request.worker,
            "token": secrets.token_hex(8),
            "seconds": request.lease_seconds,
        }

    @property
    def is_cut_short(self) -> bool:
        """Whether there may be more: it got none of its candidates, or blocked ones among them hide what comes next."""
        if not self.taken:
            return bool(self.candidates)
        is_full = len(self.candidates) == self._most_candidates
        return is_full and any(candidate.blocker is not None for candidate in self.candidates)

    def take(self, session: Session) -> None:
        """The work on the database; begun anew after a conflict."""
        if self._request.probe_without is not None:
            rows = self._probes(session, [0, *self._request.probe_without])  # no job has the id 0
        else:
            candidates = sql.URGENT_CANDIDATES if self._request.urgent_only else sql.CANDIDATES
            rows = session.rows(self._table.sql(candidates), limit=self._most_candidates)
        self.candidates = [Candidate(row[0], row[5], row[-1]) for row in rows]
        self.take_of([row[:-1] for row in rows if row[-1] is None], session)

    def _probes(self, session: Session, skipped: list[int]) -> list[_Row]:
        not_from = self._request.not_from
        if not_from is None:
            return session.rows(self._table.sql(sql.PROBE_CANDIDATES), limit=self._most_candidates, ids=skipped)
        statement = self._table.sql(sql.PROBE_CANDIDATES_THAT_NEVER_FAILED)
        rows = session.rows(statement, limit=MOST_INNOCENTS, ids=skipped, **_FAULTS)
        # The blocked ones are parked, so that they hide nobody.
        return [row for row in rows if row[-1] is not None or not_from.isdisjoint(_origin(row).marks)]

    def take_of(self, free: list[_Row], session: Session) -> None:
        """Take as many of these as are wanted, and hold those behind them."""
        if self._table.database.claims_in_transaction():
            self.taken.clear()  # a conflict undid it all; without a transaction, what was taken stays taken
        wanted = self._lanes_wanted(free)
        while free and len(self.taken) < wanted:
            missing = wanted - len(self.taken)
            self._take(session, free[:missing])
            free = free[missing:]
        if self._request.jobs is not None and self.taken:
            heads = list(self.taken.values())
            self._followers = self._hold_followers(session, heads, self._request.jobs)

    def _hold_followers(self, session: Session, heads: list[ClaimedJob], jobs: int) -> dict[int, list[ClaimedJob]]:
        """Those behind `heads`; none when that fails although the heads are taken already, each by itself."""
        try:
            return hold_followers(self._table, session, heads, jobs, self._lease)
        except self._table.database.driver_errors as error:
            if self._table.database.claims_in_transaction():
                raise
            log.debug(event("no followers held", jobs=len(heads), cause=error))
            return {}

    def _lanes_wanted(self, free: list[_Row]) -> int:
        """Fewer than may be when others wait behind the first ones: few lanes with some jobs are quicker than many."""
        if self._request.jobs is None:
            return self._request.lanes
        jobs = lanes = 0
        for row in free[: self._request.lanes]:
            if jobs >= self._request.jobs:
                break
            jobs += JOBS_OF_A_LANE if row[-1] else 1
            lanes += 1
        return lanes

    def lanes(self) -> list[ClaimedLane]:
        """What was taken, by lane."""
        return [ClaimedLane((job, *self._followers.get(job.id, []))) for job in self.taken.values()]

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
            if running:
                mine = Candidate(job_id, lane, running[0][0])
                self.candidates = [mine if other.job_id == job_id else other for other in self.candidates]
        return bool(matched)

    def _remember(self, rows: Iterable[_Row]) -> None:
        for job_id, payload, attempts, update_id, update_type, lane, waited, _ in rows:
            lease = Lease(job_id, str(self._lease["token"]), str(self._lease["worker"]))
            self.taken[job_id] = ClaimedJob(
                job_id, payload, attempts + 1, update_id, update_type, lane, lease, max(0, waited) / 1_000_000
            )


def _origin(row: _Row) -> Origin:
    return origin_of(row[0], row[5], row[1])
