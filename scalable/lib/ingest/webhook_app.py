"""The webhook as a WSGI application: takes one update, enqueues it, responds. Never runs a bot.

Without a framework: what it needs of one is less than a process that answers one request should spend on importing it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Optional

from scalable.lib.ingest.after_response import do_after_response, with_after_response
from scalable.lib.ingest.pipeline import Receiver
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES, read_body
from scalable.lib.ingest.webhook_address import address_of
from scalable.lib.ingest.wsgi import Wsgi, with_error_boundary
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.telegram.secret_token import SECRET_VARIABLE

log = logging.getLogger(__name__)


def create_webhook_app(
    open_queue: Callable[[], DatabaseQueue],
    secret: str,
    order: str,
    on_enqueued: Callable[[], None] = lambda: None,
    start_drain: Optional[Callable[[], None]] = None,
    on_address: Callable[[str], None] = lambda _url: None,
) -> Wsgi:
    """A WSGI application that enqueues every update POSTed to it, whatever the path; its responses: see Receiver.

    `open_queue` is called once a request and returns the same queue each time; `secret`, `order` and `on_enqueued` as
    in Receiver; `start_drain` is called after the response to a request whose update is stored, and may take some
    milliseconds. `on_address` is called with the webhook's address when a request with the secret came in by another
    one than the last.
    """
    last = ""
    receiver = Receiver(secret, order, on_enqueued, log)

    def webhook(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = receiver.receive(
            environ["REQUEST_METHOD"],
            environ.get(SECRET_VARIABLE, ""),
            environ.get("REMOTE_ADDR"),
            partial(read_body, environ, MAX_UPDATE_BYTES),
            open_queue,
        )
        nonlocal last
        if secret and response.status == 200 and last != (address := address_of(environ)):
            last = address
            on_address(address)
        chunks = response(environ, start_response)
        if start_drain is not None and response.status == 200:
            do_after_response(environ, start_drain)
        return chunks

    application = with_error_boundary(webhook)
    return application if start_drain is None else with_after_response(application)
