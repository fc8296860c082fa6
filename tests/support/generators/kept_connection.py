"""One HTTP connection that stays open, as Telegram's are. Knows neither what is sent over it nor what a success is."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


class KeptConnection:
    """To `url`; opened at the first request, and again after the server closed it."""

    def __init__(self, url: str, timeout_seconds: float = 30.0) -> None:
        address = urlsplit(url)
        self.path = address.path
        self._place = (address.hostname or "", address.port or 80)
        self._timeout_seconds = timeout_seconds
        self._socket: socket.socket | None = None

    def post(self, body: bytes) -> bytes:
        """Post it, and return the whole answer, or what there was of it. Raises OSError."""
        head = HEAD.format(path=self.path, length=len(body))
        if self._socket is None:
            self._socket = socket.create_connection(self._place, self._timeout_seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(head.encode() + body)
            answer = _answer(self._socket)
        except OSError:
            self.close()
            raise
        if not is_whole(answer) or b"\r\nconnection: close" in answer.lower():
            self.close()
        return answer

    def close(self) -> None:
        """End the connection; safe to repeat."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def is_whole(received: bytes) -> bool:
    """Whether an answer has come to its end."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"transfer-encoding" in lines:
        return body.endswith(b"0\r\n\r\n")
    return b"content-length" in lines and len(body) >= int(lines[b"content-length"])


def _answer(connection: socket.socket) -> bytes:
    received = b""
    while not is_whole(received):
        more = connection.recv(65536)
        if not more:
            return received
        received += more
    return received
