"""Finds jobs for an operator: newest first, by state, type, lane, number or error text, a page at a time.

No index is kept for most of this, because every job would pay for it. A search walks back through the jobs instead, in
bounded steps by primary key or through the index of a lane or a state, until the page is full or its time is over; the
result holds where the next search goes on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

from scalable.lib.queue.job import DONE, JobSummary
from scalable.lib.queue.rows import AFTER_ALL, HIGHEST_ID, SUMMARY, summary
from scalable.lib.queue.table import QueueTable

# Beside the states of jobs, what a search may ask for: done, with a warning of the bot.
WARNED = "warned"
# How long one search goes on, and one that only begins: a page is opened with it, which then asks for more by itself.
BUDGET_SECONDS, FIRST_BUDGET_SECONDS = 0.4, 0.02
# How many ids one step examines: few at first, more while a step takes less than this share of the time there is.
FIRST_STEP, LONGEST_STEP = 1_000, 32_000
QUICK_SHARE = 1 / 8
# Ids of one state or lane that are looked up together.
STATE_STEP = 2_000
# (limit, before): the ids of that many jobs before that one, newest first; fewer only at the end.
_Window = Callable[[int, Optional[int]], list[int]]
_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_BIGINT = range(-(2**63), 2**63)

# What a filter adds to a statement, examined for each row of a step.
_CONDITIONS = {
    "status": "AND status = :status",
    "update_type": "AND update_type = :update_type",
    "lane": "AND lane = :lane",
    "warned": "AND warned = :warned",
    "error": "AND error_message LIKE :error ESCAPE '!'",
    "digits": "AND {contains:payload:digits}",
}

# One step through all jobs. By primary key, a range.
WALK = f"""
SELECT {SUMMARY}, {{{{payload}}}}
FROM {{jobs}} {{by_id}}
WHERE id < :before
  AND id >= :lowest
  {{{{more}}}}
ORDER BY id DESC
LIMIT :limit
"""

# The jobs of one step through a state. By primary key.
AMONG = f"""
SELECT {SUMMARY}, {{{{payload}}}}
FROM {{jobs}} {{by_id}}
WHERE id IN ({{ids}})
  {{{{more}}}}
LIMIT :limit
"""

# The newest jobs of a state before a given one. By index status_created from its end.
EARLIER_IN_STATE = """
SELECT id
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at <= :created_at
  AND (created_at < :created_at OR id < :id)
ORDER BY created_at DESC, id DESC
LIMIT :limit
"""

# The newest jobs of a lane before a given one. By index lane from its end.
EARLIER_IN_LANE = """
SELECT id
FROM {jobs} {use:lane}
WHERE lane = :lane
  AND id < :before
ORDER BY id DESC
LIMIT :limit
"""

# Where in time a job stands, or the one before it when it was deleted. By primary key.
POSITION = """
SELECT created_at
FROM {jobs}
WHERE id <= :id
ORDER BY id DESC
LIMIT 1
"""

# The first and the last id. By primary key from both ends; SQLite reads the whole table for two of them in one query.
BOUNDS = """
SELECT (SELECT MIN(id) FROM {jobs}), (SELECT MAX(id) FROM {jobs})
LIMIT 1
"""

# By primary key and by index one_update, a row each.
BY_NUMBER = f"""
SELECT {SUMMARY} FROM {{jobs}} WHERE id = :number
UNION ALL
SELECT {SUMMARY} FROM {{jobs}} WHERE update_id = :number AND id <> :number
LIMIT 2
"""


@dataclass(frozen=True)
class Filter:
    """Which jobs are meant: those for which everything holds that is not None.

    `warned`: done, and the bot wrote a warning. `number`: the id of the job or its update, or an id of a chat or
    user anywhere in the update. `error`: a part of the error message, in upper or lower case.
    """

    status: Optional[str] = None
    update_type: Optional[str] = None
    lane: Optional[str] = None
    number: Optional[int] = None
    error: Optional[str] = field(default=None, repr=False)
    warned: Optional[bool] = None

    @property
    def in_a_row(self) -> bool:
        """Whether a condition has to be examined row by row."""
        return any(value is not None for value in (self.update_type, self.lane, self.number, self.error, self.warned))


@dataclass(frozen=True)
class Found:
    """A page of jobs, newest first. `exact`: those whose own id or update's id is the number searched for.

    `next_before`: go on with jobs before this id; None at the end. `full`: False when the time was over first.
    """

    jobs: tuple[JobSummary, ...]
    next_before: Optional[int] = None
    full: bool = True
    exact: tuple[JobSummary, ...] = ()


def read_filter(status: str = "", update_type: str = "", lane: str = "", text: str = "") -> Filter:
    """The Filter for these texts, empty ones left out; a `text` that is a number is searched for as one.

    A `status` is one of a job, or WARNED: those that are done with a warning.
    """
    text = text.strip()
    is_number = _NUMBER.fullmatch(text) is not None and int(text) in _BIGINT
    return Filter(
        DONE if status == WARNED else status or None,
        update_type or None,
        lane or None,
        number=int(text) if is_number else None,
        error=None if is_number or not text else text,
        warned=True if status == WARNED else None,
    )


class Search:
    """Finds jobs of the queue in `table`. Safe to share between threads; changes nothing."""

    def __init__(self, table: QueueTable, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock

    def find(
        self, wanted: Filter, limit: int, before: Optional[int] = None, budget_seconds: float = BUDGET_SECONDS
    ) -> Found:
        """Up to `limit` jobs, from the newest, or from the one before `before`, back.

        No step through the jobs but the first is begun after `budget_seconds`: every search comes further.
        """
        exact = self.exact(wanted) if before is None else ()
        walk = _Walk(limit, self._clock() + budget_seconds, budget_seconds * QUICK_SHARE)
        if wanted.lane is not None:
            self._through_lane(walk, wanted, wanted.lane, before)
        elif wanted.status is not None:
            self._through_state(walk, wanted, wanted.status, before)
        elif wanted.in_a_row:
            self._through_all(walk, wanted, before)
        else:
            self._newest(walk, before)
        return Found(tuple(walk.jobs[:limit]), walk.next_before, walk.is_full or walk.next_before is None, exact)

    def exact(self, wanted: Filter) -> tuple[JobSummary, ...]:
        """The jobs whose own id or update's id is the number; looked up by two indexes, whatever else there is."""
        if wanted.number is None:
            return ()
        rows = self._table.rows(BY_NUMBER, number=wanted.number)
        found = [summary(row) for row in rows]
        return tuple(
            job for job in found if wanted.status in (None, job.status) and wanted.warned in (None, job.warned)
        )

    def _newest(self, walk: _Walk, before: Optional[int]) -> None:
        last = HIGHEST_ID if before is None else before
        walk.add(matching(self._table, WALK, Filter(), before=last, lowest=0, limit=walk.limit + 1)[0], last)
        walk.stop(walk.jobs[walk.limit - 1].id if walk.is_full else None)

    def _through_all(self, walk: _Walk, wanted: Filter, before: Optional[int]) -> None:
        [(lowest, highest)] = self._table.rows(BOUNDS)
        if highest is None:
            return
        here = highest + 1 if before is None else min(before, highest + 1)
        step = FIRST_STEP
        while here > lowest and not walk.is_over(self._clock()):
            began = self._clock()
            bottom, room = max(here - step, lowest), walk.limit + 1
            found, seen = matching(self._table, WALK, wanted, before=here, lowest=bottom, limit=room)
            here = walk.add(found, seen[-1] if len(seen) == room else bottom)
            if self._clock() - began < walk.quick_seconds:
                step = min(step * 2, LONGEST_STEP)
        walk.stop(here if here > lowest else None)

    def _through_state(self, walk: _Walk, wanted: Filter, status: str, before: Optional[int]) -> None:
        step = STATE_STEP if wanted.in_a_row else walk.limit + 1
        self._through_ids(walk, replace(wanted, status=None), step, before, partial(self._of_state, status))

    def _through_lane(self, walk: _Walk, wanted: Filter, lane: str, before: Optional[int]) -> None:
        rest = replace(wanted, lane=None)
        step = STATE_STEP if rest.in_a_row or rest.status is not None else walk.limit + 1
        self._through_ids(walk, rest, step, before, partial(self._of_lane, lane))

    def _through_ids(self, walk: _Walk, wanted: Filter, step: int, before: Optional[int], window: _Window) -> None:
        """Examine the ids that `window` gives, so many at a time."""
        ids = window(step, before)
        while ids and not walk.is_over(self._clock()):
            found, _ = matching(self._table, AMONG, wanted, ids=ids, limit=len(ids))
            order = {job_id: place for place, job_id in enumerate(ids)}
            last = walk.add(sorted(found, key=lambda job: order[job.id]), ids[-1])
            if walk.is_full:
                walk.stop(last)
                return
            ids = window(step, last) if len(ids) == step else []
            walk.stop(last if ids else None)

    def _of_lane(self, lane: str, limit: int, before: Optional[int]) -> list[int]:
        last = HIGHEST_ID if before is None else before
        rows = self._table.rows(EARLIER_IN_LANE, lane=lane, before=last, limit=limit)
        return [job_id for (job_id,) in rows]

    def _of_state(self, status: str, limit: int, before: Optional[int]) -> list[int]:
        if before is None:
            created_at, before = AFTER_ALL, HIGHEST_ID
        elif position := self._table.rows(POSITION, id=before):
            created_at = position[0][0]
        else:
            return []
        rows = self._table.rows(EARLIER_IN_STATE, status=status, created_at=created_at, id=before, limit=limit)
        return [job_id for (job_id,) in rows]


class _Walk:
    """One search: what it found, how long it may go on, and where the next page begins.

    After a step of less than `quick_seconds` the next one may be longer.
    """

    def __init__(self, limit: int, until: float, quick_seconds: float) -> None:
        self.limit = limit
        self.jobs: list[JobSummary] = []
        self.next_before: Optional[int] = None
        self.quick_seconds = quick_seconds
        self._until = until
        self._has_begun = False

    @property
    def is_full(self) -> bool:
        """Whether there is a page, and something behind it."""
        return len(self.jobs) > self.limit

    def is_over(self, now: float) -> bool:
        """Whether to search no further: not before one step was made, however long it took to begin."""
        return self.is_full or (self._has_begun and now >= self._until)

    def add(self, found: Iterable[JobSummary], reached: int) -> int:
        """Take what one step found, which reached that id; from where to go on."""
        self._has_begun = True
        self.jobs += found
        return self.jobs[self.limit - 1].id if self.is_full else reached

    def stop(self, next_before: Optional[int]) -> None:
        """The next page begins there; None: there is none."""
        self.next_before = next_before


def matching(table: QueueTable, step: str, wanted: Filter, **values: Any) -> tuple[list[JobSummary], list[int]]:
    """The jobs of one step, WALK or AMONG, that fit the filter; and the ids of all rows it gave."""
    conditions = _values(wanted)
    rows = table.rows(statement(step, conditions), **values, **conditions)
    fitting = [row for row in rows if wanted.number is None or _holds(row, wanted.number)]
    return [summary(row[:-1]) for row in fitting], [row[0] for row in rows]


def statement(step: str, conditions: dict[str, Any]) -> str:
    """WALK or AMONG with these conditions; the payload is read only when it has to be examined again."""
    more = "\n  ".join(_CONDITIONS[name] for name in _CONDITIONS if name in conditions)
    return step.replace("{{more}}", more).replace("{{payload}}", "payload" if "digits" in conditions else "NULL")


def _values(wanted: Filter) -> dict[str, Any]:
    values: dict[str, Any] = {"status": wanted.status, "update_type": wanted.update_type, "lane": wanted.lane}
    values["warned"] = None if wanted.warned is None else int(wanted.warned)
    if wanted.number is not None:
        values["digits"] = str(wanted.number)
    if wanted.error is not None:
        values["error"] = "%" + re.sub(r"[%_!]", r"!\g<0>", wanted.error) + "%"
    return {name: value for name, value in values.items() if value is not None}


def _holds(row: tuple[Any, ...], number: int) -> bool:
    """Whether the number is an id in the update, or its lane's: the statement finds its digits anywhere."""
    lane, payload = row[4] or "", row[-1]
    return lane.endswith(f":{number}") or re.search(rf'id"\s*:\s*{number}(?![0-9.eE])', payload) is not None
