"""When a pool maintains its queue: by APScheduler, in threads of its own, so a slow database delays nothing else."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Optional

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.worker.maintenance import PRUNE_SECONDS, Maintenance

log = logging.getLogger(__name__)
# Reaping and expiring are done when a snapshot finds a reason; this often without one.
REAP_UNASKED_SECONDS = 300.0
# Well within worker_registry.ALIVE_SECONDS: idle workers of a pool do not register themselves.
REFRESH_SECONDS = 30.0
QUIET_PRUNE_SECONDS = 600.0
# Asked in quiet times, too: a webhook that was taken away is why no update comes.
CHECK_SECONDS = 60
# The machine's clock and the monotonic one drift apart by less between two looks.
CLOCK_STEP_SECONDS = 5.0
# Workers have registered by then; and it is within the one minute that a pool of cron runs.
FIRST_CHECK = timedelta(seconds=20)


@dataclass
class MaintenanceSchedule:
    """Runs Maintenance on a schedule, and at once for a worker that died.

    `pool` is how the names of the pool's workers begin. While `is_quiet` says that no update has come for a while,
    most of the work is left out. `leader_checks` are called by the leader about once a minute.
    """

    queue: DatabaseQueue
    maintenance: Maintenance
    pool: str
    is_quiet: Callable[[], bool] = lambda: False
    leader_checks: tuple[Callable[[], None], ...] = ()
    wall_clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._wall_ahead = self.wall_clock() - time.monotonic()
        self._may_log = OncePer(60)
        self._pruned_at = -QUIET_PRUNE_SECONDS
        self._dead: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            # In a thread of its own: a slow Telegram must not delay the job of a dead worker.
            executors={"default": ThreadPoolExecutor(1), "checks": ThreadPoolExecutor(1)},
            # A late run is still wanted, but several missed ones are one.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin; the first round is at once, for jobs and rows that an earlier pool left."""
        every = partial(IntervalTrigger, timezone=timezone.utc)
        self._schedule(self._reap)
        self._schedule(self._prune, every(seconds=int(PRUNE_SECONDS)))
        self._schedule(self._refresh, every(seconds=int(REFRESH_SECONDS)))
        self._schedule(self._reap, every(seconds=int(REAP_UNASKED_SECONDS)))
        self._schedule(self._prune)
        if self.leader_checks:
            first = datetime.now(timezone.utc) + FIRST_CHECK
            self._schedule(self._check_as_leader, every(seconds=CHECK_SECONDS, start_date=first), executor="checks")
        self._scheduler.start()

    def reap_soon(self) -> None:
        """Reap and expire, because a snapshot found a reason to. Does not wait for it."""
        self._schedule(self._reap)

    def check_clock(self) -> None:
        """Begin every round now when the machine's clock was set; call this every few seconds.

        APScheduler waits for a time of the day: set back by two hours, it would do nothing for two hours.
        """
        before, self._wall_ahead = self._wall_ahead, self.wall_clock() - time.monotonic()
        step = self._wall_ahead - before
        if abs(step) < CLOCK_STEP_SECONDS:
            return
        log.warning(event("clock was set", seconds=round(step)))
        self._pruned_at = -QUIET_PRUNE_SECONDS
        for job in self._scheduler.get_jobs():
            with contextlib.suppress(JobLookupError):  # it has run meanwhile
                job.modify(next_run_time=datetime.now(timezone.utc))

    def worker_died(self, name: str) -> None:
        """Give that worker's job back now instead of waiting for its lease."""
        self._dead.add(name)
        self.reap_soon()

    def stop(self) -> None:
        """End after the work at hand, and after giving back what a worker that died in the end still held."""
        self._scheduler.shutdown(wait=True)
        if self._dead:
            self._run(self._reap)
        self._run(self.maintenance.close)

    def _reap(self) -> None:
        for name in list(self._dead):
            self.maintenance.reap_worker(name)
            self._dead.discard(name)
        self.maintenance.every_5_seconds()

    def _prune(self) -> None:
        if not self.is_quiet() or time.monotonic() - self._pruned_at >= QUIET_PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            self.maintenance.every_minute()

    def _refresh(self) -> None:
        self.maintenance.refresh_workers(self.pool)

    def _check_as_leader(self) -> None:
        if self.maintenance.leadership.take():
            for check in self.leader_checks:
                check()

    def _schedule(self, work: Callable[[], None], trigger: Optional[IntervalTrigger] = None, **options: str) -> None:
        """Run `work` as `trigger` says; by default once, at once."""
        self._scheduler.add_job(self._run, trigger, [work], name=work.__name__, **options)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DatabaseUnavailable as error:
            if self._may_log():
                log.error(event("maintenance waits for the database", cause=error))
            self.queue.close()
