"""How a row becomes a JobSummary: the columns, and what is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

from scalable.lib.queue.database import Database
from scalable.lib.queue.job import JobSummary

# In the order of JobSummary.
SUMMARY = """id, status, update_id, update_type, lane, attempts, available_at, reserved_at, reserved_by, processed_at,
       created_at, error_message"""


def summary(database: Database, row: tuple[Any, ...]) -> JobSummary:
    """The row's first columns, which are SUMMARY's, as a value."""

    def time_of(value: Any) -> Optional[datetime]:
        return None if value is None else database.time_of(value)

    return JobSummary(
        id=row[0], status=row[1], update_id=row[2], update_type=row[3], lane=row[4], attempts=row[5],
        available_at=database.time_of(row[6]), reserved_at=time_of(row[7]), reserved_by=row[8],
        processed_at=time_of(row[9]), created_at=database.time_of(row[10]), error_message=row[11],
    )
