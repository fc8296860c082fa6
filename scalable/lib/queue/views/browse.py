"""What the dashboard shows: how many jobs, how long they wait, one job with its history, one lane. Changes nothing.

Nothing here reads the jobs from end to end. A count goes on to a bound; beyond it maintenance's count is given (see
totals.py), with the time it was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional

from scalable.lib.errors import JobNotFound
from scalable.lib.queue import history
from scalable.lib.queue.history import HistoryEntry, read_history
from scalable.lib.queue.job import DONE, FAILED, PENDING, PROCESSING, STATUSES, JobSummary
from scalable.lib.queue.notes import Note
from scalable.lib.queue.rows import SUMMARY, optional_time, summary
from scalable.lib.queue.table import QueueTable
from scalable.lib.queue.views.totals import Counted, read_totals

# Always counted so far, even when maintenance has just counted many more: they may be gone.
LEAST_BOUND = 100
# Counted so far first, and then so far, when maintenance has no count that is clearly beyond it.
QUICK_BOUND, BOUND = 1_000, 10_000
FRESH_SECONDS = 150.0
MOST_OF_A_LANE = 20


def _up_to(status: str) -> str:
    return (
        f"(SELECT COUNT(*) FROM (SELECT 1 FROM {{jobs}} {{use:status_created}} WHERE status = '{status}'"
        f" LIMIT :most_{status}) AS found_{status})"
    )


# Each state up to a bound of its own. By index status_created, no row is read.
COUNT_ALL_UP_TO = f"""
SELECT {", ".join(_up_to(status) for status in STATUSES)}
LIMIT 1
"""

COUNT_UP_TO = """
SELECT COUNT(*)
FROM (SELECT 1 FROM {jobs} {use:status_created} WHERE status = :status LIMIT :limit) AS found
LIMIT 1
"""


def _first_due(parked: int, priority: int) -> str:
    return (
        "SELECT * FROM (SELECT id, parked, {age:available_at} AS age FROM {jobs} {use:turn}"
        f" WHERE status = 'pending' AND parked = {parked} AND priority = {priority} AND available_at <= {{now}}"
        f" ORDER BY available_at, id LIMIT 1) AS found_{parked}_{priority}"
    )


# The job of each kind that has waited longest. By index turn, the first row of six ranges.
_KINDS = [(parked, priority) for parked in (0, 1) for priority in (0, 1, 2)]
WAITING = "\nUNION ALL\n".join(_first_due(*kind) for kind in _KINDS) + "\nLIMIT 6"


def _in_back_off(priority: int) -> str:
    return (
        "(SELECT COUNT(*) FROM (SELECT 1 FROM {jobs} {use:turn} WHERE status = 'pending' AND parked = 0"
        f" AND priority = {priority} AND available_at > {{now}} LIMIT :most) AS found_{priority})"
    )


# Jobs that wait for their next attempt, up to a bound each. By index turn, no row is read.
RETRYING = f"SELECT {' + '.join(_in_back_off(priority) for priority in (0, 1, 2))}\nLIMIT 1"

# By primary key, its last row.
NEWEST_AGE = """
SELECT {age:created_at}
FROM {jobs}
WHERE id = (SELECT MAX(id) FROM {jobs})
LIMIT 1
"""

# By primary key.
DETAIL = f"""
SELECT {SUMMARY}, parked, expires_at, history, payload
FROM {{jobs}}
WHERE id = :id
LIMIT 1
"""

# The jobs of a lane that run or wait, in their order. By index open_lane.
OPEN_IN_LANE = f"""
SELECT {SUMMARY}
FROM {{jobs}} AS job {{use:open_lane}}
WHERE {{open:job}} = :lane
ORDER BY id
LIMIT :limit
"""


@dataclass(frozen=True)
class Count:
    """How many: exactly now; or, with a time, as it was counted then; or at least so many."""

    number: int
    is_exact: bool = True
    at: Optional[datetime] = None

    @property
    def is_bound(self) -> bool:
        """Whether there are more than that, and they were not counted."""
        return not self.is_exact and self.at is None


@dataclass(frozen=True)
class Waiting:
    """The job that is due and not begun for the longest time; seconds since it was due.

    `blocked_…`: the same of those that are due but for an earlier job of their lane, which failed and is tried again
    later, or runs. None without such a job.
    """

    job_id: Optional[int] = None
    seconds: Optional[float] = None
    blocked_job_id: Optional[int] = None
    blocked_seconds: Optional[float] = None


@dataclass(frozen=True)
class JobDetail:
    """One job with all its details. `history`: see history.py, the present attempt included.

    `cut`: attempts whose lines were cut off. `blocked_by`: the job of its lane that has to end before this one runs.
    """

    summary: JobSummary
    payload: str = field(repr=False)
    expires_at: Optional[datetime]
    history: tuple[HistoryEntry, ...]
    cut: int
    lane_jobs: tuple[JobSummary, ...]
    blocked_by: Optional[JobSummary]


class JobBrowser:
    """Reads the queue in `table`. Safe to share between threads."""

    def __init__(self, table: QueueTable) -> None:
        self._table = table

    def counts(self, notes: dict[str, Note]) -> dict[str, Count]:
        """How many jobs are in each state, and `total`; `notes` are those of notes.py, for the large numbers."""
        totals = read_totals(notes)
        bounds = {status: LEAST_BOUND if _is_clear(totals.get(status)) else QUICK_BOUND for status in STATUSES}
        limits = {f"most_{status}": bound + 1 for status, bound in bounds.items()}
        [found] = self._table.rows(COUNT_ALL_UP_TO, **limits)
        counts = {
            status: Count(number) if number <= bounds[status] else self._many(status, totals.get(status))
            for status, number in zip(STATUSES, found)
        }
        return {**counts, "total": _total(list(counts.values()))}

    def count(self, status: str, notes: dict[str, Note]) -> Count:
        """The same of one state."""
        return self._many(status, read_totals(notes).get(status))

    def _many(self, status: str, counted: Optional[Counted]) -> Count:
        """The jobs of a state that may be too many to count for a page."""
        if not _is_clear(counted):
            [(number,)] = self._table.rows(COUNT_UP_TO, status=status, limit=BOUND + 1)
            if number <= BOUND:
                return Count(number)
        if counted is None or counted.number <= BOUND:
            return Count(BOUND, is_exact=False)
        return Count(counted.number, is_exact=False, at=counted.at)

    def waiting(self) -> Waiting:
        """The jobs that have waited longest."""
        longest: dict[int, tuple[int, float]] = {}
        for job_id, parked, age in self._table.rows(WAITING):
            if parked not in longest or age > longest[parked][1]:
                longest[parked] = (job_id, age)
        free, blocked = longest.get(0), longest.get(1)
        return Waiting(*_in_seconds(free), *_in_seconds(blocked))

    def retrying(self) -> int:
        """How many jobs wait for their next attempt; at least so many, from QUICK_BOUND on."""
        [(number,)] = self._table.rows(RETRYING, most=QUICK_BOUND)
        return min(int(number), QUICK_BOUND)

    def newest_age_seconds(self) -> Optional[float]:
        """How long ago the newest job arrived; None without any."""
        rows = self._table.rows(NEWEST_AGE)
        return max(0.0, float(rows[0][0]) / 1_000_000) if rows else None

    def blocker(self, job: JobSummary) -> Optional[JobSummary]:
        """The job of its lane that has to end before this one runs; None without one."""
        return None if job.lane is None else _blocker(job, self.lane(job.lane))

    def detail(self, job_id: int) -> JobDetail:
        """Everything about one job. Raises JobNotFound."""
        rows = self._table.rows(DETAIL, id=job_id)
        if not rows:
            raise JobNotFound(f"there is no job {job_id}")
        [row] = rows
        job = summary(row)
        expires_at, told, payload = row[-3:]
        entries = read_history(told)
        lane_jobs = self.lane(job.lane) if job.lane is not None and job.status in (PENDING, PROCESSING) else ()
        return JobDetail(
            job,
            payload,
            optional_time(expires_at),
            (*entries, *_last_attempt(job, entries)),
            _cut(entries),
            lane_jobs,
            _blocker(job, lane_jobs),
        )

    def lane(self, lane: str) -> tuple[JobSummary, ...]:
        """The first jobs of the lane that run or wait, in their order; at most MOST_OF_A_LANE."""
        rows = self._table.rows(OPEN_IN_LANE, lane=lane, limit=MOST_OF_A_LANE)
        return tuple(summary(row) for row in rows)


def _is_clear(counted: Optional[Counted]) -> bool:
    """Whether maintenance counted so many, so lately, that there are still more than BOUND."""
    return counted is not None and counted.number > 2 * BOUND and counted.age_seconds < FRESH_SECONDS


def _total(counts: list[Count]) -> Count:
    number = sum(count.number for count in counts)
    if all(count.is_exact for count in counts):
        return Count(number)
    if any(count.is_bound for count in counts):
        return Count(number, is_exact=False)
    return Count(number, is_exact=False, at=min(count.at for count in counts if count.at is not None))


def _in_seconds(found: Optional[tuple[int, float]]) -> tuple[Optional[int], Optional[float]]:
    return (None, None) if found is None else (found[0], max(0.0, float(found[1]) / 1_000_000))


def _last_attempt(job: JobSummary, entries: list[HistoryEntry]) -> list[HistoryEntry]:
    """The attempt that is not in the history: it runs, it succeeded, or another program made it."""
    if job.reserved_at is None or any(not each.by_operator and each.started_at == job.reserved_at for each in entries):
        return []
    outcome = {PROCESSING: history.RUNNING, DONE: history.DONE, FAILED: history.FAILED}.get(job.status, history.RETRIED)
    ended = None if job.status == PROCESSING else job.processed_at
    if ended is None and job.status != PROCESSING:
        return []
    output = job.error_message or ""
    return [HistoryEntry(job.attempts, outcome, job.reserved_by or "", job.reserved_at, ended, output)]


def _cut(entries: list[HistoryEntry]) -> int:
    """Attempts are counted from 1, so the first line that is left says how many are not."""
    attempts = [each.attempt for each in entries if not each.by_operator]
    requeued = any(each.outcome == history.REQUEUED for each in entries)
    return attempts[0] - 1 if attempts and not requeued else 0


def _blocker(job: JobSummary, lane_jobs: tuple[JobSummary, ...]) -> Optional[JobSummary]:
    """The one that runs, else the first one that waits before it."""
    if job.status != PENDING:
        return None
    running = [other for other in lane_jobs if other.status == PROCESSING]
    earlier = [other for other in lane_jobs if other.id < job.id]
    return next(iter([*running, *earlier]), None)
