"""The open connections of one process: as many as are in use at once, the idle ones closed after a while.

A shared host counts connections, not threads: eight web threads that use it one after the other need one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from scalable.lib.queue.dialects.database import Session

# The one used last stays. Others go so soon because what a burst of requests opened is missing where the server allows
# few connections: workers that find none left wait ever longer before they ask again.
IDLE_SECONDS = 2.0
# How long to wait for one of a limited number; a longer wait would not end.
BORROW_SECONDS = 30.0


class ConnectionPool:
    """Lends connections, the one used last first. Safe to share between threads; survives a fork."""

    def __init__(self, connect: Callable[[], Session], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Session]] = []
        self._pid = os.getpid()
        self._permits: Optional[threading.Semaphore] = None

    def limit(self, most: int) -> None:
        """From now on lend at most `most` at once, so that no more are open: a thread that needs one more waits.

        Call it before the first is borrowed. A thread that borrows one while it has one may wait for itself.
        """
        self._permits = threading.Semaphore(most)

    def borrow(self) -> Session:
        """A connection that no other thread uses until it is given back or thrown away. Raises as connecting."""
        if self._permits is not None and not self._permits.acquire(timeout=BORROW_SECONDS):
            raise DatabaseUnavailable(f"no connection of this process came free in {BORROW_SECONDS:g} s")
        try:
            return self._taken()
        except BaseException:
            self._return_permit()
            raise

    def borrow_idle(self) -> Optional[Session]:
        """The same without waiting, neither for another thread nor to connect; None where there is none."""
        if self._permits is not None and not self._permits.acquire(blocking=False):
            return None
        idle = self._idle_one()
        if idle is None:
            self._return_permit()
        return idle

    def _taken(self) -> Session:
        return self._idle_one() or self._connect()

    def _idle_one(self) -> Optional[Session]:
        with self._lock:
            if self._pid != os.getpid():  # after a fork the parent's connections are left to the parent
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()[1]
        return None

    def give_back(self, session: Session) -> None:
        """Give back a connection that works and has no open transaction; those idle for long are closed."""
        with self._lock:
            now = self._clock()
            stale = [idle for used, idle in self._idle if now - used > IDLE_SECONDS]
            self._idle = [(used, idle) for used, idle in self._idle if now - used <= IDLE_SECONDS]
            self._idle.append((now, session))
        for idle in stale:
            idle.close()
        self._return_permit()

    def throw_away(self, session: Session) -> None:
        """Close a connection that must not be used again."""
        session.close()
        self._return_permit()

    def _return_permit(self) -> None:
        if self._permits is not None:
            self._permits.release()

    def close_idle(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
            mine = self._pid == os.getpid()
        for _, session in idle if mine else []:
            session.close()
