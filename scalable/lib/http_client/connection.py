"""One connection to a server: HTTP/1.1 (RFC 9112) over a Wire, by Python's http.client."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Optional

from scalable.lib.captured_output import CHUNK_BYTES, HEAD_BYTES, CapturedOutput
from scalable.lib.deadline import Deadline, DeadlinePassed, TickRaised
from scalable.lib.http_client.address import WebAddress
from scalable.lib.http_client.client import HttpError, NotSent, PerhapsSent, Reason, Request, Response, Stage
from scalable.lib.http_client.wire import Wire, connect


class Connection:
    """Connects when it is made. For one thread at a time; a failure closes it. Raises as HttpClient.send does.

    `tls` is asked for an https address only, and may raise OSError.
    """

    def __init__(
        self, address: WebAddress, tls: Callable[[], ssl.SSLContext], deadline: Deadline, connect_seconds: float
    ) -> None:
        self._address = address
        self._stage = Stage.CONNECTING
        self._wire: Optional[Wire] = None
        self._send_error: Optional[ConnectionError] = None
        self._head: Optional[http.client.HTTPResponse] = None
        self._body = CapturedOutput()
        with self._closed_by_failure():
            self._wire = connect(address.host, address.port, deadline, connect_seconds)
            if address.is_encrypted:
                self._stage = Stage.ENCRYPTING
                self._wire.encrypt(tls(), address.host)

    @property
    def is_open(self) -> bool:
        """Whether another request may follow."""
        return self._wire is not None

    def is_quiet(self) -> bool:
        """Whether this side has not seen it closed."""
        return self._wire is not None and self._wire.is_quiet()

    def send(self, request: Request, deadline: Deadline) -> Response:
        """The response, or what HttpClient.send raises."""
        assert self._wire is not None
        self._wire.deadline = deadline
        self._send_error = self._head = None
        self._body = CapturedOutput(request.max_bytes or HEAD_BYTES)
        self._stage = Stage.SENDING
        with self._closed_by_failure():
            exchange = http.client.HTTPConnection("unused")
            exchange.response_class = _FinalResponse
            exchange.sock = stand_in = _Socket(self._wire)
            exchange.request(
                request.method, request.target, request.body, {"Host": self._address.authority, **request.headers}
            )
            try:
                self._wire.send(bytes(stand_in.written))
            except ConnectionError as error:  # a server may answer before it has read everything: 413, for one
                self._send_error = error
            self._stage = Stage.WAITING
            self._head = exchange.getresponse()
            self._stage = Stage.READING
            self._read(self._head, request.max_bytes)
        if self._head.will_close:
            self.close()
        return self._response(self._head)

    def close(self) -> None:
        """Safe to repeat."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _read(self, head: http.client.HTTPResponse, max_bytes: Optional[int]) -> None:
        """All of the body, as it comes: `peek` waits for some of it, `read` for exactly as much as it is asked for."""
        while not head.isclosed() and head.length != 0:
            self._body.add(head.read(min(len(head.peek(1)), CHUNK_BYTES) or 1))
            if max_bytes is not None and self._body.size > max_bytes:
                raise http.client.HTTPException(f"a body of more than {max_bytes} bytes")
        if head.length:
            raise http.client.IncompleteRead(b"", head.length)

    def _response(self, head: http.client.HTTPResponse) -> Response:
        headers = {name.lower(): ", ".join(head.headers.get_all(name, [])) for name in head.headers}
        return Response(head.status, headers, bytes(self._body.head), self._body.is_whole, self._body.text())

    @contextlib.contextmanager
    def _closed_by_failure(self) -> Iterator[None]:
        try:
            yield
        except TickRaised as error:
            self.close()
            raise error.reason  # noqa: B904  # with its own cause, which `from` would replace
        except (OSError, http.client.HTTPException, ValueError, DeadlinePassed) as error:
            self.close()
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise

    def _failure(self, error: Exception) -> HttpError:
        stage, is_late = self._stage, isinstance(error, DeadlinePassed)
        if self._send_error is not None and not is_late:
            stage, error = Stage.SENDING, self._send_error
        # A server that closed the connection before it had the whole request gave up; a late one may act on a part.
        is_unsent = stage in (Stage.CONNECTING, Stage.ENCRYPTING) or (stage is Stage.SENDING and not is_late)
        kind = NotSent if is_unsent else PerhapsSent
        return kind(stage, *_explained(error), error, self._response(self._head) if self._head else None)


def _explained(error: Exception) -> tuple[Reason, str]:
    """The reason, and the system's words for it."""
    if isinstance(error, DeadlinePassed):
        return Reason.DEADLINE, ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Reason.CERTIFICATE, error.verify_message
    if isinstance(error, ssl.SSLError):
        return Reason.NO_TLS, error.reason or str(error)
    if isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return Reason.CLOSED, ""
    if isinstance(error, socket.gaierror):
        return Reason.UNKNOWN_NAME, str(error)
    if isinstance(error, OSError):
        return Reason.SYSTEM, error.strerror or str(error)
    return Reason.UNUSABLE, f"{type(error).__name__} {error}"


class _FinalResponse(http.client.HTTPResponse):
    """The response after all those that only announce one: 103 Early Hints, for one (RFC 9110, 15.2).

    http.client skips only 100. It would take any other for the final response, and that one for the next request's.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
        return version, http.client.CONTINUE if 100 <= status < 200 else status, reason


class _Socket(io.RawIOBase):
    """http.client's view of a Wire for one request: what it writes is kept in `written`, to be sent in one piece."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.written = bytearray()
        self._wire = wire

    def sendall(self, data: bytes) -> None:
        self.written += data

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Not yet: http.client closes its socket before it reads the last response of a connection."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)
