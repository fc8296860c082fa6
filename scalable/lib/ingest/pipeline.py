"""What happens to a request that brings an update, whichever way it came in: the only place with these rules.

Check the secret, read the body, read the update, store it, wake the workers, log. A way in is an adapter of this: it
takes the values out of its kind of request, stores alone or together with others, and sends the response
(docs/architecture.md, "Ways in").

Cheap to import, because a CGI process does it for each update: log and queue are arguments.
"""

from __future__ import annotations

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, NotAnUpdate, SchemaMissing
from scalable.lib.ingest.request_body import RequestRefused
from scalable.lib.ingest.responses import JsonResponse, refused, stored
from scalable.lib.logs import event
from scalable.lib.telegram.secret_token import SECRET_HEADER, is_telegram
from scalable.lib.telegram.update import Update, read_update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from scalable.lib.queue.database_queue import DatabaseQueue
    from scalable.lib.queue.job import Enqueued

# How long Telegram is asked to wait. It honours this up to 3600 s and keeps the update meanwhile.
RETRY_AFTER_SECONDS = 10
COME_AGAIN = "the queue cannot take updates just now; Telegram will try again"
INFO = 20  # logging.INFO


class Receiver:
    """The pipeline of one installation.

    `secret` empty: every request is taken for one of Telegram. `order` is one of lanes.ORDERS. `on_enqueued` is called
    when updates are stored, and must neither fail nor wait. `log` is a logging.Logger, or writes lines as one does.
    """

    def __init__(self, secret: str, order: str, on_enqueued: Callable[[], None], log: Any) -> None:
        self._secret = secret
        self._order = order
        self._on_enqueued = on_enqueued
        self._log = log

    def receive(
        self,
        method: str,
        secret_token: str,
        address: str | None,
        read_body: Callable[[], bytes],
        open_queue: Callable[[], DatabaseQueue],
    ) -> JsonResponse:
        """The response to any request: 200 after its update was committed, 503 when Telegram is to deliver it again.

        `read_body` may raise RequestRefused; `open_queue` returns the same queue each time.
        """
        try:
            self._check(method, secret_token, address)
            body = read_body()
        except RequestRefused as refusal:
            if refusal.log_line is not None:
                self._log.warning(refusal.log_line)
            return refused(refusal.status, str(refusal), refusal.headers)
        try:
            enqueued = self.enqueue(body, open_queue)
        except NotAnUpdate as error:
            self._log.warning(event("update refused", status=400, cause=error, bytes=len(body)))
            return refused(400, str(error))
        except (DatabaseUnavailable, ConfigurationError, SchemaMissing) as error:
            self._log.error(event("update not taken", status=503, cause=error))  # the client is not told the reason
            return refused(503, COME_AGAIN, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        return stored(enqueued.job_id, duplicate=enqueued.duplicate)

    def enqueue(self, body: bytes, open_queue: Callable[[], DatabaseQueue]) -> Enqueued:
        """Read one update, store and commit it, wake the workers, log. Safe to repeat for an update with an id.

        Raises NotAnUpdate, and what DatabaseQueue.enqueue raises.
        """
        update = read_update(body, self._order)
        enqueued = open_queue().enqueue(update)
        self.finish([(update, enqueued.job_id, len(body))], duplicate=enqueued.duplicate)
        return enqueued

    def accept(self, secret_token: str, body: bytes) -> Update | None:
        """The update that a POST brought, if it can be stored at once by a way in that handles only this case.

        None for all other requests: `receive` has to answer them.
        """
        try:
            self._check("POST", secret_token)
            update = read_update(body, self._order)
        except (RequestRefused, NotAnUpdate):
            return None
        return None if update.update_id is None else update  # without an id it could be stored twice

    def finish(self, enqueued: Iterable[tuple[Update, int, int]], duplicate: bool = False) -> None:
        """Wake the workers and log what was stored: each update with its job's id and the bytes of its body."""
        self._on_enqueued()
        if not self._log.isEnabledFor(INFO):
            return
        name = "duplicate update ignored" if duplicate else "update enqueued"
        for update, job_id, body_bytes in enqueued:
            line = event(name, id=job_id, update_id=update.update_id, type=update.update_type, bytes=body_bytes)
            self._log.info(line)

    def _check(self, method: str, secret_token: str, address: str | None = None) -> None:
        if method != "POST":
            explanation = "this address takes Telegram updates by POST; nothing to see here with a browser"
            raise RequestRefused(405, explanation, {"Allow": "POST"})
        if not is_telegram(secret_token, self._secret):
            line = event("update refused", status=401, cause="wrong secret", address=address)
            raise RequestRefused(401, f"the {SECRET_HEADER} header is missing or wrong", log_line=line)
