"""Stores how jobs ended, and retries while the database is away: the bot was run, and must not be run again.

Jobs that succeeded are stored together, whichever slots ran them: a quick bot would otherwise spend more time on that
than on running. When a worker is killed before that, they are run again, like the jobs at hand.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, LeaseLost, StatementRefused
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.run_result import joined
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.after_answer import WorkEnd
from scalable.lib.worker.warning_log import WarningLog
from scalable.lib.worker.worker_heartbeat import WorkerHeartbeat

log = logging.getLogger(__name__)
# More than that are found by the next claim or snapshot.
MOST_RETRIES_REMEMBERED = 1000
# How long a worker that is told to stop goes on retrying to store outcomes.
STOP_RETRY_SECONDS = 5.0


class CompletionBuffer:
    """The ends of one worker's jobs."""

    def __init__(
        self,
        queue: DatabaseQueue,
        heartbeat: WorkerHeartbeat,
        stop: StopSignal,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._stop = stop
        self._clock = clock
        self._sleep = sleep
        self._done: list[tuple[ClaimedJob, Outcome]] = []
        self._retries_due: list[float] = []  # a heap
        self._warnings = WarningLog(clock)

    def record(
        self, job: ClaimedJob, outcome: Outcome, note: Optional[str] = None, spares_attempt: bool = False
    ) -> None:
        """The one place to decide the state of a job after its run: done (stored at the next flush), failed or pending.

        `note` is kept with a job that is done. `spares_attempt`: it failed because the bot's side is down.
        """
        policy = self._queue.retry_policy
        error = outcome.explanation()
        if outcome.succeeded and note is None:
            self._done.append((job, outcome))
        elif outcome.succeeded:
            if self._changed(job, lambda: self._complete(job, outcome, note)):
                self._report([(job, outcome)], [])
        elif spares_attempt:
            delay_seconds = outcome.retry_after_seconds
            if self._changed(job, lambda: self._queue.release(job.lease, error, delay_seconds)):
                log.warning(event("job waits, no attempt used", **self._facts(job, outcome), cause=outcome.cause))
        elif policy.used_up(job.attempt) or not outcome.may_be_retried:
            if self._changed(job, lambda: self._queue.fail(job.lease, error)):
                self._heartbeat.ended("failed", outcome)
                log.error(event("job failed", **self._facts(job, outcome), cause=outcome.cause))
        else:
            delay = max(policy.delay_seconds(job.attempt), outcome.retry_after_seconds or 0)
            if self._changed(job, lambda: self._queue.retry(job.lease, error, delay)):
                self._heartbeat.ended("retried", outcome)
                if len(self._retries_due) < MOST_RETRIES_REMEMBERED:
                    heapq.heappush(self._retries_due, self._clock() + delay)
                log.warning(
                    event("job will be retried", **self._facts(job, outcome), in_seconds=delay, cause=outcome.cause)
                )

    def worked_on(self, end: WorkEnd) -> None:
        """Keep how a bot ended that had answered; its job is done already."""
        text = joined((end.note, end.warnings))
        self._changed(end.job, lambda: self._queue.keep_note(end.job.lease, text, is_warning=bool(end.warnings)))
        if end.warnings and not end.outcome.warnings:
            self._heartbeat.counters.count("warned")
            self._warnings.log(end.job.id, end.warnings)

    def seconds_to_next_retry(self) -> float:
        """Until the first job that was put off here is due, so that no poll is needed for it; infinite without any."""
        now = self._clock()
        while self._retries_due and self._retries_due[0] <= now:
            heapq.heappop(self._retries_due)
        return self._retries_due[0] - now if self._retries_due else math.inf

    def release(self, job: ClaimedJob) -> None:
        """Give back a job that was not run to its end; its attempt is refunded."""
        if self._changed(job, lambda: self._queue.release(job.lease)):
            log.info(event("job released", id=job.id, worker=job.lease.worker))

    def flush(self, next_lease: Callable[[Lease], Optional[Lease]] = lambda _: None) -> list[Lease]:
        """Store every job that is done; retries until the database has stored them.

        `next_lease`: of the job that is run next under the lease of a done one, which moves on to it. Returns those
        that were lost instead.
        """
        done, self._done = self._done, []
        if not done:
            return []
        jobs = [job for job, _ in done]
        leases = [job.lease for job in jobs]
        going_on = [lease for lease in dict.fromkeys(map(next_lease, leases)) if lease is not None]
        lease_seconds = self._queue.lease_terms.lease_seconds
        lost: list[Lease] = []

        def complete() -> None:
            lost.extend(self._queue.complete_many(leases, going_on, lease_seconds))
            self._queue.keep_warnings([(job.lease, outcome.warnings) for job, outcome in done if outcome.warnings])

        if not self._retry_until_stored(jobs, complete):
            return going_on
        self._report(done, lost)
        return [lease for lease in going_on if lease in lost]

    def _complete(self, job: ClaimedJob, outcome: Outcome, note: Optional[str]) -> None:
        self._queue.complete(job.lease, note)
        if outcome.warnings:
            self._queue.keep_note(job.lease, joined((note or "", outcome.warnings)), is_warning=True)

    def _report(self, done: list[tuple[ClaimedJob, Outcome]], lost: list[Lease]) -> None:
        for job, outcome in done:
            if job.lease in lost:
                log.warning(event("job not finished", id=job.id, cause="its lease was lost"))
            else:
                self._heartbeat.ended("done", outcome)
                log.info(event("job done", **self._facts(job, outcome)))
                if outcome.warnings:
                    self._warnings.log(job.id, outcome.warnings)

    def _facts(self, job: ClaimedJob, outcome: Outcome) -> dict[str, object]:
        attempts = f"{job.attempt}/{self._queue.retry_policy.max_attempts}"
        return {"id": job.id, "attempt": attempts, "seconds": outcome.seconds}

    def _changed(self, job: ClaimedJob, change: Callable[[], None]) -> bool:
        try:
            return self._retry_until_stored([job], change)
        except LeaseLost as error:
            log.warning(event("job not finished", id=job.id, cause=error))
            return False

    def _fail_instead(self, job: ClaimedJob, refusal: StatementRefused) -> None:
        """The outcome of this job can never be stored; it must keep neither its lane nor this worker waiting."""
        try:
            self._queue.fail(job.lease, f"the bot was run, and the database refused to store how it ended: {refusal}")
            log.error(event("job failed", id=job.id, cause=f"its outcome was refused: {refusal}"))
        except (DatabaseUnavailable, LeaseLost) as error:
            log.error(event("job left to its lease", id=job.id, cause=error))

    def _retry_until_stored(self, jobs: list[ClaimedJob], change: Callable[[], None]) -> bool:
        """Retries while the database is away; False when it still is STOP_RETRY_SECONDS after a stop was requested.

        Also when the database refuses: the jobs are failed then.
        """
        may_log = OncePer(60, self._clock)
        wait_seconds = 0.5
        gives_up: Optional[float] = None
        while True:
            try:
                change()
                return True
            except StatementRefused as error:
                for job in jobs:
                    self._fail_instead(job, error)
                return False
            except DatabaseUnavailable as error:
                if may_log():
                    name = f"database {error.state} while finishing jobs"
                    log.warning(event(name, id=jobs[0].id, jobs=len(jobs), cause=error))
            if self._stop.requested:
                gives_up = gives_up or self._clock() + STOP_RETRY_SECONDS
                if self._clock() >= gives_up:
                    for job in jobs:
                        log.error(event("job left to its lease", id=job.id, cause="stopped while the database is away"))
                    return False
                self._sleep(0.5)
            self._stop.wait(wait_seconds)
            wait_seconds = min(wait_seconds * 2, self._queue.lease_terms.retry_seconds)
