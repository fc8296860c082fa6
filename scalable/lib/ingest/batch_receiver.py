"""The pool's own web server: updates that come together are stored together, by one statement.

One thread reads them, one stores them; while the latter waits for the database, more gather. It handles one case only,
an update that can be stored at once. Every other request and every failure goes through waitress and the webhook
application, which handle all cases and report errors; what was stored all the same is a duplicate there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from waitress.channel import HTTPChannel
from waitress.utilities import build_http_date

from scalable.lib.errors import ScalableError
from scalable.lib.ingest.pipeline import Receiver
from scalable.lib.ingest.plain_request import read_plain_request
from scalable.lib.ingest.responses import stored
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import MOST_AT_ONCE, DatabaseQueue
from scalable.lib.telegram.update import Update

log = logging.getLogger(__name__)


class BatchReceiver:
    """Takes updates POSTed to `path` out of a waitress server whose channels it makes; the rest as create_webhook_app.

    It starts no worker: the pool, whose server this is, has them.
    """

    def __init__(
        self,
        path: str,
        open_queue: Callable[[], DatabaseQueue],
        secret: str,
        order: str,
        on_enqueued: Callable[[], None],
    ) -> None:
        self._path = path.encode()
        self._open_queue = open_queue
        self._receiver = Receiver(secret, order, on_enqueued, log)
        self._waiting: SimpleQueue[_Taken] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batch receiver", daemon=True)

    def start(self) -> None:
        """Begin to store what is taken, in a thread of its own."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Updates that were taken and are not being stored yet."""
        return self._waiting.qsize()

    def channel(self, *arguments: Any, **options: Any) -> Channel:
        """A connection of waitress whose updates come here: what a server of it makes for each."""
        return Channel(self, *arguments, **options)

    def take(self, channel: Channel, data: bytes) -> bool:
        """Whether `data` is one update and nothing else; then it is stored soon, and its channel told."""
        request = read_plain_request(data, self._path)
        if request is None:
            return False
        update = self._receiver.accept(request.secret_token, request.body)
        if update is None:
            return False
        self._waiting.put(_Taken(channel, data, update, len(request.body)))
        return True

    def _work(self) -> None:
        while True:
            taken = [self._waiting.get()]
            while len(taken) < MOST_AT_ONCE and self.waiting:
                taken.append(self._waiting.get())
            self._store(taken)

    def _store(self, taken: list[_Taken]) -> None:
        try:
            ids = self._open_queue().enqueue_many([each.update for each in taken])
        except Exception as error:  # the top of this thread: the webhook application reports the same error
            if not isinstance(error, ScalableError):
                log.exception(event("updates not stored together", count=len(taken)))
            while self.waiting:  # these would only wait for the same error
                taken.append(self._waiting.get())
            for each in taken:
                each.channel.leave_to_waitress(each.data)
            return
        date = build_http_date(int(time.time()))
        for each, job_id in zip(taken, ids):
            each.channel.respond(stored(job_id).for_http(date))
        self._receiver.finish((each.update, job_id, each.body_bytes) for each, job_id in zip(taken, ids))


class Channel(HTTPChannel):
    """One connection. Waitress reads it in the thread of its loop; the thread that stores updates responds to them."""

    requests_lock: threading.Lock
    server: Any

    def __init__(self, batch_receiver: BatchReceiver, *arguments: Any, **options: Any) -> None:
        self._batch_receiver = batch_receiver
        self._is_taken = False  # an update of this connection waits for its response
        self._unread = b""  # what is to be read once that is over
        super().__init__(*arguments, **options)

    def readable(self) -> bool:
        """As waitress has it; not while there is something left to read from before."""
        return not self._unread and super().readable()

    def received(self, data: bytes) -> bool:
        """As waitress has it, for everything but a plain request with an update."""
        with self.requests_lock:
            if self._is_taken:
                self._unread += data
                return True
            is_new = not (self.requests or self.request or self.will_close or self.close_when_flushed)
            self._is_taken = is_taken = is_new and self._batch_receiver.take(self, data)
        return is_taken or super().received(data)

    def respond(self, content: bytes) -> None:
        """Send the response to the update that was taken, unless the client is gone. In any thread."""
        with self.requests_lock:
            self._is_taken = False
            self._send(content)
        if self._unread or self.will_close:
            self._in_loop(self._go_on)

    def leave_to_waitress(self, data: bytes) -> None:
        """Let waitress have the update that was taken, as it came. In any thread."""
        with self.requests_lock:
            self._unread = data + self._unread
        self._in_loop(self._go_on)

    def _send(self, content: bytes) -> None:
        with self.outbuf_lock:  # is held to close the socket, too: its number could be another one's already
            if self.connected:
                sent = 0
                with suppress(OSError):
                    sent = self.send(content, do_close=False)
                self.will_close = self.will_close or sent < len(content)  # a client that does not read gets no more

    def _go_on(self) -> None:
        with self.requests_lock:
            data, self._unread, self._is_taken = self._unread, b"", False
        if data and self.connected:
            super().received(data)

    def _in_loop(self, work: Callable[[], None]) -> None:
        with suppress(OSError):  # the server was closed meanwhile: Telegram will bring it again
            self.server.trigger.pull_trigger(work)


@dataclass(frozen=True)
class _Taken:
    """An update on its way, the whole request it came in, and the connection that waits for the response."""

    channel: Channel
    data: bytes = field(repr=False)
    update: Update
    body_bytes: int
