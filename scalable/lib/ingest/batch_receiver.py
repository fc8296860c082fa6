"""The pool's own web server: updates that come together are stored together, by one statement.

The thread that reads them also stores them: it sends the statement, and reads on until the database has answered. What
it cannot do without waiting, a thread of its own does: connect, repeat, and everything on SQLite. Only one of the two
stores at a time, one batch after the other, so jobs get their ids in the order in which updates arrived.

It handles one case only, an update that can be stored at once. Every other request and every failure goes through
waitress and the webhook application, which handle all cases and report errors; what was stored all the same is a
duplicate there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Optional, Protocol

from waitress.channel import HTTPChannel
from waitress.utilities import build_http_date
from waitress.wasyncore import dispatcher

from scalable.lib.errors import FastPathUnavailable, ScalableError
from scalable.lib.ingest.pipeline import Receiver
from scalable.lib.ingest.plain_request import read_plain_request
from scalable.lib.ingest.request_parser import BodyLimits, RequestParser
from scalable.lib.ingest.responses import JsonResponse, stored
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.sent_statement import SentStatement
from scalable.lib.queue.enqueue_batch import MOST_AT_ONCE
from scalable.lib.telegram.update import Update

log = logging.getLogger(__name__)


class Client(Protocol):
    """A connection that an update came by. Both are called once for each update, in any thread."""

    def respond(self, response: JsonResponse) -> None:
        """The update is stored."""

    def hand_back(self, data: bytes) -> None:
        """It could not be stored this way: let the application have the whole request, `data`."""


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
        self.body_limits = BodyLimits(path, secret)
        self._open_queue = open_queue
        self._receiver = Receiver(secret, order, on_enqueued, log)
        self._waiting: SimpleQueue[_Taken] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batch receiver", daemon=True)
        self._for_thread: SimpleQueue[list[_Taken]] = SimpleQueue()
        self._is_thread_storing = False
        self._under_way: Optional[_UnderWay] = None
        self._wake_loop: Callable[[], None] = lambda: None

    def start(self, wake_loop: Callable[[], None]) -> None:
        """Begin to store what is taken. `wake_loop` lets the server's loop call `store_waiting`, in any thread."""
        self._wake_loop = wake_loop
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
        return request is not None and self.take_update(channel, data, request.secret_token, request.body)

    def take_update(self, client: Client, data: bytes, secret_token: str, body: bytes) -> bool:
        """Whether `body` is an update that can be stored at once; then it is, soon, and `client` told.

        `data`: the whole request, which the client gets back when it was not stored.
        """
        update = self._receiver.accept(secret_token, body)
        if update is None:
            return False
        self._waiting.put(_Taken(client, data, update, len(body)))
        return True

    def store_waiting(self, sockets: dict[int, Any]) -> None:
        """Store what waits, unless something is being stored. Called by the server's loop, after each of its rounds.

        `sockets` are those that the loop waits for.
        """
        if self._under_way is not None:
            self._under_way.end_if_overdue()
        elif self.waiting and not self._is_thread_storing:
            self._under_way = _UnderWay(self, self._next_batch(), sockets)
            self._under_way.go_on()

    def send(self, taken: list[_Taken]) -> Generator[SentStatement, None, list[int]]:
        """See DatabaseQueue.send_many."""
        return (yield from self._open_queue().send_many([each.update for each in taken]))

    def store_in_thread(self, taken: list[_Taken]) -> None:
        """Let the thread store what the loop cannot."""
        self._under_way = None
        self._is_thread_storing = True
        self._for_thread.put(taken)

    def respond(self, taken: list[_Taken], ids: list[int]) -> None:
        """Tell the clients that their updates are stored."""
        self._under_way = None
        for each, job_id in zip(taken, ids):
            each.client.respond(stored(job_id))
        self._receiver.finish((each.update, job_id, each.body_bytes) for each, job_id in zip(taken, ids))

    def hand_back(self, taken: list[_Taken]) -> None:
        """Let the webhook application have them, which will report the same error, and all that would wait for it."""
        self._under_way = None
        while self.waiting:
            taken.append(self._waiting.get())
        for each in taken:
            each.client.hand_back(each.data)

    def _next_batch(self) -> list[_Taken]:
        taken = [self._waiting.get()]
        while len(taken) < MOST_AT_ONCE and self.waiting:
            taken.append(self._waiting.get())
        return taken

    def _work(self) -> None:
        while True:
            self._store(self._for_thread.get())
            while self.waiting and not self._open_queue().database.can_send:
                self._store(self._next_batch())
            self._is_thread_storing = False
            if self.waiting:  # perhaps the loop looked before, and left it to this thread
                self._wake_loop()

    def _store(self, taken: list[_Taken]) -> None:
        try:
            ids = self._open_queue().enqueue_many([each.update for each in taken])
        except Exception as error:  # the top of this thread
            if not isinstance(error, ScalableError):
                log.exception(event("updates not stored together", count=len(taken)))
            self.hand_back(taken)
        else:
            self.respond(taken, ids)


class _UnderWay(dispatcher):
    """Updates that the loop is storing: one of the sockets it waits for is the connection to the database."""

    def __init__(self, batch_receiver: BatchReceiver, taken: list[_Taken], sockets: dict[int, Any]) -> None:
        super().__init__(map=sockets)
        self._batch_receiver = batch_receiver
        self._taken = taken
        self._steps = batch_receiver.send(taken)
        self._statement: Optional[SentStatement] = None

    def go_on(self) -> None:
        """Send the next statement, after the answer to the one before was received."""
        try:
            self._statement = next(self._steps)
            self._fileno = self._statement.fileno()
            self.add_channel()
        except StopIteration as done:
            self._batch_receiver.respond(self._taken, done.value)
        except FastPathUnavailable:
            self._batch_receiver.store_in_thread(self._taken)
        except Exception as error:  # the top of what is done for these updates
            if not isinstance(error, ScalableError):
                log.exception(event("updates not stored together", count=len(self._taken)))
            self._batch_receiver.hand_back(self._taken)

    def end_if_overdue(self) -> None:
        """Do not wait longer than for any other statement."""
        if self._statement is not None and self._statement.is_overdue:
            self.del_channel()
            self._steps.close()
            self._batch_receiver.hand_back(self._taken)

    def writable(self) -> bool:
        """Never: statements are sent at once."""
        return False

    def handle_read_event(self) -> None:
        """The database has answered."""
        self.del_channel()
        self.go_on()

    def handle_close(self) -> None:
        """The connection to the database has ended: who reads the answer finds that out, unless it was read already."""
        if self._fileno is not None:
            self.handle_read_event()


class Channel(HTTPChannel):
    """One connection. Waitress reads it in the thread of its loop; the thread that stores updates responds to them."""

    requests_lock: threading.Lock
    server: Any
    parser_class: Any

    def __init__(self, batch_receiver: BatchReceiver, *arguments: Any, **options: Any) -> None:
        self._batch_receiver = batch_receiver
        self.parser_class = partial(RequestParser, batch_receiver.body_limits)
        self._is_taken = False  # an update of this connection waits for its response
        self._unread = b""  # what is to be read once that is over
        super().__init__(*arguments, **options)

    @property
    def is_taken(self) -> bool:
        """Whether an update of this connection waits for its response."""
        return self._is_taken

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

    def respond(self, response: JsonResponse) -> None:
        """Send the response to the update that was taken, unless the client is gone. In any thread."""
        content = response.for_http(build_http_date(int(time.time())))
        with self.requests_lock:
            self._is_taken = False
            self._send(content)
        if self._unread or self.will_close:
            self._in_loop(self._go_on)

    def hand_back(self, data: bytes) -> None:
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
    """An update on its way, the whole request it came in, and who waits for the response."""

    client: Client
    data: bytes = field(repr=False)
    update: Update
    body_bytes: int
