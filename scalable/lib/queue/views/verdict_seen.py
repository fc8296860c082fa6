"""What of a verdict is shown to whom: the owner reads all, others no word from outside. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from scalable.lib.causes import kind_of_cause
from scalable.lib.queue.views.verdict import BOT_DOWN, Reason, Verdict, bot_down_since

# Values of reasons that verdict.py itself made; every other one is from outside.
_OURS = frozenset({"at", "since", "seconds", "job", "failed", "ended", "runs", "count", "warned"})


def verdict_seen(verdict: Verdict, is_owner: bool, is_masked: bool) -> Verdict:
    """The verdict as the owner may see it, or another visitor; `is_masked`: without people."""
    if not is_owner:
        return for_strangers(verdict)
    return without_people(verdict) if is_masked else verdict


def for_strangers(verdict: Verdict) -> Verdict:
    """The same for anybody but the owner: no word in it is from the bot, Telegram, or the host."""
    return _each(verdict, _plain)


def without_people(verdict: Verdict) -> Verdict:
    """The same without what the bot said, which may be about a person; only its kind is left."""
    return _each(verdict, _without_what_the_bot_said)


def _each(verdict: Verdict, change: Callable[[Reason], Reason]) -> Verdict:
    return replace(verdict, reasons=tuple(map(change, verdict.reasons)), remarks=tuple(map(change, verdict.remarks)))


def _plain(reason: Reason) -> Reason:
    if not reason.plain and reason.values.keys() <= _OURS:
        return reason
    values = {name: value if name in _OURS else "" for name, value in reason.values.items()}
    return replace(reason, text=reason.plain or reason.code, values=values, plain="", is_plain=True)


def _without_what_the_bot_said(reason: Reason) -> Reason:
    since, cause = reason.values.get("at"), str(reason.values.get("cause", "")).removeprefix(": ")
    if reason.code != BOT_DOWN or not cause or not isinstance(since, datetime):
        return reason
    return bot_down_since(since, kind_of_cause(cause))
