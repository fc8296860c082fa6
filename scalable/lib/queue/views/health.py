"""Whether the queue does its work: one verdict for the page, for uptime monitors, for a shell and for alerts.

Does not use HTTP. Every reason has a code for programs and a sentence for operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing, StatementRefused
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.notes import BREAKER, PAUSED, TOTALS, WEBHOOK, Note
from scalable.lib.queue.outages import outage_of
from scalable.lib.queue.views.browse import Waiting
from scalable.lib.queue.views.hold import read_hold
from scalable.lib.queue.views.minutes import ALL_IN_ONE, Minute
from scalable.lib.queue.views.webhook_info import read_webhook
from scalable.lib.queue.worker_registry import RegisteredWorker

HOUR = 3600.0
DATABASE, NO_TABLES, NO_WORKER, WAITING, IS_PAUSED, IS_HELD, FAILURES, BAD_WEBHOOK, BOT_DOWN = (
    "database",
    "no_tables",
    "no_worker",
    "waiting",
    "paused",
    "held",
    "failed",
    "webhook",
    "bot_down",
)


@dataclass(frozen=True)
class Thresholds:
    """From when on something is wrong.

    `waiting_seconds`: a job is due that long and no worker has begun it. `silent_seconds`: no worker is there, and none
    has done maintenance for so long; where cron starts one every 15 minutes, it takes more. `failed_share` and
    `failed_at_least`: of the jobs that ended in the last hour more than that share failed, and so many.
    `webhook_error_seconds`: Telegram failed to deliver so shortly before it was asked, and was asked in that time.
    """

    waiting_seconds: float = 300.0
    silent_seconds: float = 300.0
    failed_share: float = 0.1
    failed_at_least: int = 3
    webhook_error_seconds: float = 300.0


@dataclass(frozen=True)
class Reason:
    """Something that is wrong: its code, one sentence in English, and the numbers in it for other languages."""

    code: str
    text: str
    values: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Vitals:
    """What the verdict is made from, read once and shown, too."""

    waiting: Waiting
    workers: tuple[RegisteredWorker, ...]
    notes: dict[str, Note]
    last_hour: Optional[Minute]


def check_health(queue: DatabaseQueue, thresholds: Optional[Thresholds] = None) -> tuple[Reason, ...]:
    """What is wrong just now, worst first; empty when all is well. Never raises because the database is away."""
    try:
        return verdict(read_vitals(queue), thresholds or Thresholds())
    except StatementRefused:
        return (Reason(DATABASE, "the database refuses a statement: the log says which"),)
    except DatabaseUnavailable:
        return (Reason(DATABASE, "the database cannot be reached"),)
    except SchemaMissing:
        return (no_tables(),)


def in_words(reasons: Sequence[Reason]) -> list[str]:
    """The verdict, a line each."""
    return [f"attention: {reason.text}" for reason in reasons] or ["everything works"]


def no_tables() -> Reason:
    """Of a queue without tables."""
    return Reason(NO_TABLES, "the tables are not made yet: no worker has ever run here")


def read_vitals(queue: DatabaseQueue) -> Vitals:
    """The facts of the queue's health. Raises DatabaseUnavailable or SchemaMissing."""
    hours = queue.minutes.slots(HOUR, ALL_IN_ONE)
    return Vitals(
        queue.jobs.waiting(),
        tuple(queue.workers.alive()),
        queue.notes.read(),
        hours[0] if hours else None,
    )


def verdict(vitals: Vitals, thresholds: Thresholds) -> tuple[Reason, ...]:
    """What is wrong with these, worst first."""
    found = (
        _held(vitals),
        _no_worker(vitals, thresholds),
        _paused(vitals),
        _bot_down(vitals),
        _waiting(vitals, thresholds),
        _failed(vitals, thresholds),
        _webhook(vitals, thresholds),
    )
    return tuple(reason for reason in found if reason is not None)


def _no_worker(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """A host with only cron has no worker between two runs: there a recent note of maintenance is enough."""
    note = vitals.notes.get(TOTALS)
    if read_hold(vitals.notes) is not None:  # which is why there is none
        return None
    if vitals.workers or (note is not None and note.age_seconds < thresholds.silent_seconds):
        return None
    return Reason(NO_WORKER, "no worker is alive: start worker_pool.py, or look at the crontab")


def _held(vitals: Vitals) -> Optional[Reason]:
    hold = read_hold(vitals.notes)
    if hold is None:
        return None
    text = f"no update is run since {hold.since}: {hold.reason}"
    return Reason(IS_HELD, text, {"time": hold.since, "cause": hold.reason})


def _paused(vitals: Vitals) -> Optional[Reason]:
    note = vitals.notes.get(PAUSED)
    if note is None:
        return None
    since = f"{note.at:%Y-%m-%d %H:%M} UTC"
    return Reason(IS_PAUSED, f"the queue is paused since {since}: jobs wait until it is resumed", {"since": note.at})


def _bot_down(vitals: Vitals) -> Optional[Reason]:
    note = vitals.notes.get(BREAKER)
    return None if note is None else _bot_down_since(outage_of(note).since, outage_of(note).cause)


def _bot_down_since(since: datetime, cause: str) -> Reason:
    day = "" if since.date() == datetime.now(timezone.utc).date() else f"{since:%Y-%m-%d} "
    when, why = f"{day}{since:%H:%M} UTC", f": {cause}" if cause else ""
    return Reason(BOT_DOWN, f"the bot's side is down since {when}{why}", {"at": since, "since": when, "cause": why})


def for_strangers(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """The same without what the bot said, which may be about a person."""
    return tuple(
        _bot_down_since(reason.values["at"], "")  # type: ignore[arg-type]
        if reason.code == BOT_DOWN
        else reason
        for reason in reasons
    )


def _waiting(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """While the queue is paused or held, or the bot down, all jobs wait; that does not mean that workers are stuck."""
    seconds = vitals.waiting.seconds
    if seconds is None or seconds <= thresholds.waiting_seconds or {PAUSED, BREAKER} & vitals.notes.keys():
        return None
    if read_hold(vitals.notes) is not None:
        return None
    return Reason(
        WAITING,
        f"a job has waited {seconds:.0f} s for a worker: there are too few, or they are stuck",
        {"seconds": round(seconds)},
    )


def _failed(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    hour = vitals.last_hour
    if hour is None or hour.failed < thresholds.failed_at_least:
        return None
    ended = hour.failed + hour.done
    if hour.failed <= thresholds.failed_share * ended:
        return None
    return Reason(
        FAILURES,
        f"{hour.failed} of {ended} jobs failed in the last hour: see why on the dashboard",
        {"failed": hour.failed, "ended": ended},
    )


def _webhook(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Only what Telegram said lately: it is asked only while the dashboard is open or alerts are on."""
    seen, note = read_webhook(vitals.notes), vitals.notes.get(WEBHOOK)
    if seen is None or note is None or note.age_seconds > thresholds.webhook_error_seconds or seen.trouble:
        return None
    if not seen.failed_within(thresholds.webhook_error_seconds):
        return None
    return Reason(BAD_WEBHOOK, f"Telegram cannot deliver to the webhook: {seen.last_error}", {"error": seen.last_error})
