"""Renews the lease of the running job, and ends the bot when the lease cannot be kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from scalable.lib.errors import DatabaseUnavailable, LeaseLost, StoppedAtOnce
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.stop_signal import StopSignal

log = logging.getLogger(__name__)


@dataclass
class LeaseRenewer:
    """For one job, by the terms of its queue. `claimed_at`: when its lease began; `on_renewed`: after each renewal."""

    queue: DatabaseQueue
    job: ClaimedJob
    claimed_at: float
    stop: StopSignal
    on_renewed: Callable[[], None]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._terms = self.queue.lease_terms
        self._renewed_at = self.claimed_at
        self._renew_at = self.claimed_at + self._terms.renew_seconds

    def renew_if_due(self) -> None:
        """Renew when it is time. Raises LeaseLost, or StoppedAtOnce when that was requested.

        LeaseLost also before another worker can have the job, when the database cannot be reached.
        """
        if self.stop.at_once:
            raise StoppedAtOnce("asked to stop at once")
        now = self.clock()
        if now < self._renew_at:
            return
        self._renew_at = now + self._terms.renew_seconds
        try:
            self.queue.renew(self.job.lease, self._terms.lease_seconds)
            self._renewed_at = now
            self.on_renewed()
        except DatabaseUnavailable as error:
            log.warning(event("heartbeat missed", id=self.job.id, cause=error))
            if self.clock() >= self._renewed_at + self._terms.unrenewed_seconds:
                raise LeaseLost("the database was away until another worker could soon have the job") from error
            last_try_at = self._renewed_at + self._terms.unrenewed_seconds
            self._renew_at = min(self.clock() + self._terms.retry_seconds, last_try_at)
