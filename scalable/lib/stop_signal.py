"""The wish of others that this process ends: signals, and the death of the pool that started it."""

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

# How often a waiting worker looks whether its pool still lives, where nothing tells it.
PARENT_SECONDS = 5.0


class StopSignal:
    """`requested`: finish the job at hand and end; `at_once`: do not even wait for the bot.

    TERM and INT request the first; QUIT, or a second INT, the second. Waiting here is how a worker sleeps, so a wish
    is heard at once. Signal handlers only put into a queue and a socket: anything more could meet a lock this thread
    holds. Safe to share between threads: all of those that wait hear it.
    """

    def __init__(self, parent_pid: Optional[int] = None, read_parent: Callable[[], int] = os.getppid) -> None:
        self._wishes: SimpleQueue[int] = SimpleQueue()
        self._wakeup_pipe, self._rope = socket.socketpair()  # stays readable once a wish was made
        self._rope.setblocking(False)
        self._parent_pid = parent_pid
        self._read_parent = read_parent
        self._requested = False
        self._at_once = False
        self._taking = threading.Lock()

    def listen(self) -> None:
        """Take over TERM, INT, QUIT and HUP of this process (main thread only).

        And let it have the exit codes of its children: whoever started it may have left CHLD ignored, which survives an
        exec, and then the kernel keeps none (wait(2)). Every bot that failed would look like one that succeeded.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: self.request(received))

    def request(self, number: int = signal.SIGTERM) -> None:
        """The same wish from inside the process."""
        self._wishes.put(number)
        with contextlib.suppress(BlockingIOError):  # nobody waits that has not been told
            self._rope.send(b"!")

    @property
    def requested(self) -> bool:
        """Whether to end after the job at hand."""
        with self._taking:  # never held by `request`, which a signal handler calls
            while True:
                try:
                    self._take(self._wishes.get_nowait())
                except Empty:
                    break
        if self._parent_pid is not None and self._read_parent() != self._parent_pid:
            self._requested = True  # the pool was killed: nobody would restart or stop us any more
        return self._requested

    @property
    def at_once(self) -> bool:
        """Whether to stop the bot that is running, too."""
        return self.requested and self._at_once

    def wait(self, seconds: float, also: Optional[int] = None) -> bool:
        """Sleep up to `seconds`; True once a stop is requested. Ends, too, when descriptor `also` has something."""
        ends = time.monotonic() + seconds
        descriptors = [self._wakeup_pipe.fileno(), *([] if also is None else [also])]
        while not self.requested:
            left = ends - time.monotonic()
            if left <= 0 or select.select(descriptors, [], [], min(left, PARENT_SECONDS))[0]:
                break
        return self.requested

    def _take(self, number: int) -> None:
        self._at_once = self._at_once or number == signal.SIGQUIT or (number == signal.SIGINT and self._requested)
        self._requested = True
