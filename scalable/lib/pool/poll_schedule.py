"""When to look at the queue: seldom while the webhook says of every update that it is there, else at every step.

Plain decisions from what was seen and heard; knows no database, no socket and no thread. Nothing but the delay of a job
nobody announced depends on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.queue.job import QueueSnapshot

# After so long without an update the looks become rare, if updates are announced.
QUIET_SECONDS = 60.0
QUIET_STEP_SECONDS = 10.0
# So many announced updates in a row, and announcements are believed in again.
CONVINCING_NOTIFICATIONS = 3
SHORTEST_STEP_SECONDS = 0.05


class PollSchedule:
    """Told of every poke and every look; says when the next look is worth its while. For one thread at a time.

    `step_seconds` is the ordinary pause between two looks; without `hears_notifications` it is the only one.
    """

    def __init__(
        self, step_seconds: float, clock: Callable[[], float] = time.monotonic, hears_notifications: bool = True
    ) -> None:
        self._step_seconds = step_seconds
        self._clock = clock
        self._traffic_at = clock()
        self._newest_id: Optional[int] = None
        # Updates seen up to the last look, and those announced, since the first look.
        self._arrived = 0
        self._announced = 0
        self._notifications_in_a_row = 0
        self._believes = hears_notifications
        self._due_in_seconds: Optional[float] = None

    def notified(self) -> None:
        """The webhook says that it stored an update."""
        self._traffic_at = self._clock()
        self._announced += 1
        self._notifications_in_a_row += 1
        self._believes = self._believes or self._notifications_in_a_row >= CONVINCING_NOTIFICATIONS

    def polled(self, snapshot: QueueSnapshot) -> None:
        """The queue was looked at."""
        if self._arrived > self._announced:  # they had until now to be announced
            self._believes = False
            self._notifications_in_a_row = 0
            self._announced = self._arrived
        if self._newest_id is not None and snapshot.newest_id > self._newest_id:
            self._traffic_at = self._clock()
            self._arrived += math.ceil((snapshot.newest_id - self._newest_id) / snapshot.id_step)
        self._announced = min(self._announced, self._arrived)  # a duplicate is announced, and is no new row
        self._newest_id = snapshot.newest_id
        self._due_in_seconds = snapshot.due_in_seconds

    @property
    def is_quiet(self) -> bool:
        """Whether no update has come for a while."""
        return self._clock() - self._traffic_at >= QUIET_SECONDS

    def next_poll_seconds(self) -> float:
        """How long to wait from now on; a job in back-off is met when it is due."""
        step = self._step_seconds
        if self._believes and self.is_quiet:
            step = max(step, QUIET_STEP_SECONDS)
        if self._due_in_seconds is not None and self._due_in_seconds > 0:
            step = min(step, self._due_in_seconds)
        return max(step, SHORTEST_STEP_SECONDS)
