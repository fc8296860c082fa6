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
from scalable.lib.queue.origins import Origin, origin_of, short_hash
from scalable.lib.queue.outages import Evidence, Failure, Outage, Outages, Shared
from scalable.lib.redaction import one_line
from scalable.lib.runners.outcome import Outcome
from scalable.lib.worker import breaker

log = logging.getLogger(__name__)
# A worker without work asks no more often than this whether claims are stopped.
READ_SECONDS = 2.0
# A probe that takes longer keeps its turn no more: others need not wait for an update on which the bot hangs.
SLOW_SECONDS = 5.0
# A prober that has not ended its turn by then is taken for dead.
TURN_SECONDS = 15.0
# So long a job that failed before is waited for, before another one of those is probed.
RETRIED_SECONDS = 60.0
# The next turn when there was nothing to probe.
NOTHING_DUE_SECONDS = 4.0
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
        self._probe: Optional[ClaimedJob] = None  # whose end this worker's turn waits for
        self._others: set[int] = set()  # probes that no turn waits for
        self._probe_at = self._retry_at = self._read_at = self._slow_at = 0.0

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
            self._read_at = self._clock() + RETRIED_SECONDS
            if self._outages.close():  # it was on when the breaker opened, and would be waited for in vain
                log.warning(event("claims go on", cause="BOT_BREAKER=0"))

    def claim_probe(self, lease_seconds: float) -> list[ClaimedJob]:
        """The job to probe with, when it is this worker's turn: an urgent one first, none of those probed already.

        One that has never failed, of nobody whose updates did, goes before all others: where only these updates fail
        the outage is none, and that shows it. The others are tried more and more rarely, and no turn waits for them.
        """
        if self._outage is None or self._probe is not None or self._clock() < self._probe_at:
            return []
        seconds_to_retry = self._retry_at - self._clock()
        outage = replace(self._outage, seconds_to_retry=seconds_to_retry)
        taken = self._outages.take_probe(outage, self._worker, TURN_SECONDS)
        if taken is None:
            self._see(self._outages.read())
            self._probe_at = max(self._probe_at, self._clock() + LOST_SECONDS)
            return []
        jobs = self._outages.claim_innocent(self._worker, lease_seconds, taken)
        if not jobs:
            return self._claim_again(taken, lease_seconds)
        self._outage, self._probe, now = taken, jobs[0], self._clock()
        self._slow_at, self._probe_at = now + SLOW_SECONDS, now + taken.seconds_to_probe
        return jobs

    def _claim_again(self, taken: Outage, lease_seconds: float) -> list[ClaimedJob]:
        """One of those that failed, or of whom others did, when it is time for that. The turn ends."""
        if taken.seconds_to_retry > 0:
            self._end_turn(taken, min(taken.seconds_to_retry, NOTHING_DUE_SECONDS))
            return []
        jobs = self._outages.claim_probe(self._worker, lease_seconds, taken.probed)
        if not jobs and taken.probed:
            taken = replace(taken, probed=())
            jobs = self._outages.claim_probe(self._worker, lease_seconds, ())
        if jobs:
            self._others.add(jobs[0].id)
            taken = replace(taken, seconds_to_retry=RETRIED_SECONDS)
        self._end_turn(taken, NOTHING_DUE_SECONDS)
        return jobs

    def keep(self) -> None:
        """While it probes: let others probe when the bot takes long. Never raises."""
        job = self._probe
        if job is None or self._clock() < self._slow_at:
            return
        self._slow_at = self._clock() + SLOW_SECONDS

        def is_slow(outage: Outage) -> tuple[Outage, float]:
            step, marks = outage.innocent_step + 1, _origin(job).marks
            blamed = (*outage.blamed, *marks)
            slow = replace(outage, innocent_step=step, blamed=blamed, seconds_to_retry=RETRIED_SECONDS)
            return self._without_turn(slow, breaker.step_seconds(step))

        try:
            self._change(is_slow)
            self._probe = None
            self._others.add(job.id)
        except DatabaseUnavailable as error:
            log.warning(event("probe not kept", worker=self._worker, cause=error))

    def seconds_to_next(self) -> float:
        """Until this worker may have something to do for it, although nobody wakes it; infinite while it is closed."""
        if self._outage is None:
            return math.inf
        seconds = (self._probe_at if self._probe is None else self._slow_at) - self._clock()
        return seconds if seconds > 0 else LOST_SECONDS  # the turn has come, and this worker could not take it

    def not_run(self, job_id: int) -> None:
        """That job was not run to its end. Never raises."""
        if not self._is_probe(job_id):
            return
        is_innocent = self._is_innocent(job_id)
        self._forget(job_id)

        def left(outage: Outage) -> tuple[Outage, float]:
            outage, seconds = self._without_turn(replace(outage, seconds_to_retry=0.0), 0.0, is_innocent)
            return outage, seconds if outage.prober else 0.0

        try:
            self._change(left)
        except DatabaseUnavailable as error:
            log.warning(event("probe left to others", worker=self._worker, cause=error))

    def ended(self, job: ClaimedJob, outcome: Outcome) -> bool:
        """Record how a run ended; whether it failed because the bot's side is down, and is to cost no attempt."""
        is_probe, is_innocent = self._is_probe(job.id), self._is_innocent(job.id)
        self._forget(job.id)
        if not self._policy.has_breaker:
            return False
        try:
            if outcome.succeeded or not outcome.may_be_retried:
                return self._answered(job, outcome, is_probe, is_innocent)
            return self._failed(job, outcome, is_probe, is_innocent)
        except (DatabaseUnavailable, SchemaMissing) as error:
            log.warning(event("breaker not asked", id=job.id, cause=error))
            return self._outage is not None or breaker.opens_at_once(outcome)

    def explain(self) -> None:
        """Say why nothing is claimed: for a drain that ends."""
        if self._outage is not None:
            since = f"{self._outage.since:%Y-%m-%d %H:%M} UTC"
            log.warning(event("updates wait, the bot's side is down", since=since, cause=self._outage.cause))

    def _answered(self, job: ClaimedJob, outcome: Outcome, is_probe: bool, is_innocent: bool) -> bool:
        """The bot did its work, or refused this very update, which says nothing about others."""
        if outcome.succeeded:
            self._window.succeeded()
        if not is_probe or self._outage is None:
            return False
        if outcome.succeeded:
            self._close(self._outage, is_innocent)
            return False

        def refused(outage: Outage) -> tuple[Outage, float]:
            seconds = breaker.SHORTEST_STEP_SECONDS
            probed = replace(outage, probed=(*outage.probed, job.id), seconds_to_retry=seconds)
            return self._without_turn(probed, seconds, is_innocent)

        self._change(refused)
        return False

    def _failed(self, job: ClaimedJob, outcome: Outcome, is_probe: bool, is_innocent: bool) -> bool:
        if is_probe:
            self._probe_failed(job, one_line(outcome.cause), is_innocent)
        if self._outage is not None:
            return True
        self._window.failed()
        at_once = breaker.opens_at_once(outcome)
        if not at_once and not self._window.is_worth_telling:
            return False
        for _ in range(STORE_TRIES):
            shared = self._outages.read()
            self._see(shared)
            if self._outage is not None or (self._is_suspect(job, shared) and not at_once):
                return self._outage is not None
            is_open = self._opened(job, outcome, shared, at_once)
            if is_open is not None:
                return is_open
        return False  # the failures of others count, and not this one

    def _probe_failed(self, job: ClaimedJob, cause: str, is_innocent: bool) -> None:
        def counted(outage: Outage) -> tuple[Outage, float]:
            step, innocent_step = outage.step + 1, outage.innocent_step + is_innocent
            failed = replace(
                outage,
                step=step,
                innocent_step=innocent_step,
                probed=(*outage.probed, job.id),
                blamed=(*outage.blamed, *_origin(job).marks),
                cause=cause,
                seconds_to_retry=breaker.step_seconds(step),
            )
            return self._without_turn(failed, breaker.step_seconds(innocent_step), is_innocent)

        self._change(counted)
        if self._outage is not None:
            log.warning(event("probe failed", id=job.id, next_in_seconds=self._outage.seconds_to_retry, cause=cause))

    def _opened(self, job: ClaimedJob, outcome: Outcome, shared: Shared, at_once: bool) -> Optional[bool]:
        """Add the failure to what all workers know; whether that opens it; None: another worker was faster."""
        origin, cause = _origin(job), short_hash(breaker.fingerprint(outcome))
        failure = Failure(job.id, job.attempt, origin.lane, cause, shared.now, origin.sender)
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
        if self._outages.open(cause, breaker.step_seconds(0), breaker.blamed(evidence)):
            log.error(event("bot's side is down, updates wait", failures=len(runs), cause=cause))
        self._see(self._outages.read())
        before = (run for run in evidence.failures[:-1] if run.cause == runs[-1].cause)
        self._outages.refund(before, running=runs[-1])
        self._outages.store(breaker.after_opening(evidence), shared)

    def _close(self, outage: Outage, by_innocent: bool) -> None:
        self._outage = None
        if self._outages.close():
            if by_innocent and outage.innocent_step == 0:  # the very first one: only some updates failed
                shared = self._outages.read()
                self._outages.store(breaker.after_wrong_opening(shared.evidence, outage.blamed, shared.now), shared)
            log.warning(event("bot's side is back, updates go on", since=f"{outage.since:%Y-%m-%d %H:%M:%S} UTC"))

    def _is_suspect(self, job: ClaimedJob, shared: Shared) -> bool:
        return breaker.is_suspect(shared.evidence, job.id, _origin(job).marks, shared.now)

    def _is_probe(self, job_id: int) -> bool:
        return job_id in self._others or self._is_innocent(job_id)

    def _is_innocent(self, job_id: int) -> bool:
        return self._probe is not None and self._probe.id == job_id

    def _forget(self, job_id: int) -> None:
        self._others.discard(job_id)
        if self._is_innocent(job_id):
            self._probe = None

    def _without_turn(self, outage: Outage, seconds: float, is_turn: bool = True) -> tuple[Outage, float]:
        """With this worker's turn ended, the next one in so many seconds; a turn that is not its own goes on."""
        if is_turn and outage.prober == self._worker:
            return replace(outage, prober=""), seconds
        return outage, outage.seconds_to_probe

    def _change(self, changed: Callable[[Outage], tuple[Outage, float]]) -> None:
        """Change what all workers know, on top of what others changed meanwhile."""
        for _ in range(STORE_TRIES):
            outage = self._outages.read().outage
            if outage is None or self._outages.change(*changed(outage)):
                break
        self._see(self._outages.read())

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
            self._retry_at = now + shared.outage.seconds_to_retry
        if shared.outage is not None and not was_open:
            log.warning(event("claims stopped", worker=self._worker, cause=shared.outage.cause))
        elif shared.outage is None and was_open:
            log.info(event("claims go on", worker=self._worker))


def _origin(job: ClaimedJob) -> Origin:
    return origin_of(job.id, job.lane, job.payload)
