"""The pool's periodic work on the queue, on APScheduler in a thread of its own: a slow database delays nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Optional

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
ALERT_SECONDS, QUIET_ALERT_SECONDS = 60, 300.0
# Workers have registered by then; and it is within the one minute that a pool of cron lives.
FIRST_ALERT = timedelta(seconds=20)


class Maintenance:
    """Runs the housekeeping on a schedule, and at once for a worker the pool saw die.

    `pool` is how the names of the pool's workers begin; `is_quiet` says that nothing has come for a while, and then
    most of it is left out. `alert`, when there is one, is called by the leader now and then.
    """

    def __init__(
        self,
        queue: DatabaseQueue,
        housekeeping: Housekeeping,
        pool: str,
        is_quiet: Callable[[], bool] = lambda: False,
        alert: Optional[Callable[[], None]] = None,
    ) -> None:
        self._queue = queue
        self._housekeeping = housekeeping
        self._pool = pool
        self._is_quiet = is_quiet
        self._may_log = OncePer(60)
        self._cleaned_at = -QUIET_SELDOM_SECONDS
        self._alert = alert
        self._may_alert_in_quiet = OncePer(QUIET_ALERT_SECONDS)
        self._dead: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            # Telegram may take its time: no dead worker's job waits for it.
            executors={"default": ThreadPoolExecutor(1), "alerts": ThreadPoolExecutor(1)},
            # A late run is still wanted, but several missed ones are one.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin; the first round is at once, for what an earlier pool left behind."""
        self._scheduler.add_job(self._every_5_seconds)
        for work, seconds in (
            (self._every_minute, SELDOM_SECONDS),
            (self._refresh, REFRESH_SECONDS),
            (self._every_5_seconds, UNASKED_OFTEN_SECONDS),
        ):
            self._scheduler.add_job(work, IntervalTrigger(seconds=int(seconds), timezone=timezone.utc))
        self._scheduler.add_job(self._every_minute)
        if self._alert is not None:
            first = datetime.now(timezone.utc) + FIRST_ALERT
            minutely = IntervalTrigger(seconds=ALERT_SECONDS, start_date=first, timezone=timezone.utc)
            self._scheduler.add_job(self._alert_now, minutely, executor="alerts")
        self._scheduler.start()

    def needed(self) -> None:
        """Somebody saw that there is something to reap or to expire."""
        self._scheduler.add_job(self._every_5_seconds)

    def worker_died(self, name: str) -> None:
        """Give that worker's job back now instead of waiting for its lease."""
        self._dead.add(name)
        self.needed()

    def stop(self) -> None:
        """End after the work at hand, and after giving back what a worker that died in the end still held."""
        self._scheduler.shutdown(wait=True)
        if self._dead:
            self._every_5_seconds()
        self._guarded(self._housekeeping.end)

    def _every_5_seconds(self) -> None:
        self._guarded(self._bury_and_reap)

    def _every_minute(self) -> None:
        if not self._is_quiet() or time.monotonic() - self._cleaned_at >= QUIET_SELDOM_SECONDS:
            self._cleaned_at = time.monotonic()
            self._guarded(self._housekeeping.every_minute)

    def _alert_now(self) -> None:
        if self._is_quiet() and not self._may_alert_in_quiet():
            return
        self._guarded(self._alert_as_leader)

    def _alert_as_leader(self) -> None:
        if self._alert is not None and self._housekeeping.leadership.take():
            self._alert()

    def _refresh(self) -> None:
        self._guarded(lambda: self._housekeeping.refresh(self._pool))

    def _bury_and_reap(self) -> None:
        for name in list(self._dead):
            self._housekeeping.bury(name)
            self._dead.discard(name)
        self._housekeeping.every_5_seconds()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseUnavailable as error:
            if self._may_log():
                log.error(event("maintenance waits for the database", cause=error))
            self._queue.close()
