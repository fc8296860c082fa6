"""How stored values become values of Python: times, and the columns of a JobSummary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Optional

from scalable.lib.queue.job import JobSummary

# In the order of JobSummary.
SUMMARY = """id, status, update_id, update_type, lane, attempts, available_at, reserved_at, reserved_by, processed_at,
       created_at, error_message, warned"""

# Stored times before and after that of any job, for walks along created_at from one of its ends.
BEFORE_ALL, AFTER_ALL = "1000-01-01 00:00:00.000", "9999-12-31 23:59:59.999"
HIGHEST_ID = 2**63 - 1
MAX_ERROR_CHARACTERS = 4000


def time_of(text: str) -> datetime:
    """A time as both databases give it, `2026-01-01 12:00:00.000`, as an aware UTC datetime. Raises ValueError."""
    return datetime.fromisoformat(f"{text}+00:00")


def stored_time(time: datetime) -> str:
    """The same way back; both databases compare it with what they stored."""
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}"


def optional_time(text: Optional[str]) -> Optional[datetime]:
    """The same of a time that may be missing."""
    return None if text is None else time_of(text)


def with_times(row: Sequence[Any], *places: int) -> list[Any]:
    """The values of a row, those at `places` read as times."""
    values = list(row)
    for place in places:
        values[place] = optional_time(values[place])
    return values


def summary(row: tuple[Any, ...]) -> JobSummary:
    """The row's first columns, which are SUMMARY's, as a value."""
    values = with_times(row[:13], 6, 7, 9, 10)
    values[12] = bool(values[12])
    return JobSummary(*values)


def short_text(error: str) -> str:
    """The end of a long text, because a program writes there why it stopped."""
    clean = error.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= MAX_ERROR_CHARACTERS else "…" + clean[-MAX_ERROR_CHARACTERS + 1 :]
