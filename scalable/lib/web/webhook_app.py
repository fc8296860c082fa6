"""The webhook: takes one update, enqueues it, answers. Never runs a bot and never touches the schema by itself."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import Any, Optional

from bottle import Bottle, HTTPResponse, request

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, NotAnUpdate
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import NewJob
from scalable.lib.telegram.update import Update, read_update
from scalable.lib.web.after_answer import after_answers
from scalable.lib.web.guard import Wsgi, guarded
from scalable.lib.web.responses import json_response, refusal

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 1024 * 1024
# How long Telegram is asked to wait. It honours this up to 3600 s and keeps the update meanwhile.
RETRY_AFTER_SECONDS = 10
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
# Read as it came: bottle would decode it first, and fail on bytes that no secret contains.
SECRET_VARIABLE = "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"


def create_webhook_app(
    open_queue: Callable[[], DatabaseQueue], secret: str, order: str, announce: Callable[[], None] = lambda: None,
    kick: Optional[Callable[[], None]] = None,
) -> Wsgi:
    """A WSGI application that enqueues every update POSTed to it, whatever the path.

    `open_queue` is called once a request and returns the same queue each time; `secret` empty means any request is
    taken; `order` is one of lanes.ORDERS; `announce` is called when an update is stored, and must neither fail nor
    wait; `kick` is called after the answer to such a request, and may take some milliseconds. Answers 200 with the
    job's id only after the update is committed; 503 when Telegram shall bring it again.
    """
    app = Bottle()
    app.catchall = False

    @app.route("/", method="ANY")
    @app.route("/<path:path>", method="ANY")
    def receive(path: str = "") -> HTTPResponse:  # noqa: ARG001 - any path under the script is the webhook
        if request.method != "POST":
            return _wrong_method()
        if secret and not _same(request.environ.get(SECRET_VARIABLE, ""), secret):
            log.warning(event("update refused", status=401, cause="wrong secret", address=request.remote_addr))
            return refusal(401, f"the {SECRET_HEADER} header is missing or wrong")
        return _enqueue_body(open_queue, order, announce)

    return guarded(app) if kick is None else after_answers(guarded(app), kick)


def _enqueue_body(
    open_queue: Callable[[], DatabaseQueue], order: str, announce: Callable[[], None]
) -> HTTPResponse:
    if request.content_length > MAX_BODY_BYTES:
        return refusal(413, f"the request body is larger than {MAX_BODY_BYTES} bytes")
    body = request.body.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        return refusal(413, f"the request body is larger than {MAX_BODY_BYTES} bytes")
    try:
        update = read_update(body, order)
    except NotAnUpdate as error:
        log.warning(event("update refused", status=400, cause=error, bytes=len(body)))
        return refusal(400, str(error))
    try:
        enqueued = open_queue().enqueue(_new_job(update))
    except (DatabaseUnavailable, ConfigurationError) as error:
        return _come_again(error)
    announce()
    name = "duplicate update ignored" if enqueued.duplicate else "update enqueued"
    log.info(event(name, id=enqueued.job_id, update_id=update.update_id, type=update.update_type, bytes=len(body)))
    answer: dict[str, Any] = {"ok": True, "queued_job_id": enqueued.job_id}
    if enqueued.duplicate:
        answer["duplicate"] = True
    return json_response(200, answer)


def _new_job(update: Update) -> NewJob:
    return NewJob(
        update.payload, update.update_id, update.update_type, update.lane, update.urgent_seconds,
        update.expires_seconds,
    )


def _wrong_method() -> HTTPResponse:
    explanation = "this address takes Telegram updates by POST; nothing to see here with a browser"
    return refusal(405, explanation, {"Allow": "POST"})


def _come_again(error: Exception) -> HTTPResponse:
    """503: Telegram keeps the update and delivers it again. The reason is for the owner's log, not for the visitor."""
    log.error(event("update not taken", status=503, cause=error))
    return refusal(503, "the queue cannot take updates just now; Telegram will try again",
                   {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
