"""The pool's periodic work on the queue, on APScheduler in a thread of its own: a slow database delays nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.worker.housekeeping import SELDOM_SECONDS, Housekeeping

log = logging.getLogger(__name__)
# Reaping and expiring are done when a look says so; this often unasked.
UNASKED_OFTEN_SECONDS = 300.0
# Well within registry.ALIVE_SECONDS: idle workers of a pool do not beat themselves.
REFRESH_SECONDS = 30.0
QUIET_SELDOM_SECONDS = 600.0


class Maintenance:
    """Runs the housekeeping on a schedule, and at once for a worker the pool saw die.

    `pool` is how the names of the pool's workers begin; `is_quiet` says that nothing has come for a while, and then
    most of it is left out.
    """

    def __init__(
        self, queue: DatabaseQueue, housekeeping: Housekeeping, pool: str, is_quiet: Callable[[], bool] = lambda: False
    ) -> None:
        self._queue = queue
        self._housekeeping = housekeeping
        self._pool = pool
        self._is_quiet = is_quiet
        self._may_log = OncePer(60)
        self._cleaned_at = -QUIET_SELDOM_SECONDS
        self._dead: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": ThreadPoolExecutor(1)},
            # A late run is still wanted, but several missed ones are one.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin; the first round is at once, for what an earlier pool left behind."""
        self._scheduler.add_job(self._often)
        for work, seconds in (
            (self._seldom, SELDOM_SECONDS), (self._refresh, REFRESH_SECONDS), (self._often, UNASKED_OFTEN_SECONDS),
        ):
            self._scheduler.add_job(work, IntervalTrigger(seconds=int(seconds), timezone=timezone.utc))
        self._scheduler.add_job(self._seldom)
        self._scheduler.start()

    def needed(self) -> None:
        """Somebody saw that there is something to reap or to expire."""
        self._scheduler.add_job(self._often)

    def worker_died(self, name: str) -> None:
        """Give that worker's job back now instead of waiting for its lease."""
        self._dead.add(name)
        self.needed()

    def stop(self) -> None:
        """End after the work at hand, and after giving back what a worker that died in the end still held."""
        self._scheduler.shutdown(wait=True)
        if self._dead:
            self._often()

    def _often(self) -> None:
        self._guarded(self._bury_and_reap)

    def _seldom(self) -> None:
        if not self._is_quiet() or time.monotonic() - self._cleaned_at >= QUIET_SELDOM_SECONDS:
            self._cleaned_at = time.monotonic()
            self._guarded(self._housekeeping.seldom)

    def _refresh(self) -> None:
        self._guarded(lambda: self._housekeeping.refresh(self._pool))

    def _bury_and_reap(self) -> None:
        for name in list(self._dead):
            self._housekeeping.bury(name)
            self._dead.discard(name)
        self._housekeeping.often()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseUnavailable as error:
            if self._may_log():
                log.error(event("maintenance waits for the database", cause=error))
            self._queue.close()
