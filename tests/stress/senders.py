"""Sends updates as Telegram does: at its own pace, each lane in order, and again until the answer is a success.

Knows the webhooks' addresses and nothing of what is behind them.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from tests.stress.arrivals import Arrival
from tests.support.generators.kept_connection import KeptConnection

# Telegram waits as long as Retry-After says; that would make a test of failures a test of patience.
AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Accepted:
    """An update that was answered with success `at` a moment (CLOCK_MONOTONIC), sent so many times."""

    arrival: Arrival
    at: float
    tries: int


class Senders:
    """One connection for each of `urls`, which may name a place several times. A lane always takes the same one."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._refusals: SimpleQueue[str] = SimpleQueue()
        self._lines: list[SimpleQueue[Arrival | None]] = [SimpleQueue() for _ in urls]
        self._accepted: list[list[Accepted]] = [[] for _ in urls]
        self._give_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(url, number), name=f"sender {number}", daemon=True)
            for number, url in enumerate(urls)
        ]

    def run(self, updates: Iterator[Arrival], rate: float) -> None:
        """Hand out the updates at so many a second; returns when the last one is on its way."""
        for thread in self._threads:
            thread.start()
        started = time.monotonic()
        for number, arrival in enumerate(updates):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            self._lines[zlib.crc32(arrival.lane.encode()) % len(self._lines)].put(arrival)
        for line in self._lines:
            line.put(None)

    def finish(self, patience_seconds: float) -> list[Accepted]:
        """All that was accepted, in Telegram's order; what is not when nothing more was for so long stays out."""
        count, ends = -1, 0.0
        while any(thread.is_alive() for thread in self._threads):
            if (accepted := sum(map(len, self._accepted))) != count:
                count, ends = accepted, time.monotonic() + patience_seconds
            if time.monotonic() > ends:
                break
            time.sleep(LOOK_SECONDS)
        self._give_up.set()
        return sorted((each for line in self._accepted for each in line), key=lambda each: each.arrival.update)

    def refusals(self) -> Counter[str]:
        """How often which status came that was no success, or why there was none; asked once, at the end."""
        return Counter(self._refusals.get() for _ in range(self._refusals.qsize()))

    def _send_all(self, url: str, number: int) -> None:
        connection = KeptConnection(url)
        while (arrival := self._lines[number].get()) is not None:
            for tries in range(1, 1_000_000):
                said = self._send(connection, arrival)
                if self._give_up.is_set():
                    return
                if said.startswith("200"):
                    self._accepted[number].append(Accepted(arrival, time.monotonic(), tries))
                    break
                self._refusals.put(said)
                self._give_up.wait(AGAIN_SECONDS)
        connection.close()

    @staticmethod
    def _send(connection: KeptConnection, arrival: Arrival) -> str:
        """The status, or why there was none."""
        try:
            answer = connection.post(arrival.body)
        except OSError as error:
            return type(error).__name__
        return answer[9:12].decode() or "no answer"
