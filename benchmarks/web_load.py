"""Delivers updates over HTTP as Telegram does, on connections that stay open. Measures; knows no server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from benchmarks.failed import BenchmarkFailed

TIMEOUT_SECONDS = 30.0
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


class Sender:
    """One connection to `url`; opened again when the server closes it."""

    def __init__(self, url: str, ids: Iterator[int]) -> None:
        address = urlsplit(url)
        self._place = (address.hostname or "", address.port or 80)
        self._path = address.path
        self._ids = ids
        self._socket: socket.socket | None = None

    def send(self) -> float:
        """Deliver one update; seconds until the whole answer was there. Raises BenchmarkFailed when it is no success.

        A status of 200 proves nothing: PHP has it for a script that failed, with the error in the body.
        """
        number = next(self._ids)
        message = {"message_id": number, "date": 1, "chat": {"id": number}, "text": "x" * 60}
        body = json.dumps({"update_id": number, "message": message}).encode()
        head = HEAD.format(path=self._path, length=len(body))
        started = time.perf_counter()
        if self._socket is None:
            self._socket = socket.create_connection(self._place, TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(head.encode() + body)
        answer = self._answer(self._socket)
        seconds = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200") or b'{"ok":true' not in answer.replace(b" ", b""):
            raise BenchmarkFailed(f"{self._path} answered {answer[:300]!r}")
        if b"\r\nconnection: close" in answer.lower():
            self.close()
        return seconds

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _answer(connection: socket.socket) -> bytes:
        received = b""
        while not _is_whole(received):
            more = connection.recv(65536)
            if not more:
                return received
            received += more
        return received


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"transfer-encoding" in lines:
        return body.endswith(b"0\r\n\r\n")
    return b"content-length" in lines and len(body) >= int(lines[b"content-length"])


def latencies(url: str, ids: Iterator[int], count: int) -> list[float]:
    """Seconds, one for each of `count` updates, one after the other."""
    sender = Sender(url, ids)
    try:
        return [sender.send() for _ in range(count)]
    finally:
        sender.close()


def rate(url: str, ids: Iterator[int], count: int, connections: int) -> float:
    """Updates per second over so many connections at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        done = list(threads.map(lambda _: latencies(url, ids, count // connections), range(connections)))
    return sum(map(len, done)) / (time.perf_counter() - started)
