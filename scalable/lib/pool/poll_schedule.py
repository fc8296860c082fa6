"""When to poll the queue: rarely while the webhook notifies the pool of every update, else at every step.

Decides from snapshots and notifications alone; uses no database, no socket and no thread. Only the delay of a job that
came without a notification depends on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.queue.job import QueueSnapshot

# After so long without an update polls become rare, if updates come with notifications.
QUIET_SECONDS = 60.0
QUIET_STEP_SECONDS = 10.0
# After so many notifications in a row they are relied on again.
CONVINCING_NOTIFICATIONS = 3
SHORTEST_STEP_SECONDS = 0.05


class PollSchedule:
    """Computes when to take the next snapshot, from every notification and every snapshot. For one thread at a time.

    `step_seconds` is the ordinary pause between two polls; without `receives_notifications` it is the only one.
    """

    def __init__(
        self, step_seconds: float, clock: Callable[[], float] = time.monotonic, receives_notifications: bool = True
    ) -> None:
        self._step_seconds = step_seconds
        self._clock = clock
        self._traffic_at = clock()
        self._newest_id: Optional[int] = None
        # Updates up to the last snapshot, and notifications, since the first snapshot.
        self._arrived = 0
        self._notified = 0
        self._notifications_in_a_row = 0
        self._relies_on_notifications = receives_notifications
        self._due_in_seconds: Optional[float] = None

    def notified(self) -> None:
        """Record that the webhook stored an update."""
        self._traffic_at = self._clock()
        self._notified += 1
        self._notifications_in_a_row += 1
        if self._notifications_in_a_row >= CONVINCING_NOTIFICATIONS:
            self._relies_on_notifications = True

    def polled(self, snapshot: QueueSnapshot) -> None:
        """Record a snapshot of the queue."""
        if self._arrived > self._notified:  # there was time until now for their notifications
            self._relies_on_notifications = False
            self._notifications_in_a_row = 0
            self._notified = self._arrived
        if self._newest_id is not None and snapshot.newest_id > self._newest_id:
            self._traffic_at = self._clock()
            self._arrived += math.ceil((snapshot.newest_id - self._newest_id) / snapshot.id_step)
        self._notified = min(self._notified, self._arrived)  # a duplicate is notified, too, and is no new row
        self._newest_id = snapshot.newest_id
        self._due_in_seconds = snapshot.due_in_seconds

    @property
    def is_quiet(self) -> bool:
        """Whether no update has come for a while."""
        return self._clock() - self._traffic_at >= QUIET_SECONDS

    def next_poll_seconds(self) -> float:
        """Seconds to wait from now on, at most until the first job in back-off is due."""
        step = self._step_seconds
        if self._relies_on_notifications and self.is_quiet:
            step = max(step, QUIET_STEP_SECONDS)
        if self._due_in_seconds is not None and self._due_in_seconds > 0:
            step = min(step, self._due_in_seconds)
        return max(step, SHORTEST_STEP_SECONDS)
