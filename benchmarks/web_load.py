"""Delivers updates over HTTP as Telegram does, on connections that stay open. Measures; knows no server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.failed import BenchmarkFailed
from tests.support.generators.kept_connection import KeptConnection


class Sender:
    """One connection to `url`; opened again when the server closes it."""

    def __init__(self, url: str, ids: Iterator[int]) -> None:
        self._connection = KeptConnection(url)
        self._ids = ids

    def send(self) -> float:
        """Deliver one update; seconds until the whole answer was there. Raises BenchmarkFailed when it is no success.

        A status of 200 proves nothing: PHP has it for a script that failed, with the error in the body.
        """
        number = next(self._ids)
        message = {"message_id": number, "date": 1, "chat": {"id": number}, "text": "x" * 60}
        body = json.dumps({"update_id": number, "message": message}).encode()
        started = time.perf_counter()
        answer = self._connection.post(body)
        seconds = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200") or b'{"ok":true' not in answer.replace(b" ", b""):
            raise BenchmarkFailed(f"{self._connection.path} answered {answer[:300]!r}")
        return seconds

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


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
