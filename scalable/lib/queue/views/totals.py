"""Totals: how many jobs there are in each state when there are too many to count for a page.

Maintenance counts them now and then in the index, in steps that keep no other statement waiting, and leaves a note.
Such a number is always shown with the time it was counted at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scalable.lib.queue.job import STATUSES
from scalable.lib.queue.notes import TOTALS, Note, Notes
from scalable.lib.queue.rows import BEFORE_ALL
from scalable.lib.queue.table import QueueTable

STEP = 50_000
# Counting is worth a fiftieth of the time at most, and is done once a minute at most.
SHARE, SHORTEST_PAUSE_SECONDS = 50, 55.0

# Where the next step begins. By index status_created, no row is read.
STEP_END = """
SELECT created_at, id
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at >= :created_at
  AND (created_at > :created_at OR id > :id)
ORDER BY created_at, id
LIMIT 1 OFFSET :offset
"""

# Only as long as nobody knows of any job. There is one row a minute, of a month at most.
JOBS_IN_THE_PAST = """
SELECT 1
FROM {jobs}_minutes
WHERE enqueued > 0
   OR done > 0
LIMIT 1
"""

# What is behind the last step, less than a step. By the same index.
REST = """
SELECT COUNT(*)
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at >= :created_at
  AND (created_at > :created_at OR id > :id)
"""


@dataclass(frozen=True)
class Counted:
    """A number, when it was counted, and how long ago that is."""

    number: int
    at: datetime
    age_seconds: float


def read_totals(notes: dict[str, Note]) -> dict[str, Counted]:
    """What was counted last, by state; empty when nothing was, or when that note cannot be read."""
    note = notes.get(TOTALS)
    if note is None:
        return {}
    try:
        numbers = json.loads(note.text)
        return {status: Counted(int(numbers[status]), note.at, note.age_seconds) for status in STATUSES}
    except (ValueError, TypeError, KeyError):
        return {}


def ever_counted(notes: dict[str, Note]) -> bool:
    """Whether there has ever been a job, as far as maintenance has noted; pruned jobs are remembered."""
    note = notes.get(TOTALS)
    return note is not None and _had_jobs(note)


class Totals:
    """Counts the jobs of the queue in `table`. Safe in several processes: the first one saves the others the work."""

    def __init__(self, table: QueueTable, notes: Notes, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._notes = notes
        self._clock = clock

    def refresh(self) -> bool:
        """Count and leave the note, unless that was done a short while ago; whether it counted."""
        note = self._notes.read().get(TOTALS)
        if note is not None and note.age_seconds < max(SHORTEST_PAUSE_SECONDS, SHARE * _took_seconds(note)):
            return False
        began = self._clock()
        numbers = {status: self._count(status) for status in STATUSES}
        ever = any(numbers.values()) or (note is not None and _had_jobs(note)) or self._had_jobs_before()
        took = round(self._clock() - began, 3)
        self._notes.write(TOTALS, json.dumps({**numbers, "took_seconds": took, "ever": ever}))
        return True

    def _had_jobs_before(self) -> bool:
        """Of a queue whose jobs were all pruned before this was noted."""
        return bool(self._table.rows(JOBS_IN_THE_PAST))

    def _count(self, status: str) -> int:
        counted = 0
        values: dict[str, Any] = {"status": status, "created_at": BEFORE_ALL, "id": 0}
        while step_end := self._table.rows(STEP_END, offset=STEP - 1, **values):
            counted += STEP
            values["created_at"], values["id"] = step_end[0]
        return counted + int(self._table.rows(REST, **values)[0][0])


def _had_jobs(note: Note) -> bool:
    try:
        return json.loads(note.text)["ever"] is True
    except (ValueError, TypeError, KeyError):
        return False


def _took_seconds(note: Note) -> float:
    try:
        return float(json.loads(note.text)["took_seconds"])
    except (ValueError, TypeError, KeyError):
        return 0.0
