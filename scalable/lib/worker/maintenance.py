"""The pool's periodic work on the queue, on APScheduler in a thread of its own: a slow database delays nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.worker.housekeeping import OFTEN_SECONDS, SELDOM_SECONDS, Housekeeping

log = logging.getLogger(__name__)


class Maintenance:
    """Runs the housekeeping on a schedule, and at once for a worker the pool saw die."""

    def __init__(self, queue: DatabaseQueue, housekeeping: Housekeeping) -> None:
        self._queue = queue
        self._housekeeping = housekeeping
        self._may_log = OncePer(60)
        self._dead: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": ThreadPoolExecutor(1)},
            # A late run is still wanted, but several missed ones are one.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin; the first round is at once, for what an earlier pool left behind."""
        for work, seconds in ((self._often, OFTEN_SECONDS), (self._seldom, SELDOM_SECONDS)):
            self._scheduler.add_job(work)
            self._scheduler.add_job(work, IntervalTrigger(seconds=int(seconds), timezone=timezone.utc))
        self._scheduler.start()

    def worker_died(self, name: str) -> None:
        """Give that worker's job back now instead of waiting for its lease."""
        self._dead.add(name)
        self._scheduler.add_job(self._often)

    def stop(self) -> None:
        """End after the work at hand, and after giving back what a worker that died in the end still held."""
        self._scheduler.shutdown(wait=True)
        if self._dead:
            self._often()

    def _often(self) -> None:
        self._guarded(self._bury_and_reap)

    def _seldom(self) -> None:
        self._guarded(self._housekeeping.seldom)

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
