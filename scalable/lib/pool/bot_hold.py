"""Holds the updates of an installation while no way to run its bot is certain, and tells it to all who look.

The queue itself goes on: updates are stored, and another installation that shares it runs them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Optional

from scalable.lib.errors import BotUnsuitable, ConfigurationError, DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.notes import HELD
from scalable.lib.queue.views.hold import Hold, read_hold

log = logging.getLogger(__name__)
# Between two checks of the bot: before workers are started, and while updates are held.
CHECK_SECONDS = 2.0
# The note is written again, so that it does not look like one that was left behind.
RENEW_SECONDS = 600.0


class BotHold:
    """Whether workers may be started. For one thread.

    `check` raises BotUnsuitable when the bot as it is now suits no way to run it; its argument says that the host may
    have changed, too. `place` names this installation among those that share the queue.
    """

    def __init__(
        self,
        queue: DatabaseQueue,
        place: str,
        check: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._place = place
        self._check = check
        self._clock = clock
        self._reason: Optional[str] = None
        self._check_at = -1.0
        self._renew_at = -1.0
        self._is_noted: Optional[bool] = None

    def holds(self) -> bool:
        """Whether updates are to wait. Checks the bot at most every CHECK_SECONDS; never raises."""
        now = self._clock()
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            self._ask()
            self._note(now)
        return self._reason is not None

    def _ask(self) -> None:
        last, self._reason = self._reason, None
        try:
            self._check(last is not None)
        except BotUnsuitable as error:
            self._reason = str(error)
        except ConfigurationError as error:  # a worker says so, too; who is held stays held until it can be told
            self._reason = None if last is None else str(error)
        if self._reason is not None and self._reason != last:
            self._is_noted = None
            log.error(event("updates held", cause=self._reason))
        elif self._reason is None and last is not None:
            log.warning(event("updates not held any more"))

    def _note(self, now: float) -> None:
        """Write or take away the note of it; what fails is done with the next check."""
        is_held = self._reason is not None
        if self._is_noted == is_held and (not is_held or now < self._renew_at):
            return
        try:
            self._write() if is_held else self._take_away()
            self._is_noted, self._renew_at = is_held, now + RENEW_SECONDS
        except (DatabaseUnavailable, SchemaMissing) as error:
            log.debug(event("hold not noted yet", cause=error))

    def _write(self) -> None:
        last = read_hold(self._queue.notes.read())
        is_same = last is not None and last.place == self._place
        since = last.since if last is not None and is_same else f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        self._queue.notes.write(HELD, Hold(self._reason or "", self._place, since).to_text())

    def _take_away(self) -> None:
        last = read_hold(self._queue.notes.read())
        if last is not None and last.place == self._place:
            self._queue.notes.delete(HELD)
