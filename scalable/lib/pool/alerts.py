"""Alerts: messages to the owner, in Telegram, when something goes wrong or is right again; at most one a minute.

What was told is kept in a note of the queue, so that neither a restart nor another leader tells it again. Only a
running pool sends alerts: an uptime monitor has to detect that no pool runs. A group that became a supergroup has
another id; alerts follow it there, and the check asks for the setting to be changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Optional

from scalable.lib.causes import kind_of_cause
from scalable.lib.errors import BotApiError, BotApiRefused
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.notes import ALERT_CHAT, ALERTS, Note, moved_chat
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.minutes import MINUTE
from scalable.lib.queue.views.search import Filter
from scalable.lib.queue.views.verdict import FAILURES, Reason
from scalable.lib.queue.views.verdict_seen import without_people

if TYPE_CHECKING:
    from scalable.lib.telegram.bot_api import BotApi

log = logging.getLogger(__name__)
# The shortest time between two messages.
PAUSE_SECONDS = 60.0
# A reason that comes and goes is reported once: it counts as over when it has been absent for so long.
OVER_SECONDS = 300.0
# Workers write their counts within this time after a minute is over.
COUNTS_WRITTEN_WITHIN = timedelta(seconds=30)
LONGEST_BACKWARDS_SECONDS = 3600.0
EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True)
class Told:
    """What the owner was told: reasons by code with when each was last seen, and failures up to which minute.

    Times are ISO 8601, by the database's clock; `sent_at` is that of the last message.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    failures_until: str = ""
    sent_at: str = ""


@dataclass
class Alerts:
    """For the leader. `chat_id` is where messages go, as in the settings; `place` names this installation in them."""

    queue: DatabaseQueue
    api: BotApi
    chat_id: str
    place: str

    def __post_init__(self) -> None:
        self._notes = self.queue.notes
        self._minutes = self.queue.minutes
        self._may_log = OncePer(600)

    def check(self) -> None:
        """Tell what is new. Raises DatabaseUnavailable; what could not be sent now is sent the next time."""
        now = self._minutes.now()
        told = _read(self._notes.read().get(ALERTS), now)
        # Failures for good are told one by one, below.
        # A chat has other people in it, now or later: what the bot said is theirs who wrote it.
        reasons = without_people(check_health(self.queue)).reasons
        reasons = tuple(each for each in reasons if each.is_told and each.code != FAILURES)
        failures, until = self._failures(told, now)
        kept, lines = _news(told, reasons, now)
        lines += [self._failed_line(failures)] if failures else []
        if lines and ((now - _time(told.sent_at, EPOCH)).total_seconds() < PAUSE_SECONDS or not self._sent(lines)):
            return
        new = Told(kept, until, now.isoformat() if lines else told.sent_at)
        if new != told:
            self._notes.write(ALERTS, json.dumps(asdict(new)))

    def _failures(self, told: Told, now: datetime) -> tuple[int, str]:
        """Jobs failed for good in minutes that are over and were not told yet, and the last of those minutes."""
        last = (now - COUNTS_WRITTEN_WITHIN).replace(second=0, microsecond=0) - MINUTE
        since = _time(told.failures_until, now)
        seconds = min((now - since).total_seconds(), LONGEST_BACKWARDS_SECONDS)
        minutes = self._minutes.read(seconds)
        return sum(minute.failed for minute in minutes if since < minute.at <= last), last.isoformat()

    def _failed_line(self, count: int) -> str:
        line = f"{count} update{'s' * (count != 1)} failed for good"
        newest = self.queue.search.find(Filter(status="failed"), 1).jobs
        cause = kind_of_cause(newest[0].error_message) if newest and newest[0].error_message else ""
        return f"{line}; the newest: {cause}" if cause else line

    def _sent(self, lines: Sequence[str]) -> bool:
        text = "\n".join([f"Scalable mode, {self.place}:", *(f"• {line}" for line in lines)])
        chat_id = moved_chat(self._notes.read(), self.chat_id) or self.chat_id
        try:
            try:
                self._send(chat_id, text)
            except BotApiRefused as error:
                if error.new_chat_id is None:
                    raise
                self._follow(chat_id, error.new_chat_id)
                self._send(str(error.new_chat_id), text)
        except BotApiError as error:
            if self._may_log():
                log.warning(event("alert not sent", cause=error))
            return False
        log.info(event("alert sent", lines=len(lines)))
        return True

    def _send(self, chat_id: str, text: str) -> None:
        self.api.call("sendMessage", {"chat_id": chat_id, "text": text, "disable_web_page_preview": True})

    def _follow(self, before: str, new_chat_id: int) -> None:
        """Remember where the group is now, for every pool and for the check."""
        self._notes.write(ALERT_CHAT, json.dumps([self.chat_id, str(new_chat_id)]))
        remedy = f"set BOT_ALERT_CHAT_ID={new_chat_id}"
        log.warning(event("alert group became a supergroup", before=before, now=new_chat_id, remedy=remedy))


def _news(told: Told, reasons: Sequence[Reason], now: datetime) -> tuple[dict[str, str], list[str]]:
    """What the owner was told after this message, and its lines about new reasons and those that are over."""
    kept = {reason.code: now.isoformat() for reason in reasons}
    lines = [reason.text for reason in reasons if reason.code not in told.reasons]
    for code, seen in told.reasons.items():
        if code not in kept and (now - _time(seen, now)).total_seconds() < OVER_SECONDS:
            kept[code] = seen
    if told.reasons and not kept:
        lines.append("all is well again")
    return kept, lines


def _read(note: Optional[Note], now: datetime) -> Told:
    """What was told; the first time, and when the note cannot be read, failures of the past are not reported."""
    try:
        kept = json.loads(note.text) if note is not None else {}
        reasons = {code: _known(seen, now, now) for code, seen in dict(kept["reasons"]).items()}
        sent_at = _known(kept["sent_at"], now, now - timedelta(seconds=PAUSE_SECONDS))
        return Told(reasons, _known(kept["failures_until"], now, now), sent_at)
    except (ValueError, KeyError, TypeError):
        return Told(failures_until=now.isoformat())


def _known(noted: object, now: datetime, instead: datetime) -> str:
    """The time that was noted; `instead` of one from the future, from before the clock was set back."""
    return instead.isoformat() if _time(str(noted), now) > now else str(noted)


def _time(text: str, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return otherwise
