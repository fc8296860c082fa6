"""Renews the leases of all jobs that a worker runs, together. What a lost one means for a bot, its slot knows."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.worker.job_list import JobList

log = logging.getLogger(__name__)


@dataclass
class LeaseRenewer:
    """For one worker, by the terms of its queue. `on_renewed` is called after each renewal that was stored."""

    queue: DatabaseQueue
    on_renewed: Callable[[], None]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._terms = self.queue.lease_terms
        self._not_before = -math.inf

    def renew_if_due(self, lists: Iterable[JobList]) -> None:
        """Renew all as soon as one of them is due. Never raises."""
        running = [(each, lease) for each in lists if (lease := each.lease_to_renew) is not None]
        if not running or self.seconds_to_next([each for each, _ in running]) > 0:
            return
        now = self.clock()
        self._not_before = now + self._terms.renew_seconds
        try:
            lost = self.queue.renew_many([lease for _, lease in running], self._terms.lease_seconds)
        except DatabaseUnavailable as error:
            log.warning(event("heartbeat missed", jobs=len(running), id=running[0][1].job_id, cause=error))
            self._not_before = self.clock() + self._terms.retry_seconds
            return
        for jobs, lease in running:
            if lease in lost:
                jobs.lose(lease)
            else:
                jobs.renewed(now)
        self.on_renewed()

    def seconds_to_next(self, lists: Iterable[JobList]) -> float:
        """Until the next renewal is due; infinite when nothing runs that has a lease."""
        oldest = min((each.renewed_at for each in lists if each.lease_to_renew is not None), default=math.inf)
        return max(oldest + self._terms.renew_seconds, self._not_before) - self.clock()
