"""Asks Telegram about the webhook, and sets it. For the pool and the page, in the background, and for the shell."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Optional

from scalable.lib.errors import BotApiError, BotApiRefused, ConfigurationError
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.notes import WEBHOOK, WEBHOOK_BEFORE
from scalable.lib.queue.views.webhook_info import (
    WEBHOOK_PAUSE_SECONDS,
    WebhookInfo,
    before_text,
    from_telegram,
    is_webhook,
    read_webhook,
)
from scalable.lib.runners.bot_secret import BotSecret, SecretOfBot
from scalable.lib.telegram.bot_api import BotApi

log = logging.getLogger(__name__)
# In the background, and for a command in a shell.
QUIET_TIMEOUT_SECONDS, ASKED_TIMEOUT_SECONDS = 3.0, 8.0
# Shared hosts refuse more than about twenty processes at once.
MAX_CONNECTIONS = 10
_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]{1,500}", re.ASCII)

MakeApi = Callable[[float], BotApi]


def is_address(url: str) -> bool:
    """Whether `url` has the form of a web address; only Telegram can tell whether it accepts it."""
    return _ADDRESS.fullmatch(url) is not None


@dataclass(frozen=True)
class Pointed:
    """The webhook after it was set. `secret`: what was given for the bot's own address, None: the address is ours.

    `had_certificate`: the webhook that was there before had a certificate of its own; `needs_certificate`: the one that
    is there now had one when it was last seen. Telegram forgets it.
    """

    seen: WebhookInfo
    secret: Optional[BotSecret] = None
    had_certificate: bool = False
    needs_certificate: bool = False


def _nothing_known() -> BotSecret:
    return BotSecret("", "nothing is known of the bot")


class WebhookAdmin:
    """The webhook of the bot whose queue this is. `make_api` is given the seconds a call may take.

    `secret` is that of webhook_queue.py, `secret_of_bot` tells which one the bot itself knows.
    """

    def __init__(
        self, queue: DatabaseQueue, make_api: MakeApi, secret: str, secret_of_bot: Optional[SecretOfBot] = None
    ) -> None:
        self._queue = queue
        self._notes = queue.notes
        self._make_api = make_api
        self._secret = secret
        self._secret_of_bot = secret_of_bot or _nothing_known

    def refresh_if_old(self) -> None:
        """Ask Telegram, unless a process did within the last minute. Errors of Telegram are kept, not raised.

        When the webhook is set or looked up meanwhile, that is what stays noted: this answer may be older.
        """
        notes = self._notes.read()
        note = notes.get(WEBHOOK)
        if note is not None and note.age_seconds < WEBHOOK_PAUSE_SECONDS:
            return
        last = read_webhook(notes) or WebhookInfo()
        if self._notes.write_if_unchanged(WEBHOOK, last.to_text(), note):
            mine = self._notes.read().get(WEBHOOK)
            seen = self._ask(last, QUIET_TIMEOUT_SECONDS)
            self._notes.write_if_unchanged(WEBHOOK, seen.to_text(), mine)

    def look_up(self) -> WebhookInfo:
        """Ask Telegram now."""
        seen = self._ask(read_webhook(self._notes.read()) or WebhookInfo(), ASKED_TIMEOUT_SECONDS)
        self._notes.write(WEBHOOK, seen.to_text())
        return read_webhook(self._notes.read()) or seen

    def point_at(self, url: str, max_connections: int = MAX_CONNECTIONS) -> Pointed:
        """Set the webhook to `url`, and note its address before.

        The types of updates stay the same. Raises BotApiError with Telegram's reason, or ConfigurationError.
        """
        secret = self._secret_of_bot()
        if secret.is_for(url):
            return self._point(url, max_connections, secret.token, secret)
        return self._point(url, max_connections, self._secret, None)

    def point_back(self, url: str) -> Pointed:
        """Set the webhook to the bot's own address, with the secret token that the bot knows, or with none.

        Raises as `point_at`.
        """
        secret = self._secret_of_bot()
        return self._point(url, MAX_CONNECTIONS, secret.token, secret)

    def _point(self, url: str, max_connections: int, token: str, secret: Optional[BotSecret]) -> Pointed:
        last = read_webhook(self._notes.read()) or WebhookInfo()
        with closing(self._make_api(ASKED_TIMEOUT_SECONDS)) as api:
            before = from_telegram(api.call("getWebhookInfo"), 0)
            parameters: dict[str, object] = {"url": url, "max_connections": max_connections}
            if before.allowed_updates:  # Telegram keeps them itself; a local server may lose them at a restart
                parameters["allowed_updates"] = list(before.allowed_updates)
            if token:
                parameters["secret_token"] = token
            api.call("setWebhook", parameters)
            log.warning(event("webhook set", url=url.partition("?")[0], has_secret=bool(token)))
            if before.url and before.url != url:
                self._notes.write(WEBHOOK_BEFORE, before_text(before))
        needs_certificate = last.before_had_certificate and url == last.before
        return Pointed(self.look_up(), secret, before.has_certificate, needs_certificate)

    def take_away(self) -> WebhookInfo:
        """Delete the webhook: Telegram keeps updates, waiting ones included, until they are fetched with getUpdates.

        Its address is noted, unless that was our script and the address before it is known: a rollback leads to the
        bot. Raises as `point_at`.
        """
        with closing(self._make_api(ASKED_TIMEOUT_SECONDS)) as api:
            before = from_telegram(api.call("getWebhookInfo"), 0)
            url = before.url
            api.call("deleteWebhook")
            log.warning(event("webhook taken away", url=url.partition("?")[0]))
            if url and not (is_webhook(url) and WEBHOOK_BEFORE in self._notes.read()):
                self._notes.write(WEBHOOK_BEFORE, before_text(before))
        return self.look_up()

    def _ask(self, last: WebhookInfo, timeout_seconds: float) -> WebhookInfo:
        """What Telegram says; when it says nothing, the `last` that is known, and why."""
        try:
            with closing(self._make_api(timeout_seconds)) as api:
                seen = from_telegram(api.call("getWebhookInfo"), int(time.time()))
        except (BotApiError, ConfigurationError) as error:
            return last.in_trouble(str(error), isinstance(error, (BotApiRefused, ConfigurationError)))
        return seen.after(last, self._queue.jobs.newest_age_seconds())
