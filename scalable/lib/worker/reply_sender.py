"""Performs what the bot answered to the webhook: behind a queue Telegram does not see it, so the worker does it.

A call is repeated only while it certainly was not performed. Once it may have been, it is not: Telegram itself performs
such an answer at most once; a message that is perhaps missing is noted with the job, where a person can have it sent
again, and one that came twice cannot be taken back. (A worker that dies between this and the end of its job is the
exception: the bot is run again, and answers again.)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import BotApiBusy, BotApiError, BotApiRefused, BotApiUnreachable
from scalable.lib.logs import event
from scalable.lib.telegram.reply_scope import why_refused
from scalable.lib.telegram.webhook_reply import MethodCall, read_call, read_reply

if TYPE_CHECKING:  # importing it costs more than most workers ever need of it
    from scalable.lib.telegram.bot_api import BotApi

log = logging.getLogger(__name__)
# For all tries, the waits between them, and those Telegram asks for. The next update of the chat waits as long.
DEADLINE_SECONDS = 40.0
CALL_SECONDS = 10.0
BACKOFF_SECONDS = (0.5, 1.0)
# When Telegram asks for a longer wait, the call is given up: the worker would serve no other chat meanwhile.
LONGEST_RETRY_AFTER_SECONDS = 30.0
TICK_SECONDS = 0.5
CERTAINLY_NOT_SENT = (BotApiBusy, BotApiUnreachable, BotApiRefused)


class Fate(Enum):
    """Whether the answer was sent."""

    NONE = "none"
    REFUSED = "refused"
    SENT = "sent"
    NOT_SENT = "not sent"
    PERHAPS_SENT = "perhaps not sent"


@dataclass(frozen=True)
class ReplyResult:
    """`cause`: why it was not, or perhaps not, sent; one line for a person."""

    fate: Fate
    method: Optional[str] = None
    tries: int = 0
    seconds: float = 0.0
    cause: Optional[str] = None

    @property
    def note(self) -> Optional[str]:
        """A line to keep with the job: `reply not sent: Bad Request: chat not found`; None when all is well."""
        return None if self.cause is None else f"reply {self.fate.value}: {self.cause}"

    def log_line(self, **ids: object) -> str:
        """The event for the log, told apart by `ids`: `reply sent id=17 method=sendMessage tries=1 seconds=0.08`."""
        facts = {"method": self.method, "tries": self.tries, "seconds": self.seconds, "cause": self.cause}
        return event(f"reply {self.fate.value}", **ids, **facts)


@dataclass
class ReplySender:
    """Sends answers with `api`; None when no BOT_TOKEN is set. For all jobs of a worker, one after the other.

    `performs_any`: also what a program printed that reply_scope.py refuses.
    """

    api: Optional[BotApi]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    performs_any: bool = False

    def send(
        self,
        answer: bytes,
        tick: Callable[[], None] = lambda: None,
        content_type: Optional[str] = None,
        update: str = "",
    ) -> ReplyResult:
        """Perform the method call that `answer` to `update` is, in DEADLINE_SECONDS at most; no call, nothing to do.

        `content_type` as for read_reply; without one the call must not reach beyond the update. `tick` is called about
        twice a second; what it raises is passed on. Never raises because of the call itself.
        """
        is_bound = content_type is None and not self.performs_any
        call = read_call(answer) if is_bound else read_reply(answer, content_type)
        if call is None:
            if answer.strip():
                log.debug(event("answer is no method call", bytes=len(answer), content_type=content_type))
            return ReplyResult(Fate.NONE)
        refused = why_refused(call, update) if is_bound else None
        if refused is not None:
            return ReplyResult(Fate.REFUSED, call.method, cause=f"{refused} (see BOT_REPLY_ANY)")
        if self.api is None:
            return ReplyResult(Fate.NOT_SENT, call.method, cause="BOT_TOKEN is not set")
        return self._perform(self.api, call, tick)

    def _perform(self, api: BotApi, call: MethodCall, tick: Callable[[], None]) -> ReplyResult:
        started, tries, pauses = self.clock(), 0, iter(BACKOFF_SECONDS)
        ends = started + DEADLINE_SECONDS
        while True:
            tries += 1
            fate, cause, wait_seconds = Fate.SENT, None, None
            try:
                api.post(call, min(CALL_SECONDS, ends - self.clock()), tick)
            except BotApiError as error:
                fate = Fate.NOT_SENT if isinstance(error, CERTAINLY_NOT_SENT) else Fate.PERHAPS_SENT
                cause, wait_seconds = str(error), _seconds_to_next_try(error, pauses)
            if wait_seconds is None or wait_seconds >= ends - self.clock():
                return ReplyResult(fate, call.method, tries, self.clock() - started, cause)
            self._wait(wait_seconds, tick)

    def _wait(self, seconds: float, tick: Callable[[], None]) -> None:
        ends = self.clock() + seconds
        while self.clock() < ends:
            self.sleep(min(TICK_SECONDS, ends - self.clock()))
            tick()


def _seconds_to_next_try(error: BotApiError, pauses: Iterator[float]) -> Optional[float]:
    """None: another try is not worth it, or may send twice."""
    if isinstance(error, BotApiBusy):
        return error.retry_after_seconds if error.retry_after_seconds <= LONGEST_RETRY_AFTER_SECONDS else None
    return next(pauses, None) if isinstance(error, BotApiUnreachable) else None
