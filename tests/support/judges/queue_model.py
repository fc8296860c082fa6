"""What the queue promises, in memory: the states, attempts, leases and order of a few jobs. Knows no SQL.

The clock only moves when told. A test that compares this with a real queue must take care that no two moments that
decide something lie so close together that the real time a test takes matters; see QUANTUM_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional

from scalable.lib.queue.job import DONE, EXPIRED, FAILED, PENDING, PROCESSING, Counts, Reaped
from scalable.lib.queue.new_row import ORDINARY, priority_of
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update

# Steps of time are multiples of it, waits that end are multiples of it and half of one more, or nothing: so they end
# clearly before a step or clearly after it.
QUANTUM_SECONDS = 20


@dataclass
class ModelJob:
    """One job. `token` stays when its lease is given back, so that a repeated finish is known; a reap takes it away."""

    id: int
    lane: Optional[str]
    update_id: Optional[int]
    created_at: float
    available_at: float
    priority: int
    urgent_until: Optional[float]
    expires_at: Optional[float]
    status: str = PENDING
    attempts: int = 0
    worker: str = ""
    token: Optional[str] = None
    lease_expires_at: float = 0.0
    is_held: bool = False
    processed_at: float = 0.0


@dataclass
class QueueModel:
    """The whole queue at one moment; the methods are its verbs."""

    policy: RetryPolicy
    now: float = 0.0
    jobs: dict[int, ModelJob] = field(default_factory=dict)

    def find_update(self, update_id: Optional[int]) -> Optional[int]:
        """The job this update has already."""
        known = {job.update_id: job.id for job in self.jobs.values()}
        return None if update_id is None else known.get(update_id)

    def enqueue(self, job_id: int, job: Update) -> None:
        """A new job; ids only grow."""
        assert job_id > max(self.jobs, default=0)
        urgent, expires = job.urgent_seconds, job.expires_seconds
        self.jobs[job_id] = ModelJob(
            job_id,
            job.lane,
            job.update_id,
            self.now,
            self.now,
            priority_of(job.urgent_seconds),
            None if urgent is None else self.now + urgent,
            None if expires is None else self.now + expires,
        )

    def in_turn(self, waiting_since: Mapping[int, datetime]) -> list[int]:
        """The jobs that may be claimed now, those first that have to be.

        `waiting_since` is the real queue's moment for each: it tells two apart that are one moment here.
        """
        free = [job for job in self.jobs.values() if self._is_free(job)]
        return [job.id for job in sorted(free, key=lambda job: (job.priority, waiting_since[job.id], job.id))]

    def _is_free(self, job: ModelJob) -> bool:
        if job.status != PENDING or job.available_at > self.now or self.is_overdue(job):
            return False
        return job.lane is None or not any(
            other.lane == job.lane and (other.status == PROCESSING or (other.status == PENDING and other.id < job.id))
            for other in self.jobs.values()
        )

    def is_overdue(self, job: ModelJob) -> bool:
        """Whether it waits and is not worth running any more."""
        return job.status == PENDING and job.expires_at is not None and job.expires_at <= self.now

    def claim(self, job_id: int, worker: str, token: str, lease_seconds: float) -> None:
        """The job runs, and this is one more attempt."""
        job = self.jobs[job_id]
        job.status, job.worker, job.token, job.is_held = PROCESSING, worker, token, False
        job.attempts += 1
        job.lease_expires_at = self.now + lease_seconds

    def may_be_held(self, job_id: int, after: int) -> bool:
        """Whether the job comes next in the lane of `after`, and was never tried."""
        job, before = self.jobs[job_id], self.jobs[after]
        open_between = [
            other.id
            for other in self.jobs.values()
            if other.lane == job.lane and other.status in (PENDING, PROCESSING) and after < other.id < job_id
        ]
        return job.lane is not None and job.lane == before.lane and not open_between and self._is_new(job)

    def _is_new(self, job: ModelJob) -> bool:
        return job.status == PENDING and job.attempts == 0 and job.expires_at is None

    def hold(self, job_id: int, worker: str, token: str) -> None:
        """The job is to be run under the lease of an earlier one of its lane."""
        job = self.jobs[job_id]
        job.worker, job.token, job.is_held = worker, token, True

    def is_held(self, job_id: int, token: str) -> bool:
        """Whether that is still so."""
        job = self.jobs.get(job_id)
        return job is not None and job.status == PENDING and job.is_held and job.token == token

    def let_go(self, job_id: int, token: str) -> None:
        """It will not be run under that lease."""
        if self.is_held(job_id, token):
            self.jobs[job_id].token, self.jobs[job_id].is_held = None, False

    def move_on(self, job_id: int, lease_seconds: float) -> None:
        """The lease by which the job is held begins anew for the job itself."""
        job = self.jobs[job_id]
        job.status, job.attempts, job.lease_expires_at = PROCESSING, job.attempts + 1, self.now + lease_seconds
        job.is_held = False

    def holds(self, job_id: int, token: str) -> bool:
        """Whether this lease may still finish the job."""
        job = self.jobs.get(job_id)
        return job is not None and job.status == PROCESSING and job.token == token

    def was_repeated(self, job_id: int, token: str, becomes: str) -> bool:
        """Whether this lease may have brought the job into the state it has: then saying so again does no harm."""
        job = self.jobs.get(job_id)
        return job is not None and job.status == becomes and job.token == token and not job.is_held

    def end(self, job_id: int, status: str) -> None:
        """The job is over."""
        job = self.jobs[job_id]
        job.status, job.processed_at, job.is_held = status, self.now, False

    def wait(self, job_id: int, seconds: float) -> None:
        """The job waits for its next attempt."""
        self.jobs[job_id].status = PENDING
        self.jobs[job_id].available_at = self.now + seconds

    def reap(self, worker: Optional[str] = None) -> Reaped:
        """Leases that ran out, or all those of one worker."""
        failed = retried = 0
        for job in self.jobs.values():
            gone = job.lease_expires_at < self.now if worker is None else job.worker == worker
            if job.status != PROCESSING or not gone:
                continue
            for other in self.jobs.values():
                if other.id > job.id and other.lane == job.lane and self.is_held(other.id, str(job.token)):
                    other.attempts += 1
                    self.let_go(other.id, str(job.token))
            job.token = None
            if self.policy.used_up(job.attempts):
                failed += 1
                self.end(job.id, FAILED)
            else:
                retried += 1
                self.wait(job.id, self.policy.delay_seconds(job.attempts))
        return Reaped(retried, failed)

    def expire(self) -> int:
        """How many jobs were overdue, and are expired now. Those that are urgent no more become ordinary."""
        overdue = [job.id for job in self.jobs.values() if self.is_overdue(job)]
        for job_id in overdue:
            self.end(job_id, EXPIRED)
        for job in self.jobs.values():
            if job.status == PENDING and job.expires_at is None and (job.urgent_until or self.now + 1) <= self.now:
                job.priority = ORDINARY
        return len(overdue)

    def requeue(self, job_id: int, hold_seconds: float = 0) -> None:
        """The job starts anew, after `hold_seconds`."""
        job = self.jobs[job_id]
        job.attempts, job.priority, job.urgent_until, job.expires_at = 0, ORDINARY, None, None
        self.wait(job_id, hold_seconds)

    def let_run(self, job_ids: Iterable[int]) -> None:
        """Those of them that wait for this are due."""
        for job_id in job_ids:
            job = self.jobs[job_id]
            if job.status == PENDING and job.attempts == 0 and job.available_at > self.now:
                job.available_at = self.now

    def overtaken(self, job_ids: Iterable[int]) -> int:
        """How many of them have newer jobs in their lane that ran, run, or are held to run next."""
        return sum(
            any(self._has_run_before(other, self.jobs[job_id]) for other in self.jobs.values()) for job_id in job_ids
        )

    def _has_run_before(self, other: ModelJob, job: ModelJob) -> bool:
        has_run = other.status in (DONE, PROCESSING) or (other.status == PENDING and other.is_held)
        return job.lane is not None and other.lane == job.lane and other.id > job.id and has_run

    def prune(self, done_seconds: float, failed_seconds: float) -> int:
        """How many finished jobs were old enough to go."""
        keep = {DONE: done_seconds, EXPIRED: done_seconds, FAILED: failed_seconds}
        old = [
            job.id
            for job in self.jobs.values()
            if job.status in keep and job.processed_at < self.now - keep[job.status]
        ]
        for job_id in old:
            del self.jobs[job_id]
        return len(old)

    def in_state(self, *statuses: str) -> list[int]:
        """The ids of the jobs in these states."""
        return [job.id for job in self.jobs.values() if job.status in statuses]

    def states(self) -> dict[int, tuple[str, int]]:
        """State and attempts of every job."""
        return {job.id: (job.status, job.attempts) for job in self.jobs.values()}

    def counts(self) -> Counts:
        """How many jobs are in each state."""
        return Counts(*(len(self.in_state(status)) for status in (PENDING, PROCESSING, DONE, FAILED, EXPIRED)))
