"""What the dashboard shows, as plain values: the one source of the page, the JSON and the terminal's table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

from scalable.lib.errors import SchemaMissing
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import STATUSES, Counts, JobSummary


@dataclass(frozen=True)
class Overview:
    """Counts of all jobs, and the newest of them, newest first."""

    counts: Counts
    jobs: tuple[JobSummary, ...]


def read_overview(queue: DatabaseQueue, limit: int) -> Overview:
    """The queue as it is now, with its `limit` newest jobs; empty as long as nothing has made its table."""
    try:
        return Overview(queue.counts(), tuple(queue.newest(limit)))
    except SchemaMissing:
        return Overview(Counts(), ())


def counts_by_name(counts: Counts) -> dict[str, int]:
    """The counts in the order a person reads them, the total last."""
    return {**{status: getattr(counts, status) for status in STATUSES}, "total": counts.total}


def as_json(overview: Overview) -> dict[str, Any]:
    """The documented JSON: `{"counts": {…}, "jobs": […]}`; times are ISO 8601 in UTC."""
    return {"counts": counts_by_name(overview.counts), "jobs": [_job_as_json(job) for job in overview.jobs]}


def _job_as_json(job: JobSummary) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "update_id": job.update_id,
        "update_type": job.update_type,
        "attempts": job.attempts,
        "created_at": _iso(job.created_at),
        "available_at": _iso(job.available_at),
        "reserved_at": _iso(job.reserved_at),
        "reserved_by": job.reserved_by,
        "processed_at": _iso(job.processed_at),
        "error_message": job.error_message,
    }


def error_in_a_line(error: Optional[str], max_characters: int) -> str:
    """What happened, and the last thing the bot said, which is where programs say why: `exit code 1 – no such chat`."""
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    return " – ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:max_characters]


def _iso(time: Optional[datetime]) -> Optional[str]:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
