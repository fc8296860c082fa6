"""LegacyBotWorker: one job from claim to its end. A runner runs the bot, a CompletionBuffer stores outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.errors import LeaseLost, NoProcessLeft, StoppedAtOnce
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.runners.judgement import judge
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.claim_buffer import ClaimBuffer
from scalable.lib.worker.completion_buffer import CompletionBuffer
from scalable.lib.worker.lease_renewer import LeaseRenewer
from scalable.lib.worker.reply_sender import Fate, ReplyResult, ReplySender
from scalable.lib.worker.worker_heartbeat import WorkerHeartbeat

log = logging.getLogger(__name__)


class LegacyBotWorker:
    """Claims a job, runs the bot, and stores the outcome. One thread, one connection."""

    def __init__(
        self,
        queue: DatabaseQueue,
        runner: Runner,
        replies: ReplySender,
        name: str,
        stop: StopSignal,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.heartbeat = WorkerHeartbeat(queue, name, clock)
        self._queue = queue
        self._runner = runner
        self._replies = replies
        self._stop = stop
        self._clock = clock
        self._claim_buffer = ClaimBuffer(queue, name, queue.lease_terms.lease_seconds, clock)
        self.completions = CompletionBuffer(queue, self.heartbeat, stop, clock, sleep)

    @property
    def retire_reason(self) -> Optional[str]:
        """Why a new process should take over, in a few words; None: this one can go on."""
        return self._runner.retire_reason

    def close(self) -> None:
        """Store what is done, give back what was claimed and not run, and close the runner."""
        self.completions.flush()
        self._claim_buffer.give_back()
        self._runner.close()

    def work_one(self) -> Optional[Outcome]:
        """Work one due job; None when there was none, or when it was given back because of a stop at once.

        Raises DatabaseUnavailable before a job was run, and NoProcessLeft when it could not be; it is given back then.
        """
        if not self._claim_buffer.holds_more:
            self.completions.flush()
        job = self._claim_buffer.take()
        if job is None:
            return None
        started = self._clock()
        self.heartbeat.counters.waited(job.waited_seconds + started - self._claim_buffer.claimed_at)
        if log.isEnabledFor(logging.DEBUG):  # a line for each update
            log.debug(event("job claimed", id=job.id, attempt=job.attempt, worker=self.name))
        tick = self._tick(job)
        try:
            outcome = judge(self._runner.run(job.payload, tick))
            self._claim_buffer.ran(outcome.seconds)
            self.completions.record(job, outcome, self._reply(job, outcome, tick))
        except LeaseLost as error:
            log.warning(event("bot stopped", id=job.id, cause=error))
            outcome = Outcome(Kind.DIED, str(error), self._clock() - started)
        except StoppedAtOnce:
            self.completions.release(job)
            return None
        except NoProcessLeft:
            self.completions.release(job)
            raise
        if not self._claim_buffer.holds_more:
            self.completions.flush()
        return outcome

    def _reply(self, job: ClaimedJob, outcome: Outcome, tick: Callable[[], None]) -> Optional[str]:
        """Send what the bot answered; a note for the job when that was not possible. The job is done in either case."""
        if not outcome.succeeded or not outcome.answer:
            return None
        try:
            result = self._replies.send(outcome.answer, tick, outcome.answer_type)
        except StoppedAtOnce as error:
            result = ReplyResult(Fate.NOT_SENT, cause=str(error))
        if result.fate is not Fate.NONE:
            log.log(logging.INFO if result.note is None else logging.WARNING, result.log_line(id=job.id))
        return result.note

    def _tick(self, job: ClaimedJob) -> Callable[[], None]:
        """What is called about twice a second while the bot runs. A long run gives back the other jobs of the batch."""
        renewer = LeaseRenewer(
            self._queue, job, self._claim_buffer.claimed_at, self._stop, self.heartbeat.beat_if_due, self._clock
        )

        def tick() -> None:
            renewer.renew_if_due()
            if self._claim_buffer.is_over:
                self.completions.flush_if_possible()
                self._claim_buffer.give_back()

        return tick
