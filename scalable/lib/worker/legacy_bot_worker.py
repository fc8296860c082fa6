"""LegacyBotWorker: one job from claim to its end. The one place that decides whether a failed run is tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, LeaseLost, StoppedAtOnce
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.worker.outcome import Kind, Outcome
from scalable.lib.worker.prefetch import Prefetch
from scalable.lib.worker.pulse import Pulse
from scalable.lib.worker.runners.runner import Runner
from scalable.lib.worker.stop import StopSignal

log = logging.getLogger(__name__)
# A lane whose worker died moves again within a minute: lease, plus the 5 s between two reaps.
LEASE_SECONDS = 45.0
HEARTBEAT_SECONDS = 10.0
# When heartbeats fail, the bot is ended this long before the lease, so that no other worker runs the job beside it.
LEASE_MARGIN_SECONDS = 15.0
# How long a worker that is told to stop goes on telling an absent database how its last job went.
STOP_PATIENCE_SECONDS = 5.0


class LegacyBotWorker:
    """Claims a job, runs the bot, and tells the queue what became of it. One thread, one connection."""

    def __init__(
        self, queue: DatabaseQueue, runner: Runner, name: str, stop: StopSignal,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._sleep = sleep
        self._queue = queue
        self._runner = runner
        self._stop = stop
        self._clock = clock
        self._prefetch = Prefetch(queue, name, LEASE_SECONDS, clock)
        self.pulse = Pulse(queue, name, clock)

    def close(self) -> None:
        """Give back what was claimed and not run, and let go of the bot."""
        self._prefetch.give_back()
        self._runner.close()

    def work_one(self) -> Optional[Outcome]:
        """Work one due job; None when there was none, or when it was given back because of a stop at once.

        Raises DatabaseUnavailable before a job was run.
        """
        job = self._prefetch.take()
        if job is None:
            return None
        claimed_at = self._prefetch.claimed_at
        self.pulse.claimed(job.waited_seconds + self._clock() - claimed_at)
        log.debug(event("job claimed", id=job.id, attempt=job.attempt, worker=self.name))
        try:
            outcome = self._runner.run(job.payload, self._heart(job).beat)
        except LeaseLost as error:
            log.warning(event("bot stopped", id=job.id, cause=error))
            return Outcome(Kind.DIED, str(error), self._clock() - claimed_at)
        except StoppedAtOnce:
            if self._persist(job, lambda: self._queue.release(job.lease)):
                log.info(event("job released", id=job.id, worker=self.name))
            return None
        self._prefetch.ran(outcome.seconds)
        self._settle(job, outcome)
        return outcome

    def _heart(self, job: ClaimedJob) -> _Heart:
        return _Heart(self._queue, job, self._stop, self._prefetch, self.pulse, self._clock)

    def _settle(self, job: ClaimedJob, outcome: Outcome) -> None:
        policy = self._queue.retry_policy
        facts = {"id": job.id, "attempt": f"{job.attempt}/{policy.max_attempts}", "seconds": outcome.seconds}
        if outcome.succeeded:
            if self._persist(job, lambda: self._queue.complete(job.lease)):
                self.pulse.ended("done", outcome)
                log.info(event("job done", **facts))
        elif policy.used_up(job.attempt) or not outcome.may_be_retried:
            if self._persist(job, lambda: self._queue.fail(job.lease, outcome.explanation())):
                self.pulse.ended("failed", outcome)
                log.error(event("job failed", **facts, cause=outcome.cause))
        else:
            delay = max(policy.delay_seconds(job.attempt), outcome.retry_after_seconds or 0)
            if self._persist(job, lambda: self._queue.retry(job.lease, outcome.explanation(), delay)):
                self.pulse.ended("retried", outcome)
                log.warning(event("job will be retried", **facts, in_seconds=delay, cause=outcome.cause))

    def _persist(self, job: ClaimedJob, change: Callable[[], None]) -> bool:
        """Make the change, waiting for the database if it is away: the bot ran, and must not run again for nothing."""
        may_log = OncePer(60, self._clock)
        wait_seconds = 0.5
        gives_up: Optional[float] = None
        while True:
            try:
                change()
                return True
            except LeaseLost as error:
                log.warning(event("job not finished", id=job.id, cause=error))
                return False
            except DatabaseUnavailable as error:
                if may_log():
                    log.warning(event("database away while finishing a job", id=job.id, cause=error))
            if self._stop.requested:
                gives_up = gives_up or self._clock() + STOP_PATIENCE_SECONDS
                if self._clock() >= gives_up:
                    log.error(event("job left to its lease", id=job.id, cause="stopped while the database is away"))
                    return False
                self._sleep(0.5)
            self._stop.wait(wait_seconds)
            wait_seconds = min(wait_seconds * 2, 10)


class _Heart:
    """Keeps one lease alive while the bot runs, and ends the bot when the lease cannot be kept."""

    def __init__(
        self, queue: DatabaseQueue, job: ClaimedJob, stop: StopSignal, prefetch: Prefetch, pulse: Pulse,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._job = job
        self._stop = stop
        self._clock = clock
        self._prefetch = prefetch
        self._pulse = pulse
        self._started = clock()
        self._lease_ends = prefetch.claimed_at + LEASE_SECONDS
        self._next_beat = prefetch.claimed_at + HEARTBEAT_SECONDS

    def beat(self) -> None:
        """Extend the lease when it is time. Raises LeaseLost, or StoppedAtOnce when that was asked for."""
        if self._stop.at_once:
            raise StoppedAtOnce("asked to stop at once")
        now = self._clock()
        self._prefetch.running_for(now - self._started)
        if now < self._next_beat:
            return
        self._next_beat = now + HEARTBEAT_SECONDS
        try:
            self._queue.heartbeat(self._job.lease, LEASE_SECONDS)
            self._lease_ends = now + LEASE_SECONDS
            self._pulse.while_running()
        except DatabaseUnavailable as error:
            log.warning(event("heartbeat missed", id=self._job.id, cause=error))
            if self._clock() > self._lease_ends - LEASE_MARGIN_SECONDS:
                raise LeaseLost("the database was away until the lease was nearly over") from error
