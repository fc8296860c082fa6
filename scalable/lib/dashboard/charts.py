"""The points of the charts: what happened in the last hour, day or week, and how long it took. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Optional

from scalable.lib.queue.views.minutes import Minute, Minutes, percentile

# Name → seconds shown, and seconds of one point.
SPANS = {"hour": (3_600, 60), "day": (86_400, 900), "week": (604_800, 7_200)}


@dataclass(frozen=True)
class Point:
    """What happened per minute in the time that began `at`; times in seconds. None: not counted, or nothing ran."""

    at: datetime
    came: Optional[float]
    done: float
    failed: float
    retried: float
    wait_median: Optional[float] = None
    wait_95: Optional[float] = None
    run_median: Optional[float] = None
    run_95: Optional[float] = None


def read_points(minutes: Minutes, span: str) -> list[Point]:
    """One point for every part of the span, oldest first, without the part that is not over.

    Raises KeyError for an unknown span, DatabaseUnavailable, and SchemaMissing.
    """
    span_seconds, slot_seconds = SPANS[span]
    found = {minute.at: minute for minute in minutes.slots(span_seconds + slot_seconds, slot_seconds)}
    return [_point(at, found.get(at), slot_seconds / 60) for at in _times(minutes.now(), span_seconds, slot_seconds)]


def _times(now: datetime, span_seconds: int, slot_seconds: int) -> Iterator[datetime]:
    end = int(now.timestamp()) // slot_seconds * slot_seconds
    for second in range(end - span_seconds, end, slot_seconds):
        yield datetime.fromtimestamp(second, now.tzinfo)


def _point(at: datetime, minute: Optional[Minute], minutes: float) -> Point:
    if minute is None:
        return Point(at, None, 0, 0, 0)
    return Point(
        at,
        None if minute.enqueued is None else minute.enqueued / minutes,
        minute.done / minutes,
        minute.failed / minutes,
        minute.retried / minutes,
        percentile(minute.waits, 0.5),
        percentile(minute.waits, 0.95),
        percentile(minute.runs, 0.5),
        percentile(minute.runs, 0.95),
    )


def is_empty(points: list[Point]) -> bool:
    """Whether there is nothing to draw."""
    return not any(point.came or point.done or point.failed or point.retried for point in points)
