"""How a row becomes a JobSummary: the columns, and what is made of them."""

from __future__ import annotations

from typing import Any

from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.job import JobSummary

# In the order of JobSummary.
SUMMARY = """id, status, update_id, update_type, lane, attempts, available_at, reserved_at, reserved_by, processed_at,
       created_at, error_message"""


def summary(database: Database, row: tuple[Any, ...]) -> JobSummary:
    """The row's first columns, which are SUMMARY's, as a value."""
    time_of = database.time_of
    reserved_at, processed_at = row[7], row[9]
    return JobSummary(
        id=row[0],
        status=row[1],
        update_id=row[2],
        update_type=row[3],
        lane=row[4],
        attempts=row[5],
        available_at=time_of(row[6]),
        reserved_at=None if reserved_at is None else time_of(reserved_at),
        reserved_by=row[8],
        processed_at=None if processed_at is None else time_of(processed_at),
        created_at=time_of(row[10]),
        error_message=row[11],
    )
