"""Asks Telegram about the webhook, and sets it. For the page, which never waits for it, and for the shell."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from scalable.lib.errors import BotApiError, ConfigurationError
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.notes import WEBHOOK, WEBHOOK_BEFORE
from scalable.lib.queue.views.webhook_info import WEBHOOK_PAUSE_SECONDS, WebhookInfo, from_telegram, read_webhook
from scalable.lib.telegram.bot_api import BotApi

log = logging.getLogger(__name__)
# When nobody waits for the answer, and when somebody does.
QUIET_TIMEOUT_SECONDS, ASKED_TIMEOUT_SECONDS = 3.0, 8.0
# Shared hosts refuse more than about twenty processes at once.
MAX_CONNECTIONS = 10
_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]{1,500}", re.ASCII)

MakeApi = Callable[[float], BotApi]


def is_address(url: str) -> bool:
    """Whether Telegram could be told to go there; whether it wants to, it says itself."""
    return _ADDRESS.fullmatch(url) is not None


def _is_ours(url: str) -> bool:
    return "/webhook_queue.py" in url


class WebhookAdmin:
    """The webhook of the bot whose queue this is. `make_api` is given the seconds a call may take."""

    def __init__(self, queue: DatabaseQueue, make_api: MakeApi, secret: str) -> None:
        self._notes = queue.notes
        self._make_api = make_api
        self._secret = secret

    def refresh_if_old(self) -> None:
        """Ask Telegram, unless somebody did within the last minute. Errors of Telegram are kept, not raised."""
        notes = self._notes.read()
        note = notes.get(WEBHOOK)
        if note is not None and note.age_seconds < WEBHOOK_PAUSE_SECONDS:
            return
        seen = read_webhook(notes) or WebhookInfo()
        if self._notes.write_if_unchanged(WEBHOOK, seen.to_text(), note):
            self._keep(self._ask(seen, QUIET_TIMEOUT_SECONDS))

    def look_up(self) -> WebhookInfo:
        """Ask Telegram now."""
        return self._keep(self._ask(read_webhook(self._notes.read()) or WebhookInfo(), ASKED_TIMEOUT_SECONDS))

    def point_at(self, url: str, max_connections: int = MAX_CONNECTIONS) -> WebhookInfo:
        """Let Telegram bring updates to `url` from now on, and remember where it brought them before.

        The types of updates it brings stay the same. Raises BotApiError with Telegram's reason, or ConfigurationError.
        """
        api = self._make_api(ASKED_TIMEOUT_SECONDS)
        try:
            before = from_telegram(api.call("getWebhookInfo"), 0)
            self._set(api, url, max_connections, before.allowed_updates)
            if before.url and before.url != url:
                self._notes.write(WEBHOOK_BEFORE, before.url)
        finally:
            api.close()
        return self.look_up()

    def take_away(self) -> WebhookInfo:
        """Let Telegram keep its updates for whoever asks for them (getUpdates); those that wait there stay.

        Where it brought them is remembered, unless that was our script and the place before it is known: going back
        means going back to the bot. Raises as `point_at`.
        """
        api = self._make_api(ASKED_TIMEOUT_SECONDS)
        try:
            url = from_telegram(api.call("getWebhookInfo"), 0).url
            api.call("deleteWebhook")
            log.warning(event("webhook taken away", url=url.partition("?")[0]))
            if url and not (_is_ours(url) and WEBHOOK_BEFORE in self._notes.read()):
                self._notes.write(WEBHOOK_BEFORE, url)
        finally:
            api.close()
        return self.look_up()

    def _set(self, api: BotApi, url: str, max_connections: int, allowed_updates: tuple[str, ...]) -> None:
        parameters: dict[str, object] = {"url": url, "max_connections": max_connections}
        if allowed_updates:  # Telegram keeps them by itself; a server of one's own may have forgotten after a restart
            parameters["allowed_updates"] = list(allowed_updates)
        if self._secret:
            parameters["secret_token"] = self._secret
        api.call("setWebhook", parameters)
        log.warning(event("webhook set", url=url.partition("?")[0]))

    def _ask(self, last: WebhookInfo, timeout_seconds: float) -> WebhookInfo:
        try:
            api = self._make_api(timeout_seconds)
            try:
                return from_telegram(api.call("getWebhookInfo"), int(time.time()))
            finally:
                api.close()
        except (BotApiError, ConfigurationError) as error:
            return last.in_trouble(str(error))

    def _keep(self, seen: WebhookInfo) -> WebhookInfo:
        self._notes.write(WEBHOOK, seen.to_text())
        return read_webhook(self._notes.read()) or seen
