"""The pool's quickest way in for scripts of this machine: updates that come together are stored together.

One thread reads all connections of a Unix socket that only this user may connect to, and lets BatchReceiver store. The
messages are those of fast_cgi/protocol.py without the greeting: only updates with an id are stored here, so whoever
gets no response may give the same update to another way in, and it is stored once. Everything else is declined at
once: any other request, another installation's settings, an update that could not be stored. Then the client takes
the gateway (pool_gateway.py), which answers every request and reports errors. The client is `scalable/lib/door.php`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from waitress.trigger import trigger
from waitress.wasyncore import dispatcher, loop

from scalable.lib.ingest.batch_receiver import BatchReceiver
from scalable.lib.ingest.fast_cgi.protocol import MAX_BODY_BYTES, MAX_VARIABLES_BYTES, UPDATES_SOCKET_NAME, netstring
from scalable.lib.ingest.pool_gateway import private_socket, request_variables
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES, content_length
from scalable.lib.ingest.responses import JsonResponse
from scalable.lib.ingest.webhook_address import address_of
from scalable.lib.logs import event
from scalable.lib.telegram.secret_token import SECRET_VARIABLE, is_telegram

log = logging.getLogger(__name__)
# Connections of one moment; further ones wait in the socket's queue.
MOST_CONNECTIONS = 64
BACKLOG = 128
# The other end is a process of this machine that has the whole request in its memory.
PATIENCE_SECONDS = 10.0
LOOP_SECONDS = 1.0
STOP_SECONDS = 5.0
READ_BYTES = 65536
WEBHOOK = "webhook_queue.py"
# What is declined is sent this.
DECLINED = netstring(b"")


class UpdateGateway:
    """Listens from the moment it is made, answers from `start` on. Raises OSError when `folder` cannot hold a socket.

    `are_ours`: whether the variables of a request are those of a process with our settings. `secret`: the webhook's;
    with one, the first request of an address is declined, because the application notes the address.
    """

    def __init__(
        self, folder: Path, receiver: BatchReceiver, are_ours: Callable[[Mapping[str, str]], bool], secret: str
    ) -> None:
        self.path = folder / os.fsdecode(UPDATES_SOCKET_NAME)
        self._receiver = receiver
        self._are_ours = are_ours
        self._secret = secret
        self._address = ""
        self._sockets: dict[Any, Any] = {}  # those that the loop waits for
        self._connections: deque[_Connection] = deque()  # the oldest first
        self._is_stopping = False
        self._trigger = trigger(self._sockets)
        self._listener = _Listener(private_socket(self.path, BACKLOG), self, self._sockets)
        self._thread = threading.Thread(target=self._run, name="update gateway", daemon=True)

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        self._receiver.start(self._trigger.pull_trigger)
        self._thread.start()

    def stop(self) -> None:
        """Take no more updates; those under way are waited for, STOP_SECONDS at most. Safe to repeat."""
        self._is_stopping = True
        self.path.unlink(missing_ok=True)
        if self._thread.is_alive():
            with contextlib.suppress(OSError):  # ended just now
                self._trigger.pull_trigger()
            self._thread.join(STOP_SECONDS)
        else:
            self._listener.close()

    def answered(self) -> None:
        """A client has its answer; one that waits for room may come now. In any thread."""
        if not self.has_room:
            with contextlib.suppress(OSError):  # stopped
                self._trigger.pull_trigger()

    @property
    def has_room(self) -> bool:
        """Whether it takes another connection."""
        return len(self._connections) < MOST_CONNECTIONS

    def accepted(self, accepted: socket.socket) -> None:
        """A client has come."""
        connection = _Connection(accepted, self, self._sockets)
        self._connections.append(connection)
        connection.read_at_once()

    def take(self, client: _Connection, variables: dict[str, str], body: bytes) -> bool:
        """Whether the request is an update that is stored soon, and its client told."""
        if variables.get("REQUEST_METHOD") != "POST" or variables.get("SCALABLE_SCRIPT") != WEBHOOK:
            return False
        if len(body) > MAX_UPDATE_BYTES:
            return False
        token = variables.get(SECRET_VARIABLE, "")
        if not self._are_ours(variables) or self._is_new_address(variables, token):
            return False
        return self._receiver.take_update(client, b"", token, body)

    def _is_new_address(self, variables: dict[str, str], token: str) -> bool:
        if not self._secret or not is_telegram(token, self._secret):
            return False
        address = address_of(variables)
        is_new, self._address = address != self._address, address
        return is_new

    def _run(self) -> None:
        while not self._is_stopping:
            self._turn()
        self._listener.close()
        ends = time.monotonic() + STOP_SECONDS
        while any(each.is_taken for each in self._connections) and time.monotonic() < ends:
            self._turn()
        for each in self._connections:
            each.close()

    def _turn(self) -> None:
        loop(LOOP_SECONDS, use_poll=True, map=self._sockets, count=1)
        self._receiver.store_waiting(self._sockets)
        overdue = time.monotonic() - PATIENCE_SECONDS
        for each in [each for each in self._connections if each.is_over(overdue)]:
            self._connections.remove(each)
            each.close()


class _Listener(dispatcher):
    """Accepts."""

    def __init__(self, listening: socket.socket, gateway: UpdateGateway, sockets: dict[Any, Any]) -> None:
        super().__init__(listening, map=sockets)
        self.accepting = True
        self._listening = listening
        self._gateway = gateway

    def readable(self) -> bool:
        """While there is room."""
        return self._gateway.has_room

    def writable(self) -> bool:
        """Never."""
        return False

    def handle_error(self) -> None:
        """The top of what is done for those who come; it goes on listening."""
        log.exception(event("update not taken over"))

    def handle_accept(self) -> None:
        """All that have come together."""
        while self._gateway.has_room:
            try:
                accepted, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptor left: the client has other ways
                log.warning(event("update not taken over", cause=error))
                return
            self._gateway.accepted(accepted)


class _Connection(dispatcher):
    """One request. Read in the loop's thread, answered in any, closed in the loop's."""

    def __init__(self, accepted: socket.socket, gateway: UpdateGateway, sockets: dict[Any, Any]) -> None:
        super().__init__(accepted, map=sockets)
        self._accepted = accepted
        self._gateway = gateway
        self._since = time.monotonic()
        self._request = _IncomingRequest()
        self._is_answered = False
        self.is_taken = False

    def readable(self) -> bool:
        """Until the request is there."""
        return not (self.is_taken or self._is_answered)

    def writable(self) -> bool:
        """Never: a response fits into the socket's buffer."""
        return False

    def is_over(self, overdue: float) -> bool:
        """Whether nothing more happens here; `overdue`: a request that began before that will not come any more."""
        return self._is_answered or (not self.is_taken and self._since < overdue)

    def read_at_once(self) -> None:
        """What is there already: mostly the whole request, because its client sends it with the connection."""
        try:
            self.handle_read_event()
        except BlockingIOError:  # not yet
            pass
        except Exception:  # the top of a request: the socket that listens has to go on
            log.exception(event("update not taken over"))
            self.hand_back(b"")

    def handle_read(self) -> None:
        """A part of the request."""
        part = self.recv(READ_BYTES)
        if not part or self._is_answered:
            return
        try:
            whole = self._request.add(part)
        except ValueError as error:  # not one of ours
            log.warning(event("update not taken over", cause=error))
            self.hand_back(b"")
            return
        if whole is not None:
            self.is_taken = True
            if not self._gateway.take(self, *whole):
                self.hand_back(b"")

    def handle_close(self) -> None:
        """The client has left: its update, if it was taken, is stored all the same."""
        if not self.is_taken:
            self._is_answered = True

    def handle_error(self) -> None:
        """The top of a request."""
        log.exception(event("update not taken over"))
        self.hand_back(b"")

    def respond(self, response: JsonResponse) -> None:
        """See batch_receiver.Client."""
        self._answer(netstring(response.for_cgi()))

    def hand_back(self, data: bytes) -> None:  # noqa: ARG002 - the form of batch_receiver.Client
        """See batch_receiver.Client: the client itself has the request still."""
        self._answer(DECLINED)

    def _answer(self, content: bytes) -> None:
        with contextlib.suppress(OSError):  # the client has left
            self._accepted.send(content)
        self._is_answered, self.is_taken = True, False
        self._gateway.answered()


class _IncomingRequest:
    """A request as its parts come: the variables in a netstring, then the body."""

    def __init__(self) -> None:
        self._data = b""
        self._body_at = 0
        self._length = 0
        self._variables: Optional[dict[str, str]] = None

    def add(self, part: bytes) -> Optional[tuple[dict[str, str], bytes]]:
        """Variables and body once all is there. Raises ValueError for what can be no request."""
        self._data += part
        if self._variables is None:
            self._read_variables()
        if self._variables is None or len(self._data) < self._body_at + self._length:
            return None
        return self._variables, self._data[self._body_at : self._body_at + self._length]

    def _read_variables(self) -> None:
        digits, colon, _ = self._data[:8].partition(b":")
        if not digits.isdigit() or int(digits) > MAX_VARIABLES_BYTES or (len(digits) == 8 and not colon):
            raise ValueError(f"expected a netstring of at most {MAX_VARIABLES_BYTES} bytes, got {digits!r}")
        begin, size = len(digits) + 1, int(digits)
        if not colon or len(self._data) < begin + size + 1:
            return
        if self._data[begin + size : begin + size + 1] != b",":
            raise ValueError("expected a comma behind the variables of a request")
        variables = request_variables(self._data[begin : begin + size])
        self._length = content_length(variables.get("CONTENT_LENGTH", ""))
        if self._length > MAX_BODY_BYTES:
            raise ValueError(f"expected a body of at most {MAX_BODY_BYTES} bytes, got {self._length}")
        self._body_at, self._variables = begin + size + 1, variables
