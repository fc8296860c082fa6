"""Asks Telegram for updates and puts them into the queue: for a bot behind NAT, and where no webhook can be.

Telegram deletes an update once a later one is requested (Bot API, getUpdates, `offset`), so a later one is requested
only after the update was committed. What came twice is one job, as it is with the webhook.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Optional

from scalable.lib.errors import (
    BotApiBusy,
    BotApiError,
    BotApiRefused,
    BotApiUnreachable,
    ConfigurationError,
    DatabaseUnavailable,
    ExitCode,
)
from scalable.lib.ingest.pipeline import Receiver
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.notes import POLLED
from scalable.lib.queue.views.webhook_info import from_telegram
from scalable.lib.stop_signal import StopSignal
from scalable.lib.telegram.bot_api import BotApi

log = logging.getLogger(__name__)
# How long Telegram holds a getUpdates call open when there is nothing new, and how much later it must have answered.
POLL_SECONDS, SLACK_SECONDS = 25, 10.0
# A server that does not hold it open, such as one that is about to end, is not called a thousand times a second.
MIN_SECONDS = 1.0
UPDATES_AT_ONCE = 100
CONFIRM_TIMEOUT_SECONDS = 5.0
MAX_PAUSE_SECONDS = 60.0
# Another program calls getUpdates: a poller that was just killed stops after one call, a running bot does not.
MAX_CONFLICTS = 3
CONFLICT = 409
# The verdict takes a missing webhook for wanted as long as somebody says so.
NOTE_SECONDS = 60.0


class Stopped(Exception):
    """The program was told to end."""


class Poller:
    """Runs until `stop` is requested. `make_api` is given the seconds a call may take; `on_enqueued` as in Receiver."""

    def __init__(
        self,
        queue: DatabaseQueue,
        make_api: Callable[[float], BotApi],
        order: str,
        on_enqueued: Callable[[], None],
        stop: Optional[StopSignal] = None,
        first_pause_seconds: float = 1.0,
    ) -> None:
        self._queue = queue
        self._make_api = make_api
        self._api = make_api(POLL_SECONDS + SLACK_SECONDS)
        self._receiver = Receiver("", order, on_enqueued, log)
        self._stop = stop or StopSignal()
        self._first_pause_seconds = first_pause_seconds
        self._next_id: Optional[int] = None
        self._is_confirmed = True
        self._knows_there_is_no_webhook = False
        self._failures = 0
        self._conflicts = 0
        self._may_note = OncePer(NOTE_SECONDS)

    def run(self) -> int:
        """The exit code. Raises ConfigurationError while a webhook is set, BotApiRefused for a wrong token, or when
        another program keeps asking for the same updates; nothing is lost by any of them."""
        self._stop.listen()
        try:
            self._queue.ensure_schema()
            self._tell_about_workers()
            while not self._stop.requested:
                self._step()
        finally:
            self._confirm()
            self._api.close()
        log.info(event("polling ended"))
        return ExitCode.OK

    def _step(self) -> None:
        try:
            self._refuse_beside_a_webhook()
            began = time.monotonic()
            updates = self._fetch()
            self._store(updates)
            if not updates and time.monotonic() - began < MIN_SECONDS:
                self._stop.wait(MIN_SECONDS)
            self._failures = self._conflicts = 0
        except Stopped:
            return
        except (BotApiError, DatabaseUnavailable) as error:
            pause = self._pause_after(error)
            log.warning(event("no updates fetched", retry_in=pause, cause=error))
            self._stop.wait(pause)

    def _refuse_beside_a_webhook(self) -> None:
        if self._knows_there_is_no_webhook:
            return
        url = from_telegram(self._api.call("getWebhookInfo", tick=self._tick), 0).url
        if url:
            raise ConfigurationError(
                f"Telegram brings the updates of this bot to {url.partition('?')[0]}, and gives them to nobody else "
                "meanwhile: take that webhook away first: webhook_queue.py delete"
            )
        self._knows_there_is_no_webhook = True
        log.info(event("polling began", seconds=POLL_SECONDS))

    def _fetch(self) -> list[Any]:
        """The next updates, none after POLL_SECONDS. The call confirms the ones before them."""
        parameters: dict[str, object] = {"timeout": POLL_SECONDS, "limit": UPDATES_AT_ONCE}
        if self._next_id is not None:
            parameters["offset"] = self._next_id
        updates = self._api.call("getUpdates", parameters, tick=self._tick)
        self._is_confirmed = True
        if self._may_note():
            self._queue.notes.write(POLLED, "")
        if not isinstance(updates, list) or not all(_is_update(update) for update in updates):
            raise BotApiUnreachable(f"{self._api!r} answered getUpdates with something else than updates")
        return updates

    def _store(self, updates: list[Any]) -> None:
        """In their order, each committed before the next; a failure leaves the rest to be fetched again."""
        for update in updates:
            # As Telegram writes it in a webhook: no spaces, everything but ASCII escaped.
            body = json.dumps(update, separators=(",", ":")).encode("ascii")
            self._receiver.enqueue(body, lambda: self._queue)
            self._next_id, self._is_confirmed = update["update_id"] + 1, False

    def _pause_after(self, error: Exception) -> float:
        """Seconds until the next try. Raises errors that waiting does not help."""
        if isinstance(error, BotApiRefused):
            if error.code != CONFLICT or self._conflicts >= MAX_CONFLICTS:
                raise error
            self._conflicts += 1
            self._knows_there_is_no_webhook = False
        pause = min(self._first_pause_seconds * 2.0 ** min(self._failures, 10), MAX_PAUSE_SECONDS)
        self._failures += 1
        return max(pause, error.retry_after_seconds) if isinstance(error, BotApiBusy) else pause

    def _confirm(self) -> None:
        """What is stored must not come again through a webhook that is set after this: the bot would see it twice."""
        if self._is_confirmed or self._stop.at_once:
            return
        api = self._make_api(CONFIRM_TIMEOUT_SECONDS)
        try:
            api.call("getUpdates", {"offset": self._next_id, "timeout": 0, "limit": 1})
        except BotApiError as error:
            log.warning(event("last updates not confirmed, they will come again", cause=error))
        finally:
            api.close()

    def _tell_about_workers(self) -> None:
        if not self._queue.workers.alive():
            log.warning(event("no worker runs, updates are only stored", start="worker_pool.py"))

    def _tick(self) -> None:
        if self._stop.requested:
            raise Stopped


def _is_update(value: object) -> bool:
    """Whether it has the number without which it could neither be confirmed nor recognised."""
    return isinstance(value, dict) and type(value.get("update_id")) is int
