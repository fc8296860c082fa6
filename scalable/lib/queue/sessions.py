"""The open connections of one process: as many as are in use at once, the idle ones closed after a while.

A shared host counts connections, not threads: eight web threads that take turns need one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

# Well under the 60 s after which some hosts close a connection that nobody uses.
IDLE_SECONDS = 30.0


class Closable(Protocol):
    """What can be let go."""

    def close(self) -> None:
        """Let it go; never raises."""


Connection = TypeVar("Connection", bound=Closable)


class Sessions(Generic[Connection]):
    """Lends connections, the one used last first. Safe to share between threads; survives a fork."""

    def __init__(self, connect: Callable[[], Connection], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Connection]] = []
        self._pid = os.getpid()

    def borrow(self) -> Connection:
        """A connection nobody else uses until it is given back or thrown away."""
        with self._lock:
            if self._pid != os.getpid():  # after a fork the parent's connections are left to the parent
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()[1]
        return self._connect()

    def give_back(self, session: Connection) -> None:
        """It works and holds nothing; others that were idle for long are closed."""
        with self._lock:
            now = self._clock()
            stale = [idle for used, idle in self._idle if now - used > IDLE_SECONDS]
            self._idle = [(used, idle) for used, idle in self._idle if now - used <= IDLE_SECONDS]
            self._idle.append((now, session))
        for idle in stale:
            idle.close()

    def close_idle(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
            mine = self._pid == os.getpid()
        for _, session in idle if mine else []:
            session.close()
