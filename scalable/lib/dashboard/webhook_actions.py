"""The buttons of the webhook: ask Telegram now, point it here, point it back."""

from __future__ import annotations

import logging

from bottle import HTTPResponse

from scalable.lib.dashboard.access import address_of
from scalable.lib.dashboard.request import DashboardRequest
from scalable.lib.errors import BotApiError, ConfigurationError
from scalable.lib.logs import event
from scalable.lib.pool.webhook_admin import MakeApi, Pointed, WebhookAdmin, is_address
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.views.webhook_info import read_webhook

log = logging.getLogger(__name__)
# Beside each page: the door in PHP stands where the web server runs no Python.
WEBHOOK_SCRIPTS = {".py": "webhook_queue.py", ".php": "webhook_queue.php"}
_QUESTIONS = {"webhook-set": "sure_webhook_set", "webhook-back": "sure_webhook_back"}


class WebhookActions:
    """Those of one request."""

    def __init__(self, request: DashboardRequest, queue: DatabaseQueue, make_api: MakeApi) -> None:
        self._request = request
        self._queue = queue
        self._admin = WebhookAdmin(queue, make_api, request.settings.webhook_secret, request.settings.secret_of_bot)

    def act(self, name: str) -> HTTPResponse:
        """One of webhook-check, webhook-set and webhook-back; the two that change something ask first."""
        request = self._request
        if name == "webhook-check":
            self._admin.look_up()
            return request.redirect("/?did=webhook_check&n=0")
        if request.form.sure != "yes":
            return self._ask(name)
        url = str(request.form.url).strip()
        if not is_address(url):
            return request.refuse(400, "bad_url")
        try:
            pointed = self._admin.point_back(url) if name == "webhook-back" else self._admin.point_at(url)
        except (BotApiError, ConfigurationError) as error:
            log.warning(event("webhook not set", address=address_of(request.environ), cause=error))
            return request.refuse(502, "webhook_refused", why=str(error))
        log.warning(event("webhook set by hand", address=address_of(request.environ)))
        return request.redirect(f"/?did={_done(pointed)}&n=0")

    def _ask(self, name: str) -> HTTPResponse:
        page = self._request.page()
        folder, _, own_script = page.base.rpartition("/")
        script = WEBHOOK_SCRIPTS[".php" if own_script.endswith(".php") else ".py"]
        here = f"https://{self._request.environ.get('HTTP_HOST', '')}{folder}/{script}"
        seen = read_webhook(self._queue.notes.read())
        url = here if name == "webhook-set" else seen.before if seen else ""
        return self._request.html(200, "webhook_ask.tpl", page, question=page.t(_QUESTIONS[name]), action=name, url=url)


def _done(pointed: Pointed) -> str:
    """What the page says was done: whether the bot's own address got a secret token, and which certificate is lost."""
    if pointed.needs_certificate or pointed.had_certificate:
        return "webhook_set_certificate"
    if pointed.secret is None:
        return "webhook_set"
    return "webhook_back_secret" if pointed.secret.token else "webhook_back_plain"
