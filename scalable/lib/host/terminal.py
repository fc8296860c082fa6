"""The dashboard's content as lines of text."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Optional

from scalable.lib.queue.job import JobSummary
from scalable.lib.web.overview import error_in_a_line


def counts_lines(counts: dict[str, int]) -> list[str]:
    """One line a state, numbers under each other."""
    width = max(len(f"{count}") for count in counts.values())
    return [f"{name:<11}{count:>{width}}" for name, count in counts.items()]


def job_lines(jobs: tuple[JobSummary, ...], now: Optional[datetime] = None) -> list[str]:
    """A table of jobs; `now` (default: this machine's clock) is what ages are counted from."""
    now = now or datetime.now(timezone.utc)
    rows = [("job", "state", "update", "attempts", "arrived", "error")]
    rows += [
        (
            str(job.id), job.status, f"{job.update_type or 'unknown'} {job.update_id or ''}".strip(), str(job.attempts),
            _ago((now - job.created_at).total_seconds()), _printable(error_in_a_line(job.error_message, 90)),
        )
        for job in jobs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths)), row[5]]).rstrip() for row in rows]


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(int(seconds), 0)} s ago"


def _printable(text: str) -> str:
    """A bot's words must not move the cursor or colour the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
