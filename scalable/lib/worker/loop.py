"""The loop of a worker: runs due jobs, waits while there are none, and waits longer while the database is away."""

from __future__ import annotations

import contextlib
import logging
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
    called by a drain that has nothing to do: seconds until its next claim; None: it ends.
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
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._may_log = OncePer(60, self.clock)
        self._database_wait = 0.0
        self._away_since: Optional[float] = None

    def run(self) -> Tally:
        """Work until a stop is requested or a limit is reached. The job at hand is always finished.

        Raises DatabaseUnavailable only for a drain whose database stays away, and NoProcessLeft when the bot cannot be
        started: the end of this process may make room for the bot of another worker.
        """
        ends = None if self.limits.max_seconds is None else self.clock() + self.limits.max_seconds
        self.worker.heartbeat.beat_and_flush_if_due()
        try:
            return self._work(ends)
        finally:
            self.worker.close()
            self.worker.heartbeat.close()
            if self.maintenance is not None:
                with contextlib.suppress(DatabaseUnavailable, SchemaMissing):  # its time as leader runs out then
                    self.maintenance.close()
            self.queue.close()

    def _work(self, ends: Optional[float]) -> Tally:
        tally = Tally()
        while not self.stop.requested and not self._is_reached(tally, ends):
            try:
                succeeded = self._step()
                pause_seconds = self.pause() if succeeded is None and self.limits.drain else None
            except (DatabaseUnavailable, SchemaMissing) as error:
                self._wait_for_database(error, ends)
                continue
            if succeeded is not None:
                tally = Tally(tally.runs + 1, tally.succeeded + succeeded)
                self.progress(tally)
            elif pause_seconds is not None:
                self.stop.wait(self._within(ends, pause_seconds))
            elif self.limits.drain:
                break
            else:
                most_seconds = self._within(ends, self.worker.completions.seconds_to_next_retry())
                self.idle_wait.wait(self.stop, most_seconds, self.queue.close)
        return tally

    def _step(self) -> Optional[bool]:
        """Whether the bot succeeded; None when it was not run."""
        if self.maintenance is not None:
            self.maintenance.run_if_due()
        outcome = self.worker.work_one()
        if self._database_wait:
            log.info(event("database is back", worker=self.worker.name))
            self._database_wait = 0.0
            self._away_since = None
            self._may_log = OncePer(60, self.clock)
        self.worker.heartbeat.beat_and_flush_if_due()
        return None if outcome is None else outcome.succeeded

    def _wait_for_database(self, error: Exception, ends: Optional[float]) -> None:
        if self._may_log():
            state = error.state if isinstance(error, DatabaseUnavailable) else "away"
            log.error(event(f"database {state}, trying on", worker=self.worker.name, cause=error))
        self.queue.close()
        self._away_since = self._away_since or self.clock()
        if self.limits.drain and self.clock() - self._away_since > LONGEST_DRAIN_OUTAGE_SECONDS:
            raise error
        self._database_wait = min(max(self._database_wait * 2, 0.5), LONGEST_DATABASE_WAIT_SECONDS)
        self.stop.wait(self._within(ends, self._database_wait * random.uniform(0.5, 1.0)))  # nosec B311  # no secret

    def _is_reached(self, tally: Tally, ends: Optional[float]) -> bool:
        if self.limits.max_jobs is not None and tally.runs >= self.limits.max_jobs:
            return True
        cause = self.worker.retire_reason or (self.recycling and self.recycling.reason(tally.runs))
        if cause:
            log.info(event("worker makes way for a new one", worker=self.worker.name, cause=cause))
            return True
        return ends is not None and self.clock() >= ends

    def _within(self, ends: Optional[float], seconds: float) -> float:
        return seconds if ends is None else max(0.0, min(seconds, ends - self.clock()))
