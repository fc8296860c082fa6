"""Requests that this process ends: signals, and the death of the pool that started it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Optional

# How often a waiting worker checks that its pool still runs.
PARENT_SECONDS = 5.0


class StopSignal:
    """`requested`: finish the job at hand and end; `at_once`: do not even wait for the bot.

    TERM and INT request the first; QUIT, or a second INT, the second. A worker sleeps in `wait`, so a request
    ends its sleep at once. Signal handlers only put into a queue and a socket: anything more could meet a lock this
    thread holds. Safe to share between threads: a request ends every `wait`.
    """

    def __init__(self, parent_pid: Optional[int] = None, read_parent: Callable[[], int] = os.getppid) -> None:
        self._received: SimpleQueue[int] = SimpleQueue()
        self._reader, self._writer = socket.socketpair()  # stays readable after the first request
        self._writer.setblocking(False)
        self._parent_pid = parent_pid
        self._read_parent = read_parent
        self._requested = False
        self._at_once = False
        self._taking = threading.Lock()

    def listen(self) -> None:
        """Take over TERM, INT, QUIT and HUP of this process (main thread only).

        CHLD gets its default: the process that started this one may have left it ignored, which survives an exec, and
        then the kernel keeps no exit codes (wait(2)). Every bot that failed would look like one that succeeded.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: self.request(received))

    def request(self, number: int = signal.SIGTERM) -> None:
        """The same from inside the process."""
        self._received.put(number)
        with contextlib.suppress(BlockingIOError):  # full: it is readable already
            self._writer.send(b"!")

    @property
    def requested(self) -> bool:
        """Whether to end after the job at hand."""
        with self._taking:  # never held by `request`, which a signal handler calls
            while True:
                try:
                    self._take(self._received.get_nowait())
                except Empty:
                    break
        if self._parent_pid is not None and self._read_parent() != self._parent_pid:
            self._requested = True  # the pool was killed: nothing would restart or stop this worker any more
        return self._requested

    @property
    def at_once(self) -> bool:
        """Whether to stop the bot that is running, too."""
        return self.requested and self._at_once

    def wait(self, seconds: float, *also: int) -> bool:
        """Sleep up to `seconds`; True once a stop is requested. Ends, too, when a descriptor in `also` can be read."""
        ends = time.monotonic() + seconds
        descriptors = [self._reader.fileno(), *also]
        while not self.requested:
            left = ends - time.monotonic()
            if left <= 0 or select.select(descriptors, [], [], min(left, PARENT_SECONDS))[0]:
                break
        return self.requested

    def wait_to_the_end(self, seconds: float, *also: int) -> None:
        """The same for one that has to wait also after a stop was requested, then for half a second at most."""
        if not self.wait(seconds, *also) or not also:
            return
        select.select(also, [], [], max(0.0, min(seconds, PARENT_SECONDS)))

    def _take(self, number: int) -> None:
        self._at_once = self._at_once or number == signal.SIGQUIT or (number == signal.SIGINT and self._requested)
        self._requested = True
