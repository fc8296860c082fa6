"""The loop of a worker: runs due jobs, waits while there are none, and waits longer while the database is away."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.maintenance import Maintenance
from scalable.lib.worker.recycling import Recycling
from scalable.lib.worker.wakeup import IdleWait

log = logging.getLogger(__name__)
LONGEST_DATABASE_WAIT_SECONDS = 15.0
# How often a worker all of whose slots are busy looks whether it should open one more, or one for an urgent job.
BUSY_CHECK_SECONDS = 0.25
# A drain from cron gives up after so long without a database: cron starts the next one, and drains must not pile up.
LONGEST_DRAIN_OUTAGE_SECONDS = 30.0


@dataclass(frozen=True)
class Limits:
    """When to end without a request: when nothing is due any more, after some seconds, after some jobs."""

    drain: bool = False
    max_seconds: Optional[float] = None
    max_jobs: Optional[int] = None


@dataclass(frozen=True)
class Tally:
    """What a worker did: runs of the bot, and how many of them succeeded."""

    runs: int = 0
    succeeded: int = 0


@dataclass
class WorkerLoop:
    """Runs a LegacyBotWorker until its limits or a stop.

    `maintenance` is for a worker without a pool to do it, `recycling` for one with a pool to replace it. `pause` is
    called by a drain that has nothing to do: seconds until its next claim; None: it ends. `on_last_claim` is called
    while its time is over and some jobs still run, until it says True.
    """

    queue: DatabaseQueue
    worker: LegacyBotWorker
    stop: StopSignal
    idle_wait: IdleWait
    limits: Limits
    maintenance: Optional[Maintenance] = None
    progress: Callable[[Tally], None] = lambda _: None
    recycling: Optional[Recycling] = None
    pause: Callable[[], Optional[float]] = lambda: None
    on_last_claim: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._may_log = OncePer(60, self.clock)
        self._check_due = OncePer(BUSY_CHECK_SECONDS, self.clock)
        self._tally = Tally()
        self._ends = math.inf
        self._database_wait = 0.0
        self._claim_again_at = 0.0
        self._away_since: Optional[float] = None

    def run(self) -> Tally:
        """Work until a stop is requested or a limit is reached. The jobs at hand are always finished.

        Raises DatabaseUnavailable only for a drain whose database stays away, and NoProcessLeft when the bot cannot be
        started: the end of this process may make room for the bot of another worker.
        """
        if self.limits.max_seconds is not None:
            self._ends = self.clock() + self.limits.max_seconds
        self.worker.heartbeat.beat_and_flush_if_due()
        try:
            while self._step():
                pass
            self._finish()
            return self._tally
        finally:
            self.worker.close()
            self.worker.heartbeat.close()
            if self.maintenance is not None:
                with contextlib.suppress(DatabaseUnavailable, SchemaMissing):  # its time as leader runs out then
                    self.maintenance.close()
            self.queue.close()

    def _step(self) -> bool:
        """Store what was run, claim what may be run, and wait for what comes next; False: nothing is begun any more."""
        self._collect()
        if self.stop.requested or self._is_reached():
            return False
        claimed = pause_seconds = None
        if self.clock() >= self._claim_again_at:
            try:
                claimed = self._work_on_the_queue()
                if not claimed and self.limits.drain and not self.worker.slots.is_busy:
                    pause_seconds = self.pause()
                    if pause_seconds is None:
                        self.worker.gate.explain()
                        return False
            except (DatabaseUnavailable, SchemaMissing) as error:
                self._put_off_claims(error)
        if not (claimed and self.worker.may_claim_more):
            self._wait(pause_seconds)
        return True

    def _collect(self) -> None:
        self.worker.keep_leases()
        for end in self.worker.collect():
            if not end.is_given_back:
                succeeded = end.outcome is not None and end.outcome.succeeded
                self._tally = Tally(self._tally.runs + 1, self._tally.succeeded + succeeded)
                self.progress(self._tally)

    def _finish(self) -> None:
        """Wait for the jobs at hand."""
        self.worker.give_back()
        has_made_way = False
        while self.worker.slots.is_busy:
            if not has_made_way and not self.stop.requested:
                has_made_way = self.on_last_claim()
            self._wait_for_reports(math.inf)
            self._collect()

    def _work_on_the_queue(self) -> Optional[int]:
        """Maintain it and claim; how many jobs were claimed, None when there was no reason to claim."""
        if self.maintenance is not None:
            self.maintenance.run_if_due()
        claimed = self._claim()
        if self._database_wait and claimed is not None:
            log.info(event("database is back", worker=self.worker.name))
            self._database_wait = 0.0
            self._away_since = None
            self._may_log = OncePer(60, self.clock)
        self.worker.heartbeat.beat_and_flush_if_due()
        return claimed

    def _claim(self) -> Optional[int]:
        """For slots that are free, else for new ones when there may be more to do, else an urgent job."""
        worker, most = self.worker, math.inf
        if self.limits.max_jobs is not None:
            most = self.limits.max_jobs - self._tally.runs - worker.at_hand
        if worker.slots.free_count or worker.may_claim_more:
            return worker.claim(most, self._ends)
        if most <= 0 or not worker.runs_are_slow or not self._check_due():
            return None
        if worker.slots.can_open():
            return worker.claim(most, self._ends) if self.idle_wait.take() else None
        return worker.claim_urgent(self._ends) if self.idle_wait.may_be_due() else None

    def _wait(self, pause_seconds: Optional[float]) -> None:
        """Until there is a report, something may be due, or something is to be done by time."""
        slots, now = self.worker.slots, self.clock()
        if now < self._claim_again_at:
            self._wait_for_reports(self._claim_again_at - now)
        elif pause_seconds is not None:
            self.stop.wait(self._within(pause_seconds))
        elif not slots.is_busy:
            seconds = min(self.worker.seconds_to_next_claim(), self.worker.heartbeat.seconds_to_flush())
            most_seconds = self._within(seconds)
            self.idle_wait.wait(self.stop, most_seconds, self.queue.close)
        elif not slots.free_count:
            self._wait_for_reports(BUSY_CHECK_SECONDS if self.worker.runs_are_slow else slots.seconds_until_slow())
        elif not slots.reports.are_there:
            seconds = min(self.worker.seconds_to_next_claim(), self.worker.seconds_to_next_check())
            self.idle_wait.wait(self.stop, self._within(seconds), lambda: None, slots.reports)

    def _wait_for_reports(self, seconds: float) -> None:
        reports = self.worker.slots.reports
        if not reports.are_there:
            most_seconds = self._within(min(seconds, self.worker.seconds_to_next_check()))
            self.stop.wait_to_the_end(most_seconds, reports.fileno())

    def _put_off_claims(self, error: Exception) -> None:
        """The database is away: wait longer and longer until the next claim. A drain without a job at hand gives up."""
        if self._may_log():
            state = error.state if isinstance(error, DatabaseUnavailable) else "away"
            log.error(event(f"database {state}, trying on", worker=self.worker.name, cause=error))
        self.queue.close()
        now = self.clock()
        self._away_since = self._away_since or now
        is_drain = self.limits.drain and not self.worker.slots.is_busy
        if is_drain and now - self._away_since > LONGEST_DRAIN_OUTAGE_SECONDS:
            raise error
        self._database_wait = min(max(self._database_wait * 2, 0.5), LONGEST_DATABASE_WAIT_SECONDS)
        self._claim_again_at = now + self._database_wait * random.uniform(0.5, 1.0)  # nosec B311  # no secret

    def _is_reached(self) -> bool:
        if self.limits.max_jobs is not None and self._tally.runs >= self.limits.max_jobs:
            return True
        cause = self.worker.slots.retire_reason or (self.recycling and self.recycling.reason(self._tally.runs))
        if cause:
            log.info(event("worker makes way for a new one", worker=self.worker.name, cause=cause))
            return True
        return self.clock() >= self._ends

    def _within(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._ends - self.clock()))
