"""Watches for work in a thread of its own: hears the pokes, looks at the queue, and rings for the workers.

So the workers themselves ask the database only when there is something to ask for. When to look is watch.py's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Optional, Protocol

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import OncePer, event
from scalable.lib.pool.poll_schedule import PollSchedule
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.wakeup import WakeupPipe

log = logging.getLogger(__name__)
END_SECONDS = 10.0


class Notifications(Protocol):
    """Where others say that they stored an update."""

    def fileno(self) -> int:
        """Readable when there are pokes."""

    def take(self) -> int:
        """How many pokes came since the last time."""


class QueueWatcher:
    """Rings one worker for each poke, and all of them when a look finds due jobs.

    `needs_upkeep` is called when a look finds leases that ran out or deadlines that passed; it must not block.
    """

    def __init__(
        self,
        queue: DatabaseQueue,
        watch: PollSchedule,
        wakeup_pipe: WakeupPipe,
        notifications: Optional[Notifications],
        needs_upkeep: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._watch = watch
        self._wakeup_pipe = wakeup_pipe
        self._notifications = notifications
        self._needs_upkeep = needs_upkeep
        self._stop = StopSignal()
        self._may_log = OncePer(60)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the look at hand."""
        self._stop.request()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stop.requested:
                self._take_snapshot()
                self._listen(self._watch.next_poll_seconds())
        except Exception:  # the top of the thread: without it, workers are still woken by their own rare looks
            log.exception(event("watcher ended"))

    def _listen(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        listening = None if self._notifications is None else self._notifications.fileno()
        while time.monotonic() < ends and not self._stop.wait(ends - time.monotonic(), also=listening):
            count = 0 if self._notifications is None else self._notifications.take()
            for _ in range(count):
                self._watch.notified()
            if count:
                self._wakeup_pipe.wake_workers(count)
                ends = min(ends, time.monotonic() + self._watch.next_poll_seconds())

    def _take_snapshot(self) -> None:
        try:
            snapshot = self._queue.snapshot()
        except (DatabaseUnavailable, SchemaMissing) as error:
            if self._may_log():
                log.error(event("queue not looked at", cause=error))
            self._queue.close()
            return
        self._watch.polled(snapshot)
        if snapshot.due_in_seconds is not None and snapshot.due_in_seconds <= 0:
            self._wakeup_pipe.wake_workers()
        if snapshot.needs_maintenance:
            self._needs_upkeep()
