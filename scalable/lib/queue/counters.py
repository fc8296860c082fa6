"""Counters: what happened in a process, added to the row of its minute in one statement now and then.

Events are kept in memory, in slots of a quarter of a minute, each written to the minute in which it happened however
late that is. So a job costs no write, and a process that is killed loses what it counted since its last flush, about
ten seconds. When the connection breaks in the very moment a slot is committed, that slot may be counted twice:
these are numbers for charts, not for accounts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from scalable.lib.queue.dialects.tables import BUCKETS, COUNTERS, RUN_BUCKETS, WAIT_BUCKETS
from scalable.lib.queue.table import QueueTable

# More than the ten seconds between two flushes, so that a flush usually is one statement.
SLOT_SECONDS = 15.0
# An hour and a half of slots that could not be written; what comes after goes into the newest of them.
MOST_SLOTS = 360
_COLUMNS = (*COUNTERS, *WAIT_BUCKETS, *RUN_BUCKETS)
_SUMS = ", ".join(f"{name} = {name} + :{name}" for name in _COLUMNS)

# Adds to the minute that was `:age` seconds ago. By primary key, committed at once: others wait for it a moment.
ADD_TO_MINUTE = f"""
UPDATE {{jobs}}_minutes
SET {_SUMS}
WHERE minute = {{minute_ago:age}}
"""

# The minute's first counts. The primary key refuses a second process, which adds instead.
BEGIN_MINUTE = f"""
INSERT INTO {{jobs}}_minutes (minute, {", ".join(_COLUMNS)})
VALUES ({{minute_ago:age}}, {", ".join(f":{name}" for name in _COLUMNS)})
"""


@dataclass
class _Slot:
    since: float
    counts: Counter[str] = field(default_factory=Counter)


class Counters:
    """Counts events of one process, for one thread; `flush` adds them to those of all others."""

    def __init__(self, table: QueueTable, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._slots: list[_Slot] = []

    def count(self, event: str, number: int = 1) -> None:
        """`number` jobs more were `event`: one of COUNTERS, such as done; `warned` ones are done, too."""
        if event not in COUNTERS:
            raise ValueError(f"event {event!r}: expected one of {', '.join(COUNTERS)}")
        if number:
            self._add(event, number)

    def waited(self, seconds: float) -> None:
        """A job was claimed `seconds` after it was due."""
        self._add(WAIT_BUCKETS[bucket_of(seconds)], 1)

    def ran(self, seconds: float) -> None:
        """A run of the bot took `seconds`."""
        self._add(RUN_BUCKETS[bucket_of(seconds)], 1)

    @property
    def is_empty(self) -> bool:
        """Whether everything that was counted is written."""
        return not self._slots

    def flush(self) -> None:
        """Write everything that was counted, one statement for each slot; usually that is one.

        Raises DatabaseUnavailable or SchemaMissing; what was not written is kept for the next time.
        """
        while self._slots:
            self._write(self._slots[0])
            del self._slots[0]

    def _add(self, column: str, number: int) -> None:
        now = self._clock()
        if not self._slots or (now - self._slots[-1].since >= SLOT_SECONDS and len(self._slots) < MOST_SLOTS):
            self._slots.append(_Slot(now))
        self._slots[-1].counts[column] += number

    def _write(self, slot: _Slot) -> None:
        counts = {name: slot.counts[name] for name in _COLUMNS}
        age = max(0, int(self._clock() - slot.since))
        self._table.upsert(ADD_TO_MINUTE, BEGIN_MINUTE, age=age, **counts)


def bucket_of(seconds: float) -> int:
    """The bucket of a histogram this time falls into: n for less than 2**n ms, the last for all that is longer."""
    return min(int(max(seconds, 0) * 1000).bit_length(), BUCKETS - 1)
