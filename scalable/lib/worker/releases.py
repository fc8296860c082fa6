"""Jobs that a worker gives back not run, their attempts refunded. Tried again while the database is away."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from scalable.lib.errors import DatabaseUnavailable, LeaseLost, StatementRefused
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob

log = logging.getLogger(__name__)


class Releases:
    """Of one worker, called `name`; for one thread."""

    def __init__(self, queue: DatabaseQueue, name: str, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._name = name
        self._clock = clock
        self._waiting: list[ClaimedJob] = []
        self._again_at = 0.0

    def add(self, jobs: Sequence[ClaimedJob]) -> None:
        """Release these, and what is left of earlier ones. Never raises."""
        self._waiting += jobs
        try:
            self.finish()
        except DatabaseUnavailable as error:
            self._again_at = self._clock() + self._queue.lease_terms.retry_seconds
            log.warning(event("jobs not released yet", count=len(self._waiting), cause=error))

    def retry_if_due(self) -> None:
        """Try again what could not be released, when it is time. Never raises."""
        if self.seconds_to_next() <= 0:
            self.add([])

    @property
    def are_waiting(self) -> bool:
        """Whether something could not be released yet."""
        return bool(self._waiting)

    def seconds_to_next(self) -> float:
        """Until the next try is due; infinite when nothing is left."""
        return max(0.0, self._again_at - self._clock()) if self._waiting else math.inf

    def finish(self) -> None:
        """Release all. Raises DatabaseUnavailable; what is left is tried again."""
        while self._waiting:
            job = self._waiting[-1]
            try:
                self._queue.release(job.lease)
                log.debug(event("job released", id=job.id, worker=self._name))
            except (LeaseLost, StatementRefused) as error:
                if job.lease.held_by:  # and it has not got the lease yet
                    self._queue.let_go([job.lease])
                else:
                    log.warning(event("job not released", id=job.id, cause=error))
            self._waiting.pop()
