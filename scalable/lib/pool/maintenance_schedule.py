"""When a pool maintains its queue: by APScheduler, in threads of its own, so a slow database delays nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Optional

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.worker.maintenance import PRUNE_SECONDS, Maintenance

log = logging.getLogger(__name__)
# Reaping and expiring are done when a snapshot says so; this often without one.
REAP_UNASKED_SECONDS = 300.0
# Well within registry.ALIVE_SECONDS: idle workers of a pool do not register themselves.
REFRESH_SECONDS = 30.0
QUIET_PRUNE_SECONDS = 600.0
ALERT_SECONDS, QUIET_ALERT_SECONDS = 60, 300.0
# Workers have registered by then; and it is within the one minute that a pool of cron lives.
FIRST_ALERT = timedelta(seconds=20)


class MaintenanceSchedule:
    """Runs Maintenance on a schedule, and at once for a worker that died.

    `pool` is how the names of the pool's workers begin. While `is_quiet` says that no update has come for a while,
    most of the work is left out. `alert`, when there is one, is called by the leader about once a minute.
    """

    def __init__(
        self,
        queue: DatabaseQueue,
        maintenance: Maintenance,
        pool: str,
        is_quiet: Callable[[], bool] = lambda: False,
        alert: Optional[Callable[[], None]] = None,
    ) -> None:
        self._queue = queue
        self._maintenance = maintenance
        self._pool = pool
        self._is_quiet = is_quiet
        self._alert = alert
        self._may_log = OncePer(60)
        self._pruned_at = -QUIET_PRUNE_SECONDS
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
        add, every = self._scheduler.add_job, partial(IntervalTrigger, timezone=timezone.utc)
        self.reap_soon()
        add(self._prune, every(seconds=int(PRUNE_SECONDS)))
        add(self._refresh, every(seconds=int(REFRESH_SECONDS)))
        add(self._reap, every(seconds=int(REAP_UNASKED_SECONDS)))
        add(self._prune)
        if self._alert is not None:
            first = datetime.now(timezone.utc) + FIRST_ALERT
            add(self._send_alerts, every(seconds=ALERT_SECONDS, start_date=first), executor="alerts")
        self._scheduler.start()

    def reap_soon(self) -> None:
        """Reap and expire, because a snapshot found a reason to. Does not wait for it."""
        self._scheduler.add_job(self._reap)

    def worker_died(self, name: str) -> None:
        """Give that worker's job back now instead of waiting for its lease."""
        self._dead.add(name)
        self.reap_soon()

    def stop(self) -> None:
        """End after the work at hand, and after giving back what a worker that died in the end still held."""
        self._scheduler.shutdown(wait=True)
        if self._dead:
            self._reap()
        self._run(self._maintenance.close)

    def _reap(self) -> None:
        self._run(self._reap_dead_and_expired)

    def _reap_dead_and_expired(self) -> None:
        for name in list(self._dead):
            self._maintenance.reap_worker(name)
            self._dead.discard(name)
        self._maintenance.every_5_seconds()

    def _prune(self) -> None:
        if not self._is_quiet() or time.monotonic() - self._pruned_at >= QUIET_PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            self._run(self._maintenance.every_minute)

    def _refresh(self) -> None:
        self._run(lambda: self._maintenance.refresh_workers(self._pool))

    def _send_alerts(self) -> None:
        if not self._is_quiet() or self._may_alert_in_quiet():
            self._run(self._alert_as_leader)

    def _alert_as_leader(self) -> None:
        if self._alert is not None and self._maintenance.leadership.take():
            self._alert()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseUnavailable as error:
            if self._may_log():
                log.error(event("maintenance waits for the database", cause=error))
            self._queue.close()
