"""Requests to one server over connections that are kept. A failure says whether the server may have the request.

The caller decides what a response means. No redirect is followed, and no request is repeated. Proxies named in
the environment are not used: they are meant for other programs, and would see every message.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Optional

from scalable.lib.deadline import Deadline
from scalable.lib.http_client.address import WebAddress

if TYPE_CHECKING:
    import ssl

    from scalable.lib.http_client.connection import Connection


@dataclass(frozen=True)
class Request:
    """`target` is path and query. `max_bytes`: a longer body of the response is an error; None: all of it is read."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: Optional[bytes] = field(default=None, repr=False)
    max_bytes: Optional[int] = None


@dataclass(frozen=True)
class Response:
    """`headers` by lower-case name. `body` is its beginning, max_bytes or HEAD_BYTES at most; `is_whole`: that is all.

    `body_end` is the end of the body as text for a person, TAIL_BYTES at most.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_whole: bool
    body_end: str = field(repr=False)


class Stage(Enum):
    """What a request was busy with when it failed; the server's name completes the words."""

    CONNECTING = "connecting to"
    ENCRYPTING = "agreeing on TLS with"
    SENDING = "sending the request to"
    WAITING = "waiting for the answer of"
    READING = "reading the answer of"


class Reason(Enum):
    """Why it failed."""

    DEADLINE = "the deadline passed"
    UNKNOWN_NAME = "the host's name is not known"
    CERTIFICATE = "the certificate is not accepted"
    NO_TLS = "no TLS"
    SYSTEM = "an error of the system"
    CLOSED = "the connection was closed"
    UNUSABLE = "the response is not HTTP, or too long"


class HttpError(Exception):
    """There is no whole response; `response` is what came of one, None when not even its head did.

    `detail` has the system's words for `cause`, which may quote what is secret in the request; str() does not.
    """

    def __init__(
        self, stage: Stage, reason: Reason, detail: str, cause: Exception, response: Optional[Response] = None
    ) -> None:
        super().__init__(f"{reason.value} while {stage.value} the server")
        self.stage = stage
        self.reason = reason
        self.detail = detail
        self.cause = cause
        self.response = response


class NotSent(HttpError):
    """The server certainly has not got the whole request."""


class PerhapsSent(HttpError):
    """The server may have got the request, and acted on it."""


class HttpClient:
    """Several threads may ask at the same time, each on a connection of its own. Nothing is connected yet.

    A connection is used again within `kept_seconds`: a request that meets the server's closing of an idle one is lost
    without a sign whether it was read. `connect_seconds` is for each address of the host, so that IPv4 is
    still tried when IPv6 leads nowhere. `tls` None: certificates are checked as Python does by default.
    """

    def __init__(
        self, address: WebAddress, kept_seconds: float, connect_seconds: float, tls: Optional[ssl.SSLContext] = None
    ) -> None:
        self._address = address
        self._kept_seconds = kept_seconds
        self._connect_seconds = connect_seconds
        self._tls = tls
        self._idle: list[tuple[Connection, float]] = []

    def connect(self, deadline: Deadline) -> None:
        """Have a connection ready for the next request. Raises as `send` does."""
        self._idle.append((self._take(deadline), time.monotonic()))

    def send(self, request: Request, deadline: Deadline) -> Response:
        """The response; `deadline` is for all of it, from looking up the name. The request is sent once.

        Raises NotSent or PerhapsSent, what the deadline's tick raises, and NoProcessLeft when no thread can be started
        to look up the name. The connection is closed then.
        """
        connection = self._take(deadline)
        response = connection.send(request, deadline)
        if connection.is_open:
            self._idle.append((connection, time.monotonic()))
        return response

    def close(self) -> None:
        """Close the connections that are kept; safe to repeat, and another request may follow."""
        while self._idle:
            self._idle.pop()[0].close()

    def _take(self, deadline: Deadline) -> Connection:
        with contextlib.suppress(IndexError):  # none is kept, or another thread has just taken the last one
            while True:
                connection, used_at = self._idle.pop()
                if time.monotonic() - used_at < self._kept_seconds and connection.is_quiet():
                    return connection
                connection.close()
        # Imported late: http.client and ssl take longer than all else, and most processes send no request.
        from scalable.lib.http_client.connection import Connection

        return Connection(self._address, self._tls_context, deadline, self._connect_seconds)

    def _tls_context(self) -> ssl.SSLContext:
        import ssl

        if self._tls is None:
            self._tls = ssl.create_default_context()  # once: it takes some 20 ms to read all authorities
        return self._tls
