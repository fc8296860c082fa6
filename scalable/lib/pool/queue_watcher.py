"""Watches for work in a thread of its own: receives notifications, takes snapshots of the queue, wakes the workers.

So the workers claim only when there may be a due job. poll_schedule.py decides when to take a snapshot.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import OncePer, event
from scalable.lib.pool.poll_schedule import PollSchedule
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.wakeup import WakeupPipe

if TYPE_CHECKING:
    from scalable.lib.ingest.pool_notification import NotificationSocket

log = logging.getLogger(__name__)
END_SECONDS = 10.0


@dataclass
class QueueWatcher:
    """Wakes one worker for each notification, and all of them when a snapshot finds due jobs.

    `on_maintenance_due` is called when a snapshot finds leases or deadlines that are over, and after an outage, in
    which a worker may have died; `before_snapshot` every few seconds. Neither may block.
    """

    queue: DatabaseQueue
    schedule: PollSchedule
    wakeup_pipe: WakeupPipe
    notifications: Optional[NotificationSocket]
    on_maintenance_due: Callable[[], None]
    before_snapshot: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._stop = StopSignal()
        self._may_log = OncePer(60)
        self._was_away = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin; the first snapshot is taken at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the snapshot at hand."""
        self._stop.request()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stop.requested:
                self.before_snapshot()
                self._take_snapshot()
                self._wait_for_notifications(self.schedule.next_poll_seconds())
        except Exception:  # the top of the thread: without it, workers still claim by themselves, but rarely
            log.exception(event("watcher ended"))

    def _wait_for_notifications(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        sources = [] if self.notifications is None else [self.notifications.fileno()]
        while time.monotonic() < ends and not self._stop.wait(ends - time.monotonic(), *sources):
            count = 0 if self.notifications is None else self.notifications.take()
            for _ in range(count):
                self.schedule.notified()
            if count:
                self.wakeup_pipe.wake_workers(count)
                ends = min(ends, time.monotonic() + self.schedule.next_poll_seconds())

    def _take_snapshot(self) -> None:
        try:
            snapshot = self.queue.snapshot()
        except (DatabaseUnavailable, SchemaMissing) as error:
            if self._may_log():
                log.error(event("queue not looked at", cause=error))
            self.queue.close()
            self._was_away = True
            return
        self.schedule.polled(snapshot)
        if snapshot.due_in_seconds is not None and snapshot.due_in_seconds <= 0:
            self.wakeup_pipe.wake_workers()
        was_away, self._was_away = self._was_away, False
        if snapshot.needs_maintenance or was_away:
            self.on_maintenance_due()
