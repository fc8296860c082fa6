"""The webhook: takes one update, enqueues it, answers. Never runs a bot.

Without a framework: what it needs of one is less than a process that answers one request should spend on importing it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Optional

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, NotAnUpdate, SchemaMissing
from scalable.lib.ingest.after_response import after_answers
from scalable.lib.ingest.error_boundary import Wsgi, with_error_boundary
from scalable.lib.ingest.pipeline import log_enqueued, new_job
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES, BodyRefused, read_body
from scalable.lib.ingest.responses import JsonResponse, refused, stored
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.telegram.secret_token import SECRET_HEADER, is_telegram
from scalable.lib.telegram.update import read_update

log = logging.getLogger(__name__)
# How long Telegram is asked to wait. It honours this up to 3600 s and keeps the update meanwhile.
RETRY_AFTER_SECONDS = 10


def create_webhook_app(
    open_queue: Callable[[], DatabaseQueue],
    secret: str,
    order: str,
    on_enqueued: Callable[[], None] = lambda: None,
    start_drain: Optional[Callable[[], None]] = None,
) -> Wsgi:
    """A WSGI application that enqueues every update POSTed to it, whatever the path.

    `open_queue` is called once a request and returns the same queue each time; `secret` empty means any request is
    taken; `order` is one of lanes.ORDERS; `announce` is called when an update is stored, and must neither fail nor
    wait; `kick` is called after the answer to such a request, and may take some milliseconds. Answers 200 with the
    job's id only after the update is committed; 503 when Telegram shall bring it again.
    """

    def webhook(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return receive(environ)(environ, start_response)

    def receive(environ: dict[str, Any]) -> JsonResponse:
        if environ["REQUEST_METHOD"] != "POST":
            return _wrong_method()
        if not is_telegram(environ, secret):
            address = environ.get("REMOTE_ADDR")
            log.warning(event("update refused", status=401, cause="wrong secret", address=address))
            return refused(401, f"the {SECRET_HEADER} header is missing or wrong")
        try:
            body = read_body(environ, MAX_UPDATE_BYTES)
        except BodyRefused as error:
            return refused(error.status, str(error))
        return _enqueue(body, open_queue, order, on_enqueued)

    return (
        with_error_boundary(webhook)
        if start_drain is None
        else after_answers(with_error_boundary(webhook), start_drain)
    )


def _enqueue(
    body: bytes, open_queue: Callable[[], DatabaseQueue], order: str, on_enqueued: Callable[[], None]
) -> JsonResponse:
    try:
        update = read_update(body, order)
    except NotAnUpdate as error:
        log.warning(event("update refused", status=400, cause=error, bytes=len(body)))
        return refused(400, str(error))
    try:
        enqueued = open_queue().enqueue(new_job(update))
    except (DatabaseUnavailable, ConfigurationError, SchemaMissing) as error:
        return _come_again(error)
    on_enqueued()
    log_enqueued(enqueued, update, len(body))
    return stored(enqueued.job_id, duplicate=enqueued.duplicate)


def _wrong_method() -> JsonResponse:
    explanation = "this address takes Telegram updates by POST; nothing to see here with a browser"
    return refused(405, explanation, {"Allow": "POST"})


def _come_again(error: Exception) -> JsonResponse:
    """503: Telegram keeps the update and delivers it again. The reason is for the owner's log, not for the visitor."""
    log.error(event("update not taken", status=503, cause=error))
    return refused(
        503,
        "the queue cannot take updates just now; Telegram will try again",
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
