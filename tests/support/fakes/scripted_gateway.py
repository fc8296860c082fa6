"""A gateway that does just what a test tells it to, on the socket where a real one would be."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PATIENCE_SECONDS = 20.0


class ScriptedGateway:
    """Takes one connection after the other, and hands each to `serve` in a thread of its own; from `with` on."""

    def __init__(self, folder: Path, serve: Callable[[socket.socket], None]) -> None:
        self.path = folder / ".ht-gateway.sock"
        self.connections = 0
        self._serve = serve
        self._socket = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # the end of the test
                return
            self.connections += 1
            connection.settimeout(PATIENCE_SECONDS)
            with connection, contextlib.suppress(OSError):
                self._serve(connection)

    def __enter__(self) -> ScriptedGateway:
        self._socket.bind(str(self.path))
        self._socket.listen(16)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE_SECONDS)


def read_request(connection: socket.socket) -> tuple[dict[bytes, bytes], bytes]:
    """The variables and the body of one request."""
    received = connection.recv(65536)
    length, _, rest = received.partition(b":")
    while len(rest) < int(length) + 1:
        rest += connection.recv(65536)
    fields = rest[: int(length)].split(b"\0")
    variables = dict(zip(fields[::2], fields[1::2]))
    body = rest[int(length) + 1 :]
    while len(body) < int(variables[b"CONTENT_LENGTH"]):
        body += connection.recv(65536)
    return variables, body
