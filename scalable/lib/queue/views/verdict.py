"""The verdict on an installation: one word that is earned, and the reasons for it. A pure function of facts.

Reads nothing itself; health.py reads the facts. Every reason has a code for programs, a sentence for operators, and a
severity: the worst one gives the word. A new reason is one function and its name in `_RULES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Optional

from scalable.lib.queue.job import PENDING
from scalable.lib.queue.notes import BREAKER, PAUSED, POLLED, TOTALS
from scalable.lib.queue.outages import outage_of
from scalable.lib.queue.views.browse import Waiting
from scalable.lib.queue.views.hold import read_hold
from scalable.lib.queue.views.minutes import Minute
from scalable.lib.queue.views.vitals import Thresholds, Vitals
from scalable.lib.queue.views.webhook_info import WebhookInfo, read_webhook

DATABASE, WRITING, NO_TABLES, NO_WORKER = "database", "writing", "no_tables", "no_worker"
NO_UPDATE, WAITING, LANE, UNCOUNTED, IS_PAUSED = "no_update", "waiting", "lane", "uncounted", "paused"
IS_HELD, BOT_DOWN = "held", "bot_down"
FAILURES, FAILING, RETRYING, HAS_WARNED = "failed", "failing", "retrying", "warned"
NO_WEBHOOK, WEBHOOK_ELSEWHERE, BAD_WEBHOOK = "no_webhook", "webhook_elsewhere", "webhook"
BAD_TOKEN, WEBHOOK_UNKNOWN = "bot_token", "webhook_unknown"
# Of the newest minutes in which the bot ran, so many are what it does now.
RECENT_MINUTES = timedelta(minutes=10)
# Too much however few there are: of one or two updates, one that failed is a person without an answer.
HALF = 0.5


class State(Enum):
    """The four words, from best to worst; the value is the one for programs."""

    WORKING = "working"
    SETTING_UP = "setting_up"
    DEGRADED = "degraded"
    DOWN = "down"

    @property
    def word(self) -> str:
        """For people, in English."""
        return self.value.replace("_", " ")

    def is_worse_than(self, other: State) -> bool:
        """Whether this is a worse word."""
        return _ORDER.index(self) > _ORDER.index(other)


_ORDER = list(State)


@dataclass(frozen=True)
class Reason:
    """Why it is not the best word: a code, one sentence in English, and the numbers in it for other languages.

    A `severity` of WORKING is a remark, which changes nothing. `is_told`: an alert is sent for it. `plain`: the
    sentence without what came from outside, empty where nothing in it did; `is_plain`: it is what `text` holds.
    """

    code: str
    text: str
    values: dict[str, object] = field(default_factory=dict)
    severity: State = State.DEGRADED
    is_told: bool = True
    plain: str = ""
    is_plain: bool = False


@dataclass(frozen=True)
class Verdict:
    """The word, the reasons for it, worst first, and remarks that are no reasons."""

    state: State
    reasons: tuple[Reason, ...] = ()
    remarks: tuple[Reason, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether the word is working: status 200, exit code 0."""
        return self.state is State.WORKING


def judge(vitals: Vitals, thresholds: Optional[Thresholds] = None) -> Verdict:
    """The word these facts have earned."""
    if vitals.writing_problem:  # the reason for whatever else is wrong
        text = "the database takes nothing in"
        values: dict[str, object] = {"cause": vitals.writing_problem}
        return of_reasons([Reason(WRITING, f"{text}: {vitals.writing_problem}", values, State.DOWN, plain=text)])
    found = (rule(vitals, thresholds or Thresholds()) for rule in _RULES)
    return of_reasons([reason for reason in found if reason is not None])


def of_reasons(found: Sequence[Reason]) -> Verdict:
    """The word of these reasons: the worst of them."""
    reasons = [reason for reason in found if reason.severity is not State.WORKING]
    reasons.sort(key=lambda reason: _ORDER.index(reason.severity), reverse=True)
    remarks = tuple(reason for reason in found if reason.severity is State.WORKING)
    return Verdict(reasons[0].severity if reasons else State.WORKING, tuple(reasons), remarks)


def without_database(text: str = "the database cannot be reached") -> Verdict:
    """Of an installation whose database cannot be reached, or does not do its work, as `text` says."""
    return of_reasons([Reason(DATABASE, text, severity=State.DOWN)])


def without_tables() -> Verdict:
    """Of a queue without tables."""
    text = "the tables are not made yet: no worker has ever run here"
    return of_reasons([Reason(NO_TABLES, text, severity=State.SETTING_UP, is_told=False)])


def in_words(verdict: Verdict) -> list[str]:
    """The verdict, a line each."""
    heads = {State.SETTING_UP: "to do", State.WORKING: "note"}
    told = (*verdict.reasons, *verdict.remarks)
    return [verdict.state.word, *(f"{heads.get(reason.severity, 'attention')}: {reason.text}" for reason in told)]


def _no_worker(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """A host with only cron has no worker between two runs: there a recent note of maintenance is enough."""
    note = vitals.notes.get(TOTALS)
    if read_hold(vitals.notes) is not None:  # which is why there is none
        return None
    if vitals.workers or (note is not None and note.age_seconds < thresholds.silent_seconds):
        return None
    severity = State.DOWN if vitals.has_begun else State.SETTING_UP
    return Reason(NO_WORKER, "no worker is alive: start worker_pool.py, or look at the crontab", severity=severity)


def _held(vitals: Vitals, _: Thresholds) -> Optional[Reason]:
    hold = read_hold(vitals.notes)
    if hold is None:
        return None
    text = f"no update is run since {hold.since}: {hold.reason}"
    severity = State.DOWN if vitals.has_begun else State.SETTING_UP
    plain = "no update is run: the installation holds them until its owner has looked"
    return Reason(IS_HELD, text, {"time": hold.since, "cause": hold.reason}, severity, plain=plain)


def _paused(vitals: Vitals, _: Thresholds) -> Optional[Reason]:
    note = vitals.notes.get(PAUSED)
    if note is None:
        return None
    since = f"{note.at:%Y-%m-%d %H:%M} UTC"
    return Reason(IS_PAUSED, f"the queue is paused since {since}: jobs wait until it is resumed", {"since": note.at})


def _bot_down(vitals: Vitals, _: Thresholds) -> Optional[Reason]:
    note = vitals.notes.get(BREAKER)
    return None if note is None else bot_down_since(outage_of(note).since, outage_of(note).cause)


def bot_down_since(since: datetime, cause: str) -> Reason:
    """The reason for an outage of the bot's side; `cause` may be empty."""
    day = "" if since.date() == datetime.now(timezone.utc).date() else f"{since:%Y-%m-%d} "
    when, why = f"{day}{since:%H:%M} UTC", f": {cause}" if cause else ""
    text = f"the bot's side is down since {when}"
    return Reason(BOT_DOWN, text + why, {"at": since, "since": when, "cause": why}, State.DOWN, plain=text)


def _is_held_up(vitals: Vitals) -> bool:
    """Whether all jobs wait for a reason of its own, so that waiting does not mean that workers are stuck."""
    return bool({PAUSED, BREAKER} & vitals.notes.keys()) or read_hold(vitals.notes) is not None


def _waiting(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    seconds = vitals.waiting.seconds
    if seconds is None or seconds <= thresholds.waiting_seconds or _is_held_up(vitals):
        return None
    return Reason(
        WAITING,
        f"a job has waited {seconds:.0f} s for a worker: there are too few, or they are stuck",
        {"seconds": round(seconds)},
    )


def is_stuck(waiting: Waiting, thresholds: Thresholds) -> bool:
    """Whether a job has waited for too long for an earlier one of its lane."""
    return waiting.blocked_seconds is not None and waiting.blocked_seconds > thresholds.lane_seconds


def _lane(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """A chat waits, although the workers have nothing else to do."""
    waiting, blocker = vitals.waiting, vitals.blocker
    if not is_stuck(waiting, thresholds) or _is_held_up(vitals):
        return None
    seconds = waiting.blocked_seconds or 0.0
    values: dict[str, object] = {"seconds": round(seconds), "job": waiting.blocked_job_id}
    text = f"one chat is stuck: its oldest update, job {waiting.blocked_job_id}, has waited {seconds / 60:.0f} min"
    if blocker is None:
        return Reason(LANE, f"{text} for an earlier one", values)
    failing = blocker.status == PENDING and blocker.attempts > 0
    text += f" behind {'failing ' if failing else ''}job {blocker.id}"
    return Reason(LANE, text, {**values, "job": blocker.id})


def _failed(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Updates that nobody will run again: more than a share of the last hour's, or half of them where they are few."""
    hour = vitals.last_hour
    if hour is None or hour.failed < 1:
        return None
    ended = hour.failed + hour.done
    is_many = hour.failed >= thresholds.failed_at_least and hour.failed > thresholds.failed_share * ended
    if not is_many and hour.failed < HALF * ended:
        return None
    return Reason(
        FAILURES,
        f"{hour.failed} of {ended} jobs failed in the last hour: see why on the dashboard",
        {"failed": hour.failed, "ended": ended},
    )


def _newest_runs(vitals: Vitals) -> list[Minute]:
    """The newest minutes in which the bot ran."""
    ran = [minute for minute in vitals.recent if minute.done or minute.failed or minute.retried]
    return [minute for minute in ran if ran[-1].at - minute.at < RECENT_MINUTES]


def _runs(vitals: Vitals) -> tuple[int, int]:
    """How many of the newest runs failed, and how many runs those were."""
    newest = _newest_runs(vitals)
    failed = sum(minute.failed + minute.retried for minute in newest)
    return failed, failed + sum(minute.done for minute in newest)


def _fails_mostly(vitals: Vitals, thresholds: Thresholds) -> bool:
    failed, runs = _runs(vitals)
    return failed >= thresholds.failed_at_least and failed > HALF * runs


def _failing(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Attempts, so that a bot which always fails is seen before the first update has used all of them up.

    Not beside an outage of the bot's side, which is the cause.
    """
    if BREAKER in vitals.notes or not _fails_mostly(vitals, thresholds):
        return None
    failed, runs = _runs(vitals)
    text = f"{failed} of the last {runs} runs of the bot failed: see why on the dashboard"
    return Reason(FAILING, text, {"failed": failed, "runs": runs})


def _retrying(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """People whose update failed and is tried again later; not beside `failing`, which says the same."""
    hour, waiting = vitals.last_hour, vitals.retrying
    failed, done = (hour.failed, hour.done) if hour is not None else (0, 0)
    unanswered = waiting + failed
    if waiting < thresholds.failed_at_least or _fails_mostly(vitals, thresholds):
        return None
    if unanswered <= thresholds.failed_share * (unanswered + done):
        return None
    return Reason(RETRYING, f"{waiting} updates failed and wait for their next attempt", {"count": waiting})


def _warned(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Runs that succeeded, as far as the bot says, and mostly wrote a warning: it may have done nothing."""
    newest = _newest_runs(vitals)
    warned, runs = (sum(getattr(minute, name) for minute in newest) for name in ("warned", "done"))
    if warned < thresholds.failed_at_least or warned <= HALF * runs:
        return None
    text = f"{warned} of the last {runs} updates that are done ended with a warning: see them on the dashboard"
    return Reason(HAS_WARNED, text, {"warned": warned, "runs": runs})


def _uncounted(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Measured between two minutes of the table, so that neither a quiet hour nor a clock is taken for it."""
    uncounted = [minute for minute in vitals.recent if minute.enqueued is None]
    if not uncounted or not vitals.workers:
        return None
    seconds = (vitals.recent[-1].at - uncounted[0].at).total_seconds()
    if seconds < thresholds.uncounted_seconds:
        return None
    text = f"arrivals have not been counted for {seconds / 60:.0f} min: no process does the maintenance"
    return Reason(UNCOUNTED, text, {"seconds": round(seconds)})


def _no_update(vitals: Vitals, _: Thresholds) -> Optional[Reason]:
    if vitals.has_begun:
        return None
    text = "no update has come yet: write a message to the bot"
    return Reason(NO_UPDATE, text, severity=State.SETTING_UP, is_told=False)


def _webhook_of(vitals: Vitals, thresholds: Thresholds) -> Optional[WebhookInfo]:
    """What Telegram said, as long as that may still be so."""
    seen = read_webhook(vitals.notes)
    age = None if seen is None else seen.age_seconds(vitals.notes)
    return seen if age is not None and age <= thresholds.webhook_known_seconds else None


def _webhook_away(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Telegram brings its updates nowhere, or somewhere else. Never here before: the set-up is not at its end.

    Not when updates have come since it does: then somebody fetches them, or another address leads here.
    """
    seen, polled = _webhook_of(vitals, thresholds), vitals.notes.get(POLLED)
    if seen is None or seen.leads_here or seen.is_fed:
        return None
    if polled is not None and polled.age_seconds <= thresholds.polled_seconds:
        return None
    severity = State.DOWN if seen.was_here else State.SETTING_UP
    is_told = seen.was_here or vitals.has_begun
    if not seen.url:
        text = "no webhook is set, so Telegram brings no update: webhook_queue.py set URL"
        return Reason(NO_WEBHOOK, text, {}, severity, is_told)
    text = f"Telegram brings the updates to another address, at {seen.host}, and not here: webhook_queue.py set URL"
    plain = "Telegram brings the updates to another address, and not here"
    return Reason(WEBHOOK_ELSEWHERE, text, {"host": seen.host}, severity, is_told, plain)


def _webhook_error(vitals: Vitals, thresholds: Thresholds) -> Optional[Reason]:
    """Only what Telegram said lately: it is asked by a pool, and while the dashboard is open."""
    seen = read_webhook(vitals.notes)
    age = None if seen is None else seen.age_seconds(vitals.notes)
    if seen is None or age is None or age > thresholds.webhook_error_seconds:
        return None
    if not seen.url or not seen.failed_within(thresholds.webhook_error_seconds):
        return None
    text = "Telegram cannot deliver to the webhook"
    return Reason(BAD_WEBHOOK, f"{text}: {seen.last_error}", {"error": seen.last_error}, plain=text)


def _telegram(vitals: Vitals, _: Thresholds) -> Optional[Reason]:
    """A token that Telegram refuses is to be put right; a Telegram that cannot be reached is only mentioned."""
    seen = read_webhook(vitals.notes)
    if seen is None or not seen.trouble:
        return None
    if seen.is_refused:
        text = "Telegram refuses to say where the webhook is"
        return Reason(BAD_TOKEN, f"{text}: {seen.trouble}", {"why": seen.trouble}, plain=text)
    since = f"since {seen.seen:%Y-%m-%d %H:%M} UTC" if seen.seen is not None else "yet"
    text = f"where the webhook points is not known {since}"
    values: dict[str, object] = {"since": seen.seen, "why": seen.trouble}
    return Reason(WEBHOOK_UNKNOWN, f"{text}: {seen.trouble}", values, State.WORKING, is_told=False, plain=text)


# Within the same severity in this order.
_RULES = (
    _held,
    _no_worker,
    _bot_down,
    _webhook_away,
    _paused,
    _waiting,
    _failing,
    _lane,
    _retrying,
    _failed,
    _warned,
    _webhook_error,
    _telegram,
    _uncounted,
    _no_update,
)
