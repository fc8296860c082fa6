"""The threads that a pool runs beside its workers, whether these are processes or threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from scalable.lib.pool.maintenance_schedule import MaintenanceSchedule
from scalable.lib.pool.parts import PoolParts
from scalable.lib.pool.poll_schedule import PollSchedule
from scalable.lib.pool.queue_watcher import QueueWatcher
from scalable.lib.worker.wakeup import WakeupPipe

if TYPE_CHECKING:
    from scalable.lib.ingest.pool_notification import NotificationSocket


class PoolServices:
    """Maintenance of the queue, and the watcher that wakes idle workers through `wakeup_pipe`.

    `name` is how the names of the pool's workers begin.
    """

    def __init__(self, parts: PoolParts, name: str, notifications: Optional[NotificationSocket]) -> None:
        schedule = PollSchedule(parts.sleep_seconds, receives_notifications=notifications is not None)
        self.wakeup_pipe = WakeupPipe(parts.size)
        self.maintenance = MaintenanceSchedule(
            parts.queue, parts.maintenance, name, lambda: schedule.is_quiet, parts.leader_checks
        )
        self._watcher = QueueWatcher(
            parts.queue,
            schedule,
            self.wakeup_pipe,
            notifications,
            self.maintenance.reap_soon,
            self.maintenance.check_clock,
        )
        self._queue = parts.queue

    def start(self) -> None:
        """Begin, both at once."""
        self.maintenance.start()
        self._watcher.start()

    def stop(self) -> None:
        """End after the work at hand, once no worker is left."""
        self._watcher.stop()
        self.maintenance.stop()
        self.wakeup_pipe.close()
        self._queue.close()
