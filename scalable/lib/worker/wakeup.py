"""How an idle worker is woken: by its pool, through a pipe, or by polling the database.

Each byte in the pipe wakes one worker. All idle workers of a pool wait on the same end; the one that reads the byte
claims, and the others go on waiting without having asked the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import struct
import termios
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional, Union

from scalable.lib.stop_signal import StopSignal

if TYPE_CHECKING:
    from scalable.lib.worker.slot_group import Reports

# An idle worker of a pool claims this rarely without having been woken, in case a wake-up was lost.
LONGEST_IDLE_SECONDS = 300.0
# After this, what a worker holds only to be quick is better given back.
REST_SECONDS = 30.0


class WaitForInterval:
    """Waits `seconds`, give or take a fifth, so that idle workers do not poll at the same moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def wait(
        self, stop: StopSignal, most_seconds: float, rest: Callable[[], None], reports: Optional[Reports] = None
    ) -> None:
        """Return when a claim may find something, when there are `reports`, when a stop is requested, and after
        `most_seconds` at the latest.

        `rest` is called once when that lasts longer than REST_SECONDS.
        """
        if self._seconds > REST_SECONDS:
            rest()
        pause_seconds = self._seconds * random.uniform(0.8, 1.2)  # nosec B311  # no secret
        stop.wait(min(pause_seconds, most_seconds), *([] if reports is None else [reports.fileno()]))

    def may_be_due(self) -> bool:
        """Whether a worker all of whose slots are busy has a reason to claim. Nobody would tell it."""
        return True

    def take(self) -> bool:
        """The same, for one that takes what is there: no other one needs to be woken for it."""
        return True


class WaitForWakeup:
    """Waits for a byte in the pool's pipe, `reader`; its end means that the pool is gone."""

    def __init__(self, reader: int) -> None:
        self._reader = reader

    def wait(
        self, stop: StopSignal, most_seconds: float, rest: Callable[[], None], reports: Optional[Reports] = None
    ) -> None:
        """As WaitForInterval.wait."""
        if self._is_woken(stop, min(REST_SECONDS, most_seconds), reports) or most_seconds <= REST_SECONDS:
            return
        rest()
        self._is_woken(stop, min(LONGEST_IDLE_SECONDS, most_seconds) - REST_SECONDS, reports)

    def may_be_due(self) -> bool:
        """As WaitForInterval.may_be_due. The byte is left for a worker with a free slot."""
        return bool(select.select([self._reader], [], [], 0)[0])

    def take(self) -> bool:
        """As WaitForInterval.take: reads a byte."""
        with contextlib.suppress(BlockingIOError):  # there is none, or another worker read it
            os.read(self._reader, 1)
            return True
        return False

    def _is_woken(self, stop: StopSignal, seconds: float, reports: Optional[Reports]) -> bool:
        """Whether this worker was woken, there is a report, or a stop was requested, within `seconds`."""
        ends = time.monotonic() + seconds
        sources = [self._reader, *([] if reports is None else [reports.fileno()])]
        while not stop.wait(ends - time.monotonic(), *sources):
            if time.monotonic() >= ends:
                return False
            if (reports is not None and reports.are_there) or self.take():
                return True
        return True


IdleWait = Union[WaitForInterval, WaitForWakeup]


class WakeupPipe:
    """The pool's end of that pipe. `reader` is inherited by the workers."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def wake_workers(self, workers: Optional[int] = None) -> None:
        """Wake so many idle workers, all when that is None. Safe to repeat, from any thread, and cheap.

        There are never more bytes in the pipe than workers: a busy one claims again before it waits.
        """
        waiting = struct.unpack("i", fcntl.ioctl(self.reader, termios.FIONREAD, b"\0" * 4))[0]
        count = min(self._workers if workers is None else workers, self._workers - waiting)
        if count > 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._writer, b"!" * count)

    def close(self) -> None:
        """Close both ends, once no worker is left."""
        os.close(self.reader)
        os.close(self._writer)
