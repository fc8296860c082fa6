"""The pool's periodic work on the queue, on APScheduler in a thread of its own: a slow database delays nothing else."""

from __future__ import annotations

import logging
from datetime import timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import Reaped

log = logging.getLogger(__name__)
REAP_SECONDS = 5


class Maintenance:
    """Reaps expired leases, and those of a worker the pool saw die."""

    def __init__(self, queue: DatabaseQueue) -> None:
        self._queue = queue
        self._may_log = OncePer(60)
        self._dead: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": ThreadPoolExecutor(1)},
            # A late run is still wanted, but several missed ones are one.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin; the first reap is at once, for what an earlier pool left behind."""
        self._scheduler.add_job(self._reap, IntervalTrigger(seconds=REAP_SECONDS, timezone=timezone.utc), id="reap")
        self._scheduler.add_job(self._reap, id="first reap")
        self._scheduler.start()

    def worker_died(self, name: str) -> None:
        """Give that worker's job back now instead of waiting for its lease."""
        self._dead.add(name)
        self._scheduler.add_job(self._reap)

    def stop(self) -> None:
        """End after the work at hand, and after giving back what a worker that died in the end still held."""
        self._scheduler.shutdown(wait=True)
        if self._dead:
            self._reap()

    def _reap(self) -> None:
        try:
            for name in list(self._dead):
                self._report(self._queue.reap_worker(name), f"worker {name} died")
                self._dead.discard(name)
            self._report(self._queue.reap(), "lease ran out")
        except DatabaseUnavailable as error:
            if self._may_log():
                log.error(event("maintenance waits for the database", cause=error))
            self._queue.close()

    def _report(self, reaped: Reaped, cause: str) -> None:
        if reaped.retried or reaped.failed:
            log.warning(event("leases reaped", retried=reaped.retried, failed=reaped.failed, cause=cause))
