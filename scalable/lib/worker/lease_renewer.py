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
# A lane whose worker died moves again within a minute: lease, plus the 5 s between two reaps.
LEASE_SECONDS = 45.0
RENEW_SECONDS = 10.0
# When renewals fail, the bot is ended this long before the lease, so that no other worker runs the job beside it.
LEASE_MARGIN_SECONDS = 15.0


@dataclass
class LeaseRenewer:
    """For one job. `claimed_at`: when its lease began; `on_renewed` is called after each renewal."""

    queue: DatabaseQueue
    job: ClaimedJob
    claimed_at: float
    stop: StopSignal
    on_renewed: Callable[[], None]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._lease_ends = self.claimed_at + LEASE_SECONDS
        self._renew_at = self.claimed_at + RENEW_SECONDS

    def renew_if_due(self) -> None:
        """Renew every RENEW_SECONDS. Raises LeaseLost, or StoppedAtOnce when that was requested."""
        if self.stop.at_once:
            raise StoppedAtOnce("asked to stop at once")
        now = self.clock()
        if now < self._renew_at:
            return
        self._renew_at = now + RENEW_SECONDS
        try:
            self.queue.renew(self.job.lease, LEASE_SECONDS)
            self._lease_ends = now + LEASE_SECONDS
            self.on_renewed()
        except DatabaseUnavailable as error:
            log.warning(event("heartbeat missed", id=self.job.id, cause=error))
            if self.clock() > self._lease_ends - LEASE_MARGIN_SECONDS:
                raise LeaseLost("the database was away until the lease was nearly over") from error
