"""A worker's supply of jobs: a few claimed at once, so that claims cost less than runs.

A tenth of a second of work is claimed; twice as much after each claim that got all it asked for, up to half a second,
because then there is more than the workers can do. When it takes much longer, what was not run is given back, the
attempts refunded; while the database is away, as soon as it is back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, LeaseLost, StatementRefused
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob

log = logging.getLogger(__name__)
MAX_BATCH = 32
HELD_SECONDS, MOST_HELD_SECONDS = 0.1, 0.5
# A batch that lasts longer than this is given back: other workers may be idle, or its leases may be nearly over.
LONGEST_BATCH_SECONDS = 1.0


@dataclass
class ClaimBuffer:
    """Claims for one worker. `lease_seconds` is how long each claim is good for."""

    queue: DatabaseQueue
    worker: str
    lease_seconds: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._held: list[ClaimedJob] = []
        self._run_seconds: Optional[float] = None
        self._held_seconds = HELD_SECONDS
        self.claimed_at = 0.0

    def take(self) -> Optional[ClaimedJob]:
        """The next job to run; None when nothing is due. `claimed_at` is when its lease began.

        Raises DatabaseUnavailable; what has to be given back is tried again then with the next call.
        """
        if not self.holds_more:
            self._give_back()
            self.claimed_at = self.clock()
            wanted = 1
            if self._run_seconds is not None:
                wanted = max(1, min(MAX_BATCH, int(self._held_seconds / max(self._run_seconds, 0.001))))
            self._held = self.queue.claim(self.worker, self.lease_seconds, wanted)
            got_all = len(self._held) == wanted
            self._held_seconds = min(self._held_seconds * 2, MOST_HELD_SECONDS) if got_all else HELD_SECONDS
        return self._held.pop(0) if self._held else None

    def ran(self, seconds: float) -> None:
        """Record how long a run took: the size of the next batch depends on the slower of the last two."""
        self._run_seconds = seconds if self._run_seconds is None else max(seconds, self._run_seconds * 0.8)

    @property
    def holds_more(self) -> bool:
        """Whether there are jobs that were claimed, not taken yet, and may be taken now."""
        return bool(self._held) and not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the batch has lasted too long, so that the rest of it is to be given back."""
        return self.clock() - self.claimed_at > LONGEST_BATCH_SECONDS

    def give_back(self) -> None:
        """Release every job that was not run. Never raises: what is left is tried again by `take`, or reaped."""
        try:
            self._give_back()
        except DatabaseUnavailable as error:
            log.warning(event("jobs not released yet", count=len(self._held), cause=error))

    def _give_back(self) -> None:
        while self._held:
            job = self._held[-1]
            try:
                self.queue.release(job.lease)
                log.debug(event("job released", id=job.id, worker=self.worker))
            except (LeaseLost, StatementRefused) as error:
                log.warning(event("job not released", id=job.id, cause=error))
            self._held.pop()
