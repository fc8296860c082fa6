"""LegacyBotWorker: claims jobs, hands them to its slots, keeps their leases, and stores how their runs ended.

Everything that is asked of the database is asked here, in one thread, for all slots together.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Optional

from scalable.lib.errors import LeaseLost, NoProcessLeft, StoppedAtOnce
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.claim_size import MAX_BATCH, ClaimSize, whole_lanes
from scalable.lib.worker.completion_buffer import CompletionBuffer
from scalable.lib.worker.job_list import JobList
from scalable.lib.worker.lease_renewer import LeaseRenewer
from scalable.lib.worker.outage_gate import OutageGate
from scalable.lib.worker.releases import Releases
from scalable.lib.worker.run_log import RunLog
from scalable.lib.worker.slot import RunEnd, Slot
from scalable.lib.worker.slot_group import SlotGroup
from scalable.lib.worker.worker_heartbeat import WorkerHeartbeat

log = logging.getLogger(__name__)


class LegacyBotWorker:
    """One worker; its slots run the bot. All methods are for one thread.

    `at_hand`: how many jobs it has claimed and neither stored nor given back.
    """

    def __init__(
        self,
        queue: DatabaseQueue,
        slots: SlotGroup,
        name: str,
        stop: StopSignal,
        run_log: Optional[RunLog] = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.slots = slots
        self.heartbeat = WorkerHeartbeat(queue, name, clock)
        self.completions = CompletionBuffer(queue, self.heartbeat, stop, clock, sleep)
        self._queue = queue
        self._terms = queue.lease_terms
        self._stop = stop
        self._clock = clock
        self._size = ClaimSize()
        self._more_may_be_due = True
        self.at_hand = 0
        self.gate = OutageGate(queue, name, clock)
        self._releases = Releases(queue, name, clock)
        self._run_log = run_log
        self._renewer = LeaseRenewer(queue, self.heartbeat.beat_if_due, clock)

    @property
    def runs_are_slow(self) -> bool:
        """Whether more runs at the same time are useful: the last ones took long, or those at hand do."""
        return self._size.runs_are_slow or self.slots.seconds_until_slow() <= 0

    @property
    def may_claim_more(self) -> bool:
        """Whether the last claim left something, as far as is known, and a slot is free for it or may be opened."""
        return self._more_may_be_due and self._slots_to_fill() > 0

    def claim(self, most: float = math.inf, ends: float = math.inf) -> int:
        """Claim jobs for the slots that are free, else for some that may be opened; how many were handed over.

        `most` jobs at most; a slot begins none after `ends`. Raises DatabaseUnavailable, and NoProcessLeft when no slot
        can be opened and none is busy.
        """
        slots, per_slot = self._slots_to_fill(), self._size.per_slot
        wanted = int(min(per_slot * slots, MAX_BATCH, most))
        if wanted <= 0:
            return 0
        if not self.gate.lets_claim():
            return self._claim_probe(ends)
        self._releases.finish()  # what could not be released while the database was away
        claimed_at = self._clock()
        lanes = self._claim_lanes(wanted, one_by_one=per_slot == 1)
        count = sum(map(len, lanes))
        self._more_may_be_due = count == wanted
        self._size.claimed(got_all=self._more_may_be_due)
        if not count:
            self.gate.claimed_nothing()
            return self._claim_probe(ends)
        if self.runs_are_slow:  # side by side, not one after the other
            per_slot = max(1, math.ceil(count / slots))
        self._assign(lanes, per_slot, claimed_at, ends)
        return count

    def _claim_probe(self, ends: float) -> int:
        claimed_at = self._clock()
        jobs = self.gate.claim_probe(self._terms.lease_seconds)
        self._assign([jobs] if jobs else [], 1, claimed_at, ends)
        return len(jobs)

    def _claim_lanes(self, jobs: int, one_by_one: bool) -> list[Sequence[ClaimedJob]]:
        """Jobs to be run, those of one lane together; `one_by_one`: one of a lane, the next one may run elsewhere."""
        lease_seconds = self._terms.lease_seconds
        if one_by_one or self.runs_are_slow or self._queue.retry_policy.max_attempts == 1:
            return [[job] for job in self._queue.claim(self.name, lease_seconds, jobs)]
        return [lane.jobs for lane in self._queue.claim_lanes(self.name, lease_seconds, jobs, jobs)]

    def _slots_to_fill(self) -> int:
        return self.slots.free_count or (self.slots.can_open() if self.runs_are_slow else 0)

    def seconds_to_next_claim(self) -> float:
        """Until a claim may find something that this worker knows of: a job it put off, or its turn to probe."""
        return min(self.completions.seconds_to_next_retry(), self.gate.seconds_to_next())

    def claim_urgent(self, ends: float = math.inf) -> int:
        """Claim an urgent job although no slot is free, and open one above the limit for it; 1, or 0 without any."""
        if not self.slots.urgent_is_possible or self.gate.is_open:
            return 0
        claimed_at = self._clock()
        jobs = self._queue.claim(self.name, self._terms.lease_seconds, 1, urgent_only=True)
        if jobs:
            self._assign([jobs], 1, claimed_at, ends, is_urgent=True)
        return len(jobs)

    def collect(self) -> list[RunEnd]:
        """Store what the slots have reported; retries until the database has stored it.

        Raises NoProcessLeft when the host does not let the bot be started and no other slot runs it, and what is
        unforeseen; everything else that was reported is stored before.
        """
        ended: list[RunEnd] = []
        problem: Optional[BaseException] = None
        reports = self.slots.take_reports()
        lists = [*self.slots.lists, *(jobs for _, jobs in reports)]
        for report, jobs in reports:
            for end in report.ended:
                if end.job.lease.held_by and not end.can_wait and not isinstance(end.error, LeaseLost):
                    self._flush(lists)  # so that this job has the lease itself
                self._leave_out(jobs.reported(end.job, goes_on=end.can_wait))
                problem = self._record(end, report.slot) or problem
            if report.work_end is not None:
                self.completions.worked_on(report.work_end)
            ended += report.ended
            if report.is_last:
                self._give_back(jobs)
        if ended:
            self._more_may_be_due = True  # of the lane of one of them, for one
            self._flush(lists)
            if self.gate.is_open:  # what this worker has claimed beyond that would fail, too
                self.give_back()
        if problem is not None:
            raise problem
        return ended

    def _flush(self, lists: Sequence[JobList]) -> None:
        """Store what is done; where more of a lane is run, its lease moves on to that."""

        def next_lease(lease: Lease) -> Optional[Lease]:
            return next(filter(None, (jobs.next_lease(lease) for jobs in lists)), None)

        for lost in self.completions.flush(next_lease):
            for jobs in lists:
                jobs.lose(lost)

    def keep_leases(self) -> None:
        """Renew the leases of what runs, and give back what was not begun in time. Never raises."""
        self._renewer.renew_if_due(self.slots.lists)
        self.gate.keep()
        self._releases.retry_if_due()
        for jobs in self.slots.lists:
            if jobs.has_more and jobs.seconds_left <= 0:
                self._give_back(jobs)

    def seconds_to_next_check(self) -> float:
        """Until `keep_leases` has something to do."""
        lists = list(self.slots.lists)
        waiting = [max(0.0, jobs.seconds_left) for jobs in lists if jobs.has_more]
        return min([self._renewer.seconds_to_next(lists), self._releases.seconds_to_next(), *waiting])

    def give_back(self) -> None:
        """Give back every job that was not begun: the slots end with those at hand. Safe to repeat."""
        self._releases.add([])
        for jobs in self.slots.lists:
            self._give_back(jobs)

    def close(self) -> None:
        """Wait for the jobs at hand and store how they ended, then end the slots."""
        self.give_back()
        while self.slots.is_busy:
            self._stop.wait_to_the_end(max(0.0, min(1.0, self.seconds_to_next_check())), self.slots.reports.fileno())
            self.keep_leases()
            self.collect()
        self.slots.close()
        if self._run_log is not None:
            self._run_log.close(is_needed=self._releases.are_waiting)

    def _assign(
        self,
        lanes: Sequence[Sequence[ClaimedJob]],
        per_slot: int,
        claimed_at: float,
        ends: float,
        is_urgent: bool = False,
    ) -> None:
        lists = whole_lanes(lanes, per_slot)
        for number, part in enumerate(lists):
            try:
                self.slots.assign(self._list(part, claimed_at, ends), is_urgent)
                self.at_hand += len(part)
            except NoProcessLeft as error:
                self._release([job for rest in lists[number:] for job in rest])
                if not self.slots.is_busy:
                    raise
                log.warning(event("slot not opened", worker=self.name, cause=error))
                return

    def _record(self, end: RunEnd, slot: Slot) -> Optional[BaseException]:
        """Store how a run ended; the error that is to end this worker."""
        job, error = end.job, end.error
        self.at_hand -= 1
        if end.outcome is None:
            self.gate.not_run(job.id)
        self.heartbeat.counters.waited(end.waited_seconds)
        if end.outcome is not None:
            self._size.ran(end.outcome.seconds)
            spares_attempt = self.gate.ended(job, end.outcome)
            self.completions.record(job, end.outcome, end.kept_note, spares_attempt)
        elif isinstance(error, LeaseLost):
            log.warning(event("bot stopped", id=job.id, cause=error))
        elif end.is_given_back:
            self.completions.release(job)
        if isinstance(error, NoProcessLeft) and self.slots.refused(slot):
            log.warning(event("slot closed", worker=self.name, cause=error))
            return None
        return None if isinstance(error, (LeaseLost, StoppedAtOnce)) else error

    def _give_back(self, jobs: JobList) -> None:
        self._leave_out(jobs.take_back())

    def _leave_out(self, jobs: Sequence[ClaimedJob]) -> None:
        self.at_hand -= len(jobs)
        self._release(jobs)

    def _list(self, jobs: Sequence[ClaimedJob], claimed_at: float, ends: float) -> JobList:
        return JobList(jobs, claimed_at, ends, self._terms.unrenewed_seconds, self._clock, self._run_log)

    def _release(self, jobs: Sequence[ClaimedJob]) -> None:
        """Release jobs that were not run. Never raises."""
        self._releases.add(jobs)
        for job in jobs:
            self.gate.not_run(job.id)
