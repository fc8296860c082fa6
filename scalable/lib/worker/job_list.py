"""The jobs that a slot is handed together, shared by its thread, which runs them, and the worker's, which keeps leases.

Each method is called by one of the two, and safe beside the other's: a job is taken out by the one or by the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Optional

from scalable.lib.errors import LeaseLost
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.worker.run_log import RunLog

# When it takes longer to run them, those that were not begun are given back: other workers may be idle.
LONGEST_LIST_SECONDS = 1.0


class JobList:
    """Jobs in the order they are run. `claimed_at` is when their leases began; none is begun after `ends`.

    `unrenewed_seconds`: see LeaseTerms. `log` is told of each run.
    """

    def __init__(
        self,
        jobs: Sequence[ClaimedJob],
        claimed_at: float,
        ends: float,
        unrenewed_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        log: Optional[RunLog] = None,
    ) -> None:
        self._log = log
        self.claimed_at = claimed_at
        self.began = claimed_at
        self.running: Optional[ClaimedJob] = None
        self._waiting = deque(jobs)
        self._begin_until = min(ends, claimed_at + LONGEST_LIST_SECONDS)
        self._unrenewed_seconds = unrenewed_seconds
        self._clock = clock
        self._renewed_at = claimed_at
        self._lost: set[int] = set()  # the first jobs of lanes
        self._left_out: set[int] = set()  # the first jobs of lanes
        self._unreported = list(jobs)

    # The slot's side

    def begin_next(self) -> Optional[ClaimedJob]:
        """The next job, which runs from now on; None when there is none, or it is too late for it."""
        now = self._clock()
        while now <= self._begin_until:
            try:
                job = self._waiting.popleft()
            except IndexError:
                return None
            if job.lease.head not in self._left_out:
                if self._log is not None:
                    self._log.begun(job.lease)
                self.began, self.running = now, job
                return job
        return None

    def succeeded(self, job: ClaimedJob) -> None:
        """Its run is over, and was a plain success, which may be stored later, together with others."""
        if self._log is not None:
            self._log.succeeded(job.lease)

    def leave_lane(self, job: ClaimedJob) -> None:
        """Run nothing more of that job's lane: it was no plain success, so it may have to be run again first."""
        self._left_out.add(job.lease.head)

    def check_lease(self) -> None:
        """Raises LeaseLost when the job that runs is not this worker's any more, or may soon not be."""
        job = self.running
        if job is not None and job.lease.head in self._lost:
            raise LeaseLost(f"job {job.id} is no longer leased to {job.lease.worker}")
        if self._clock() >= self._renewed_at + self._unrenewed_seconds:
            raise LeaseLost("the database was away until another worker could soon have the job")

    # The worker's side

    @property
    def has_more(self) -> bool:
        """Whether there are jobs that were not begun."""
        return bool(self._waiting)

    @property
    def seconds_left(self) -> float:
        """Until the jobs that were not begun are to be taken back."""
        return self._begin_until - self._clock()

    @property
    def renewed_at(self) -> float:
        """When its lease began, or was renewed last."""
        return self._renewed_at

    @property
    def lease_to_renew(self) -> Optional[Lease]:
        """That of the lane that runs: of its first job of which nothing was reported, as the others are held by it."""
        running = self.running
        return None if running is None else self.next_lease(running.lease)

    def take_back(self) -> list[ClaimedJob]:
        """The jobs that were not begun; the slot will not run them."""
        taken: list[ClaimedJob] = []
        while True:
            try:
                job = self._waiting.pop()
            except IndexError:
                return taken
            if job in self._unreported:
                self._unreported.remove(job)
                taken.append(job)

    def reported(self, job: ClaimedJob, goes_on: bool) -> list[ClaimedJob]:
        """Record that the slot told how `job` ended; the jobs of its lane that it leaves out unless it `goes_on`."""
        self._unreported.remove(job)
        left_out = [] if goes_on else [other for other in self._unreported if other.lease.head == job.lease.head]
        self._unreported = [other for other in self._unreported if other not in left_out]
        return left_out

    def next_lease(self, lease: Lease) -> Optional[Lease]:
        """That of the next job of the same lane of which nothing was reported; None: there is none here."""
        return next((job.lease for job in self._unreported if job.lease.head == lease.head), None)

    def renewed(self, at: float) -> None:
        """Its running job's lease was renewed at that time."""
        self._renewed_at = at

    def lose(self, lease: Lease) -> None:
        """That lease is lost: when its job runs, or one that it holds, the bot is stopped; no other one is begun."""
        self._lost.add(lease.head)
        self._left_out.add(lease.head)
