"""Minutes: what happened in each, read for charts and percentiles; and how many jobs were enqueued, counted later.

The webhook counts nothing, because under CGI it runs for one request. Maintenance counts each minute once, when it is
over, in the index of the jobs table: it reads every job once. It stores the number and adds nothing,
so that two at once, or one that is interrupted and begins again, arrive at the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from scalable.lib.queue.dialects.tables import BUCKETS, COUNTERS, RUN_BUCKETS, WAIT_BUCKETS
from scalable.lib.queue.rows import stored_time, time_of
from scalable.lib.queue.table import QueueTable

KEEP_SECONDS = 31 * 86_400.0
MOST_MINUTES = 50_000
# A minute is counted this long after its end: then every INSERT that began in it was committed or gave up.
INSERTS_COMMITTED_WITHIN = timedelta(seconds=20)
MINUTE = timedelta(minutes=1)
# How far back a first count goes, how far one after an interruption, and how many minutes one call counts.
FIRST_SPAN, LONGEST_SPAN, MOST_AT_ONCE = timedelta(hours=1), timedelta(days=1), 120
Histogram = tuple[int, ...]
# A slot longer than the time since 1970.
ALL_IN_ONE = 10**10

# By primary key, in its order.
READ_MINUTES = f"""
SELECT minute, enqueued, {", ".join((*COUNTERS, *WAIT_BUCKETS, *RUN_BUCKETS))}
FROM {{jobs}}_minutes
WHERE minute >= {{ago:seconds}}
ORDER BY minute
LIMIT :limit
"""

_ALL = ("enqueued", *COUNTERS, *WAIT_BUCKETS, *RUN_BUCKETS)

# The same put together, in slots of `:slot` seconds. Reads the rows of that time by primary key; there is one a minute,
# 10,000 in a week. Sorted by the reader, because the server would sort more than it gives.
READ_SLOTS = f"""
SELECT {{slot:minute:slot}} AS slot, {", ".join(f"SUM({name})" for name in _ALL)}
FROM {{jobs}}_minutes
WHERE minute >= {{ago:seconds}}
GROUP BY slot
{{unsorted}}
LIMIT :limit
"""

# Deletes about one row a minute. By primary key, from its beginning.
DELETE_MINUTES = """
DELETE FROM {jobs}_minutes
WHERE minute < {ago:seconds}
"""

NOW = "SELECT {now} LIMIT 1"

# By primary key from now on backwards; the newest minutes have no count yet, and are passed over. Later ones are of the
# time before the clock was set back.
LAST_COUNTED = """
SELECT minute
FROM {jobs}_minutes
WHERE enqueued IS NOT NULL
  AND minute <= {now}
ORDER BY minute DESC
LIMIT 1
"""

# Reads only the index status_created, and in it only the jobs of that minute, one range for each state.
COUNT_ENQUEUED = """
SELECT COUNT(*)
FROM {jobs} {use:status_created}
WHERE status IN ('pending', 'processing', 'done', 'failed', 'expired')
  AND created_at >= :minute
  AND created_at < :next_minute
"""

# Both by primary key. A number is stored, so it does not matter how often or by how many.
SET_ENQUEUED = """
UPDATE {jobs}_minutes
SET enqueued = :enqueued
WHERE minute = :minute
"""

ADD_ENQUEUED = """
INSERT INTO {jobs}_minutes (minute, enqueued)
VALUES (:minute, :enqueued)
"""


@dataclass(frozen=True)
class Minute:
    """What happened in the minute that began `at`, UTC. `enqueued` is None until it was counted.

    `waits` and `runs` are histograms: element n is how many took less than 2**n ms and not less than half of that.
    """

    at: datetime
    enqueued: Optional[int]
    done: int
    failed: int
    retried: int
    expired: int
    waits: Histogram
    runs: Histogram
    warned: int = 0


class Minutes:
    """The counters per minute of the queue in `table`. Safe to share between threads."""

    def __init__(self, table: QueueTable) -> None:
        self._table = table

    def read(self, since_seconds: float) -> list[Minute]:
        """The minutes that began in the last `since_seconds`, oldest first; one in which nothing happened may miss."""
        rows = self._table.rows(READ_MINUTES, seconds=since_seconds, limit=MOST_MINUTES)
        return [_minute(time_of(row[0]), row) for row in rows]

    def slots(self, since_seconds: float, slot_seconds: int) -> list[Minute]:
        """The same, put together in slots of `slot_seconds` that begin at multiples of it, in UTC."""
        rows = self._table.rows(READ_SLOTS, seconds=since_seconds, slot=slot_seconds, limit=MOST_MINUTES)
        return [_minute(datetime.fromtimestamp(int(row[0]) * slot_seconds, timezone.utc), row) for row in sorted(rows)]

    def count_enqueued(self) -> int:
        """Count the jobs of minutes that are over and not counted yet; how many minutes. Safe in several processes."""
        until = _whole_minute(self.now() - INSERTS_COMMITTED_WITHIN)
        minute = self._first_uncounted(until)
        counted = 0
        while minute < until and counted < MOST_AT_ONCE:
            self._count(minute)
            minute += MINUTE
            counted += 1
        return counted

    def prune(self, keep_seconds: float = KEEP_SECONDS) -> int:
        """Delete minutes older than that; how many."""
        return self._table.change(DELETE_MINUTES, seconds=keep_seconds)

    def now(self) -> datetime:
        """The database's clock, UTC."""
        return time_of(self._table.rows(NOW)[0][0])

    def _first_uncounted(self, until: datetime) -> datetime:
        last = self._table.rows(LAST_COUNTED)
        if not last:
            return until - FIRST_SPAN
        return max(time_of(last[0][0]) + MINUTE, until - LONGEST_SPAN)

    def _count(self, minute: datetime) -> None:
        values: dict[str, Any] = {"minute": stored_time(minute), "next_minute": stored_time(minute + MINUTE)}
        enqueued = self._table.rows(COUNT_ENQUEUED, **values)[0][0]
        self._table.upsert(SET_ENQUEUED, ADD_ENQUEUED, minute=values["minute"], enqueued=enqueued)


def _minute(at: datetime, row: tuple[Any, ...]) -> Minute:
    """From a row's columns behind its time, which are decimals where they are sums in MySQL."""
    enqueued = None if row[1] is None else int(row[1])
    done, failed, retried, expired, warned, *times = (int(value) for value in row[2:])
    return Minute(at, enqueued, done, failed, retried, expired, tuple(times[:BUCKETS]), tuple(times[BUCKETS:]), warned)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of everything in them."""
    sums = [0] * BUCKETS
    for histogram in histograms:
        for bucket, number in enumerate(histogram):
            sums[bucket] += number
    return tuple(sums)


def percentile(histogram: Sequence[int], share: float) -> Optional[float]:
    """Seconds within which `share` (0.5: the median) of the times are; None without any.

    Never further from the truth than a factor of two; what is beyond the histogram counts as its end, 70 minutes.
    """
    wanted = share * sum(histogram)
    below = 0
    for bucket, number in enumerate(histogram):
        if number and below + number >= wanted:
            low = 2 ** (bucket - 1) if bucket else 0
            width = 0 if bucket == BUCKETS - 1 else 2**bucket - low
            return (low + width * max(wanted - below, 0) / number) / 1000
        below += number
    return None


def _whole_minute(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)
