"""What the dashboard shows of the whole queue, as plain values: the one source of page, JSON, metrics and terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Optional

from scalable.lib.errors import SchemaMissing
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import STATUSES, Counts, JobSummary, ServerDescription
from scalable.lib.queue.notes import BREAKER, PAUSED, WEBHOOK, Note
from scalable.lib.queue.outages import Outage, outage_of
from scalable.lib.queue.views.browse import Count, Waiting
from scalable.lib.queue.views.health import check_health, read_vitals
from scalable.lib.queue.views.minutes import Minute, percentile
from scalable.lib.queue.views.search import Filter, Found
from scalable.lib.queue.views.verdict import Reason, Verdict, judge
from scalable.lib.queue.views.verdict_seen import verdict_seen
from scalable.lib.queue.views.vitals import Vitals
from scalable.lib.queue.views.webhook_info import WEBHOOK_PAUSE_SECONDS, WebhookInfo, read_webhook
from scalable.lib.queue.worker_registry import RegisteredWorker

# Rates are of the last minutes that are over and counted; older ones say nothing about now.
RATE_MINUTES, RATE_WITHIN_SECONDS = 5, 600.0
# What is counted of jobs in a Minute.
EVENTS = ("enqueued", "done", "failed", "retried", "expired", "warned")


@dataclass(frozen=True)
class Rates:
    """Jobs per minute that came in and that ended; None when no recent minute has been counted."""

    came: Optional[float] = None
    ended: Optional[float] = None


@dataclass(frozen=True)
class Overview:
    """The queue as it is now. `jobs`: the newest, newest first.

    `shows_causes`: what the bot said is in it; `is_owners`: also what only the owner may know. See `as_seen`.
    """

    counts: dict[str, Count]
    vitals: Vitals
    verdict: Verdict
    rates: Rates = Rates()
    server: Optional[ServerDescription] = None
    jobs: tuple[JobSummary, ...] = ()
    shows_causes: bool = True
    is_owners: bool = True

    @property
    def webhook(self) -> Optional[WebhookInfo]:
        """What Telegram last reported about the webhook; None when it was never asked."""
        seen = read_webhook(self.vitals.notes)
        return seen if seen is None or self.is_owners else seen.for_readers()

    @property
    def needs_webhook(self) -> bool:
        """Whether it is time to ask Telegram again."""
        note = self.vitals.notes.get(WEBHOOK)
        return note is None or note.age_seconds >= WEBHOOK_PAUSE_SECONDS

    @property
    def paused(self) -> Optional[Note]:
        """Set while no job is given out."""
        note = self.vitals.notes.get(PAUSED)
        return note if note is None or self.is_owners else replace(note, text="")

    @property
    def outage(self) -> Optional[Outage]:
        """Set while the bot's side is down: updates wait, and only one is tried now and then."""
        note = self.vitals.notes.get(BREAKER)
        outage = None if note is None else outage_of(note)
        return outage if outage is None or self.shows_causes else replace(outage, cause="")


def read_overview(queue: DatabaseQueue, limit: int) -> Overview:
    """The queue with its `limit` newest jobs; empty as long as its tables have not been made.

    Raises DatabaseUnavailable.
    """
    server = queue.describe_server()
    try:
        public = _read_public(queue)
        jobs = queue.search.find(Filter(), limit).jobs if limit else ()
        return replace(public, rates=_rates(queue), server=server, jobs=jobs)
    except SchemaMissing:
        return replace(_without_tables(queue), server=server)


def read_public(queue: DatabaseQueue) -> Overview:
    """The part of it that public_json and public_metrics need. Raises DatabaseUnavailable."""
    try:
        public = _read_public(queue)
        return as_seen(public, is_owner=False, is_masked=True)
    except SchemaMissing:
        return _without_tables(queue)


def as_seen(overview: Overview, is_owner: bool, is_masked: bool) -> Overview:
    """The same without what a visitor may not see, but for its jobs: see masking.py.

    Of the owner's alone are addresses, the webhook's and the one a change came from, and the words of others about the
    installation; of people is what the bot said.
    """
    seen = verdict_seen(overview.verdict, is_owner, is_masked)
    return replace(overview, verdict=seen, shows_causes=not is_masked, is_owners=is_owner)


def _read_public(queue: DatabaseQueue) -> Overview:
    vitals = read_vitals(queue)
    counts = queue.jobs.counts(vitals.notes)
    return Overview(counts, vitals, judge(vitals))


def _without_tables(queue: DatabaseQueue) -> Overview:
    counts = {name: Count(0) for name in (*STATUSES, "total")}
    return Overview(counts, Vitals(Waiting(), (), {}, None), check_health(queue))


def exact_counts(overview: Overview, counts: Counts) -> Overview:
    """The same with `counts`, which are of this moment."""
    numbers = {**vars(counts), "total": counts.total}
    return replace(overview, counts={name: Count(number) for name, number in numbers.items()})


def _rates(queue: DatabaseQueue) -> Rates:
    minutes = queue.minutes.read(RATE_WITHIN_SECONDS)
    counted = [minute for minute in minutes if minute.enqueued is not None][-RATE_MINUTES:]
    if not counted:
        return Rates()
    came = sum(minute.enqueued or 0 for minute in counted)
    ended = sum(minute.done + minute.failed + minute.expired for minute in counted)
    return Rates(came / len(counted), ended / len(counted))


def as_json(overview: Overview) -> dict[str, Any]:
    """The documented JSON; times are ISO 8601 in UTC, durations in seconds."""
    waiting, paused, rates = overview.vitals.waiting, overview.paused, overview.rates
    outage = overview.outage
    return {
        **public_json(overview),
        "paused": None if paused is None else {"since": iso(paused.at), "by": paused.text},
        "bot_down": outage and {"since": iso(outage.since), "cause": outage.cause, "failed_probes": outage.step},
        "waiting": {
            "oldest_seconds": waiting.seconds,
            "oldest_job": waiting.job_id,
            "blocked_seconds": waiting.blocked_seconds,
            "blocked_job": waiting.blocked_job_id,
        },
        "per_minute": {"came": rates.came, "ended": rates.ended},
        "last_hour": _hour_as_json(overview.vitals.last_hour),
        "workers": [_worker_as_json(worker) for worker in overview.vitals.workers],
        "database": overview.server and {"product": overview.server.product, "version": overview.server.version},
        "webhook": _webhook_as_json(overview.webhook),
        "jobs": [_job_as_json(job) for job in overview.jobs],
    }


def public_json(overview: Overview) -> dict[str, Any]:
    """The part of it that strangers may see: nothing in it is about a person."""
    counts = overview.counts
    times = [count.at for count in counts.values() if count.at is not None]
    return {
        "counts": {name: count.number for name, count in counts.items()},
        "counts_exact": {name: count.is_exact for name, count in counts.items()},
        "counted_at": iso(min(times)) if times else None,
        "health": health_json(overview.verdict),
    }


def health_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict, as `?format=health` gives it."""
    return {
        "ok": verdict.is_well,
        "state": verdict.state.value,
        "reasons": [_reason_as_json(reason) for reason in verdict.reasons],
        "remarks": [_reason_as_json(remark) for remark in verdict.remarks],
    }


def _reason_as_json(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "text": reason.text, "state": reason.severity.value}


def _hour_as_json(hour: Optional[Minute]) -> dict[str, Any]:
    if hour is None:
        hour = Minute(datetime.min, None, 0, 0, 0, 0, (), ())
    return {
        **{name: getattr(hour, name) for name in EVENTS},
        "wait_seconds": _spread(hour.waits),
        "run_seconds": _spread(hour.runs),
    }


def _spread(histogram: tuple[int, ...]) -> dict[str, Optional[float]]:
    return {"median": percentile(histogram, 0.5), "p95": percentile(histogram, 0.95)}


def _webhook_as_json(webhook: Optional[WebhookInfo]) -> Optional[dict[str, Any]]:
    """Without the query of the address, which may be a password."""
    if webhook is None:
        return None
    return {
        "url": webhook.url.partition("?")[0],
        "pending": webhook.pending,
        "last_error": webhook.last_error,
        "last_error_at": iso(webhook.error_time),
        "seen_at": iso(webhook.seen),
        "trouble": webhook.trouble,
    }


def _worker_as_json(worker: RegisteredWorker) -> dict[str, Any]:
    times = {"started_at": iso(worker.started_at), "heartbeat_at": iso(worker.heartbeat_at)}
    return {**vars(worker), **times, "job_id": worker.job_ids[0] if worker.job_ids else None}


def jobs_json(jobs: Iterable[JobSummary], found: Found) -> dict[str, Any]:
    """`jobs`, as they were found or as they may be seen, and where to go on."""
    return {
        "jobs": [_job_as_json(job) for job in jobs],
        "next_before": found.next_before,
        "complete": found.full,
    }


def _job_as_json(job: JobSummary) -> dict[str, Any]:
    shown = dict(vars(job))
    for name in ("created_at", "available_at", "reserved_at", "processed_at"):
        shown[name] = iso(shown[name])
    return shown


def iso(time: Optional[datetime]) -> Optional[str]:
    """`2026-01-01T12:00:00.000Z`."""
    if time is None:
        return None
    # Twice as quick as isoformat; a list of jobs has hundreds of them.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (  # noqa: UP031
        time.year,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        time.microsecond // 1000,
    )
