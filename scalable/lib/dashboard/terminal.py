"""The dashboard's content as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Optional

from scalable.lib.dashboard.readable import error_in_a_line, indented_json, visible
from scalable.lib.queue.history import HistoryEntry
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.views.browse import Count, JobDetail
from scalable.lib.queue.views.search import WARNED
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.queue.worker_registry import RegisteredWorker

_Rows = list[tuple[str, ...]]


def counts_lines(counts: dict[str, Count]) -> list[str]:
    """One line a state, numbers under each other; one that is not exact or not of this moment is marked."""
    width = max(len(str(count.number)) for count in counts.values())
    return [f"{name:<11}{count.number:>{width}}{_exactness(count)}" for name, count in counts.items()]


def _exactness(count: Count) -> str:
    if count.is_bound:
        return " or more"
    return "" if count.at is None else f"  counted at {count.at:%H:%M:%S} UTC"


def worker_lines(workers: Sequence[RegisteredWorker]) -> list[str]:
    """A table of workers."""
    rows: _Rows = [("worker", "pid", "runs now", "runs", "failed", "memory")]
    for worker in workers:
        memory = "" if worker.memory_kb is None else f"{worker.memory_kb // 1024} MB"
        now = f"job {', '.join(map(str, worker.job_ids))}" if worker.job_ids else "idle"
        rows.append((_printable(worker.name), str(worker.pid), now, str(worker.runs), str(worker.failed), memory))
    return _columns(rows) if workers else ["no worker is alive"]


def job_lines(jobs: Sequence[JobSummary], now: Optional[datetime] = None) -> list[str]:
    """A table of jobs; `now` (default: this machine's clock) is what ages are counted from."""
    now = now or datetime.now(timezone.utc)
    rows: _Rows = [("job", "state", "update", "lane", "attempts", "arrived", "error")]
    for job in jobs:
        rows.append(
            (
                str(job.id),
                WARNED if job.warned else job.status,
                f"{job.update_type or 'unknown'} {job.update_id or ''}".strip(),
                job.lane or "",
                str(job.attempts),
                _ago((now - job.created_at).total_seconds()),
                _printable(error_in_a_line(job.error_message, 90)),
            )
        )
    return _columns(rows)


def detail_lines(detail: JobDetail) -> list[str]:
    """Everything about one job."""
    job = detail.summary
    state = "done with warnings" if job.warned else job.status
    lines = [
        f"job {job.id}: {state}, {job.update_type or 'unknown type'}, update {job.update_id}, lane {job.lane}",
        f"arrived {_moment(job.created_at)}",
    ]
    for entry in detail.history:
        lines += _entry_lines(entry)
    if detail.blocked_by is not None:
        lines.append(f"waits for job {detail.blocked_by.id} of its lane, which is {detail.blocked_by.status}")
    if job.status == "pending" and job.attempts:
        lines.append(f"next attempt {_moment(job.available_at)}")
    return [*lines, "", *_printable_lines(indented_json(detail.payload) or detail.payload)]


def webhook_lines(webhook: WebhookInfo) -> list[str]:
    """What Telegram last reported about the webhook."""
    lines = [
        f"webhook: {webhook.url or 'none is set'}",
        f"wait at Telegram: {webhook.pending}",
        f"last failed delivery: {_moment(webhook.error_time)} {_printable(webhook.last_error)}".rstrip(),
    ]
    if webhook.max_connections is not None:
        lines.append(f"deliveries at the same time: {webhook.max_connections} at most")
    if webhook.allowed_updates:
        lines.append(f"types of updates: {', '.join(_printable(name) for name in webhook.allowed_updates)}")
    if webhook.before:
        lines.append(f"before: {webhook.before}")
    return [*lines, f"Telegram could not be asked: {webhook.trouble}"] if webhook.trouble else lines


def _entry_lines(entry: HistoryEntry) -> list[str]:
    if entry.by_operator:
        return [f"{entry.outcome} by hand {_moment(entry.ended_at)}"]
    took = "" if entry.seconds is None else f", {entry.seconds:.1f} s"
    when = f"{_moment(entry.started_at)}{took}, worker {_printable(entry.worker)}"
    head = f"attempt {entry.attempt}: {entry.outcome}, {when}"
    return [head, *(f"    {line}" for line in _printable_lines(entry.output.strip()))]


def _columns(rows: _Rows) -> list[str]:
    """Cells under each other, two spaces apart; the last column is not filled up."""
    last = len(rows[0]) - 1
    widths = [max(len(row[column]) for row in rows) for column in range(last)]
    return ["  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths)), row[last]]).rstrip() for row in rows]


def _moment(time: Optional[datetime]) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(int(seconds), 0)} s ago"


def _printable_lines(text: str) -> list[str]:
    return [_printable(line) for line in text.split("\n")] if text else []


def _printable(text: str) -> str:
    """Without what would move the cursor or colour the terminal."""
    return "".join(character if character.isprintable() else "?" for character in visible(text))
