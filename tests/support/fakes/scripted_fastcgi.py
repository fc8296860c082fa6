"""A FastCGI server that does to each connection what a test says, and the records of the protocol by its specification.

Written apart from the client it is there to test: an error in one is not repeated in the other.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.support.waiting import PATIENCE_SECONDS

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7
COMPLETE, CANT_MULTIPLEX, OVERLOADED, UNKNOWN_ROLE = 0, 1, 2, 3
TIMEOUT_SECONDS = PATIENCE_SECONDS


@dataclass(frozen=True)
class Request:
    """One request as it came: role and flags of its beginning, its variables, its body."""

    role: int
    flags: int
    variables: dict[str, str]
    body: bytes
    sizes: list[tuple[int, int]]


def record(kind: int, content: bytes = b"", *, request_id: int = 1, padding: int = 0, version: int = 1) -> bytes:
    """One record (section 3.3)."""
    head = bytes((version, kind)) + request_id.to_bytes(2, "big") + len(content).to_bytes(2, "big")
    return head + bytes((padding, 0)) + content + b"\xaa" * padding


def ending(protocol_status: int = COMPLETE, app_status: int = 0) -> bytes:
    """The record that ends a request (section 5.5)."""
    return record(END_REQUEST, app_status.to_bytes(4, "big") + bytes((protocol_status, 0, 0, 0)))


def answer(body: bytes, head: bytes = b"Content-type: text/plain\r\n\r\n") -> bytes:
    """A whole answer in order."""
    return record(STDOUT, head + body) + ending()


def read_request(link: socket.socket) -> Request:
    """One whole request from `link`. Raises AssertionError when it is not as the specification says."""
    role = flags = 0
    streams = {PARAMS: b"", STDIN: b""}
    open_streams = {PARAMS, STDIN}
    sizes = []
    while open_streams:
        version, kind, request_id, size, padding, _ = struct.unpack(">BBHHBB", _exactly(link, 8))
        content = _exactly(link, size + padding)[:size]
        sizes.append((kind, size))
        assert (version, request_id) == (1, 1)
        if kind == BEGIN_REQUEST:
            role, flags = struct.unpack(">HB5x", content)
        elif content:
            assert kind in open_streams, f"a record of type {kind} after its stream had ended"
            streams[kind] += content
        else:
            open_streams.remove(kind)
    return Request(role, flags, dict(_pairs(streams[PARAMS])), streams[STDIN], sizes)


class ScriptedServer:
    """Listens on a Unix socket and calls `serve` with each connection, one after the other, in a thread.

    What `serve` raises is raised again when the block ends, except that the client went away.
    """

    def __init__(self, serve: Callable[[socket.socket], None], backlog: int = 8) -> None:
        self._serve = serve
        self._folder = Path(tempfile.mkdtemp(prefix="fcgi-"))
        self.path = self._folder / "s"
        self.connections = 0
        self._failure: BaseException | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(backlog)
        self._listener.settimeout(0.05)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        """As for BOT_FASTCGI_SOCKET."""
        return str(self.path)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join(TIMEOUT_SECONDS)
        self._listener.close()
        self.path.unlink()
        self._folder.rmdir()
        assert not self._thread.is_alive(), "the script of the server hangs"
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                link, _ = self._listener.accept()
            except socket.timeout:
                continue
            with link:
                self.connections += 1
                link.settimeout(TIMEOUT_SECONDS)
                try:
                    self._serve(link)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except BaseException as failure:  # noqa: BLE001 - raised again in the test's own thread
                    self._failure = failure


def _pairs(data: bytes) -> Iterator[tuple[str, str]]:
    while data:
        name_size, data = _length(data)
        value_size, data = _length(data)
        assert len(data) >= name_size + value_size, "a pair is cut"
        yield data[:name_size].decode(), data[name_size : name_size + value_size].decode()
        data = data[name_size + value_size :]


def _length(data: bytes) -> tuple[int, bytes]:
    """Section 3.4: one byte, or four of which the first bit is set."""
    if data[0] < 128:
        return data[0], data[1:]
    return int.from_bytes(data[:4], "big") - (1 << 31), data[4:]


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("the client closed in the middle of a record")
        data += piece
    return data
