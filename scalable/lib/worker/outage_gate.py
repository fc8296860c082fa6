"""One worker's part in the breaker: it opens it, holds its claims while it is open, probes, and closes it again.

It knows of an outage from its own failed runs, and from claims that find nothing; then it asks the queue, and as long
as it lasts again when it is time for the next probe, or when somebody wakes it. What counts as an outage breaker.py
decides, what is shared is in queue/outages.py.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.queue.outages import Evidence, Failure, Outage, Outages, Shared, short_hash
from scalable.lib.redaction import one_line
from scalable.lib.runners.outcome import Outcome
from scalable.lib.worker import breaker

log = logging.getLogger(__name__)
# A worker without work asks no more often than this whether claims are stopped.
READ_SECONDS = 2.0
# After so long without a sign of life a prober is taken for dead.
PROBE_SECONDS, KEEP_SECONDS = 60.0, 15.0
# The next turn when there was nothing to probe.
NOTHING_DUE_SECONDS = 5.0
# Before another try at a turn that somebody else has taken.
LOST_SECONDS = 0.5
# The workers ask within so long after the turn has come.
SPREAD_SECONDS = 0.5
# Others store their failures at the same moment.
STORE_TRIES = 5


class OutageGate:
    """Of the worker called `worker`; for one thread. With `RetryPolicy.has_breaker` off it lets everything pass."""

    def __init__(
        self,
        queue: DatabaseQueue,
        worker: str,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outages = Outages(queue.table)
        self._policy = queue.retry_policy
        self._worker = worker
        self._clock = clock
        self._chance = chance
        self._window = breaker.RunWindow()
        self._outage: Optional[Outage] = None
        self._probe: Optional[int] = None  # the job
        self._probe_at = self._read_at = self._keep_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether claims are stopped, as far as this worker knows."""
        return self._outage is not None

    def lets_claim(self) -> bool:
        """Whether to claim as usual. Asks the queue only while it is open, and then rarely."""
        if self._outage is not None and self._clock() >= min(self._read_at, self._probe_at):
            self._see(self._outages.read())
        return self._outage is None

    def claimed_nothing(self) -> None:
        """A claim found nothing: it may be open, and only other workers know of it."""
        if self._clock() < self._read_at:
            return
        if self._policy.has_breaker:
            self._see(self._outages.read())
        else:
            self._read_at = self._clock() + PROBE_SECONDS
            if self._outages.close():  # it was on when the breaker opened, and would be waited for in vain
                log.warning(event("claims go on", cause="BOT_BREAKER=0"))

    def claim_probe(self, lease_seconds: float) -> list[ClaimedJob]:
        """The job to probe with, when it is this worker's turn: an urgent one first, none of those probed already."""
        if self._outage is None or self._probe is not None or self._clock() < self._probe_at:
            return []
        taken = self._outages.take_probe(self._outage, self._worker, PROBE_SECONDS)
        if taken is None:
            self._see(self._outages.read())
            self._probe_at = max(self._probe_at, self._clock() + LOST_SECONDS)
            return []
        jobs = self._outages.claim_probe(self._worker, lease_seconds, taken.probed)
        if not jobs and taken.probed:
            taken = replace(taken, probed=())
            jobs = self._outages.claim_probe(self._worker, lease_seconds, ())
        now = self._clock()
        self._outage, self._keep_at, self._probe_at = taken, now + KEEP_SECONDS, now + taken.seconds_to_probe
        if jobs:
            self._probe = jobs[0].id
        else:
            self._end_turn(taken, NOTHING_DUE_SECONDS)
        return jobs

    def keep(self) -> None:
        """While it probes: tell the others that it is alive, when that is due. Never raises."""
        if self._probe is None or self._outage is None or self._clock() < self._keep_at:
            return
        self._keep_at = self._clock() + KEEP_SECONDS
        try:
            self._outages.hold(self._outage, PROBE_SECONDS)
        except DatabaseUnavailable as error:
            log.warning(event("probe not kept", worker=self._worker, cause=error))

    def seconds_to_next(self) -> float:
        """Until this worker may have something to do for it, although nobody wakes it; infinite while it is closed."""
        if self._outage is None:
            return math.inf
        seconds = (self._probe_at if self._probe is None else self._keep_at) - self._clock()
        return seconds if seconds > 0 else LOST_SECONDS  # the turn has come, and this worker could not take it

    def not_run(self, job_id: int) -> None:
        """That job was not run to its end. Never raises."""
        if job_id != self._probe:
            return
        self._probe = None
        try:
            if self._outage is not None and self._outage.prober == self._worker:
                self._end_turn(self._outage, 0.0)
        except DatabaseUnavailable as error:
            log.warning(event("probe left to others", worker=self._worker, cause=error))

    def ended(self, job: ClaimedJob, outcome: Outcome) -> bool:
        """Record how a run ended; whether it failed because the bot's side is down, and is to cost no attempt."""
        is_probe, self._probe = job.id == self._probe, None if job.id == self._probe else self._probe
        if not self._policy.has_breaker:
            return False
        try:
            if outcome.succeeded or not outcome.may_be_retried:
                return self._answered(job, outcome, is_probe)
            return self._failed(job, outcome, is_probe)
        except (DatabaseUnavailable, SchemaMissing) as error:
            log.warning(event("breaker not asked", id=job.id, cause=error))
            return self._outage is not None or breaker.opens_at_once(outcome)

    def explain(self) -> None:
        """Say why nothing is claimed: for a drain that ends."""
        if self._outage is not None:
            since = f"{self._outage.since:%Y-%m-%d %H:%M} UTC"
            log.warning(event("updates wait, the bot's side is down", since=since, cause=self._outage.cause))

    def _answered(self, job: ClaimedJob, outcome: Outcome, is_probe: bool) -> bool:
        """The bot did its work, or refused this very update, which says nothing about others."""
        if outcome.succeeded:
            self._window.succeeded()
        if not is_probe or self._outage is None:
            return False
        if outcome.succeeded:
            self._close(self._outage)
        elif self._outage.prober == self._worker:
            probed = (*self._outage.probed, job.id)
            self._end_turn(replace(self._outage, probed=probed), breaker.SHORTEST_STEP_SECONDS)
        return False

    def _failed(self, job: ClaimedJob, outcome: Outcome, is_probe: bool) -> bool:
        outage = self._outage
        if is_probe and outage is not None and outage.prober == self._worker:
            step, probed = outage.step + 1, (*outage.probed, job.id)
            cause, seconds = one_line(outcome.cause), breaker.step_seconds(step)
            self._end_turn(replace(outage, step=step, probed=probed, cause=cause), seconds)
            log.warning(event("probe failed", id=job.id, next_in_seconds=seconds, cause=cause))
            return True
        if outage is not None:
            return True
        self._window.failed()
        at_once = breaker.opens_at_once(outcome)
        if not at_once and not self._window.is_worth_telling:
            return False
        for _ in range(STORE_TRIES):
            shared = self._outages.read()
            self._see(shared)
            if self._outage is not None or (breaker.is_suspect(shared.evidence, job.id) and not at_once):
                return self._outage is not None
            is_open = self._opened(job, outcome, shared, at_once)
            if is_open is not None:
                return is_open
        return False  # the failures of others count, and not this one

    def _opened(self, job: ClaimedJob, outcome: Outcome, shared: Shared, at_once: bool) -> Optional[bool]:
        """Add the failure to what all workers know; whether that opens it; None: another worker was faster."""
        cause, lane = breaker.fingerprint(outcome), job.lane or f"job:{job.id}"
        failure = Failure(job.id, job.attempt, short_hash(lane), short_hash(cause), shared.now)
        evidence = breaker.with_failure(shared.evidence, failure)
        is_outage = at_once or breaker.is_outage(evidence, self._window.needed, self._policy.used_up(job.attempt))
        if is_outage and not at_once and self._outages.succeeded_within(shared.now - evidence.counted[0].at):
            evidence, is_outage = breaker.restarted(evidence), False
        if not is_outage:
            return False if self._outages.store(evidence, shared) else None
        self._open(outcome, evidence, shared)
        return True

    def _open(self, outcome: Outcome, evidence: Evidence, shared: Shared) -> None:
        cause = one_line(outcome.cause)
        runs = breaker.alike(evidence)
        if self._outages.open(cause, breaker.step_seconds(0)):
            log.error(event("bot's side is down, updates wait", failures=len(runs), cause=cause))
        self._see(self._outages.read())
        before = (run for run in evidence.failures[:-1] if run.cause == runs[-1].cause)
        self._outages.refund(before, running=runs[-1])
        self._outages.store(breaker.after_opening(evidence), shared)

    def _close(self, outage: Outage) -> None:
        self._outage = None
        if self._outages.close():
            log.warning(event("bot's side is back, updates go on", since=f"{outage.since:%Y-%m-%d %H:%M:%S} UTC"))

    def _end_turn(self, outage: Outage, seconds: float) -> None:
        self._outages.end_turn(outage, seconds)
        self._see(self._outages.read())

    def _see(self, shared: Shared) -> None:
        now, was_open = self._clock(), self._outage is not None
        self._outage, self._read_at = shared.outage, now + READ_SECONDS
        if shared.outage is not None:
            # Not all of them at the same moment; the later ones see that it is taken.
            spread = SPREAD_SECONDS * self._chance() if shared.outage.seconds_to_probe > 0 else 0.0
            self._probe_at = now + shared.outage.seconds_to_probe + spread
        if shared.outage is not None and not was_open:
            log.warning(event("claims stopped", worker=self._worker, cause=shared.outage.cause))
        elif shared.outage is None and was_open:
            log.info(event("claims go on", worker=self._worker))
