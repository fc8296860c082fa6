"""One slot of a worker: runs the bot on the jobs it is handed, in a thread of its own. It never touches the database.

It hands back how the runs ended, in lists: at once when that is more than a success, else when all are run or after
REPORT_SECONDS, because a quick bot would spend more time on telling than on running.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Optional

from scalable.lib.errors import BotMissing, BotUnsuitable, LeaseLost, NoProcessLeft, StoppedAtOnce
from scalable.lib.host_limits import within_limits
from scalable.lib.logs import event
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.runners.judgement import judge
from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner
from scalable.lib.runners.working_on import WorkingOn
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.after_answer import WorkEnd, check_stop, note_of, wait_for_end
from scalable.lib.worker.job_list import JobList
from scalable.lib.worker.reply_sender import Fate, ReplyResult, ReplySender

log = logging.getLogger(__name__)
REPORT_SECONDS = 0.25
# After so long without a job it ends what it keeps for the next run, and its thread when it is not the first slot.
IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class RunEnd:
    """How the run of `job` ended: with an `outcome`, and a `note` to keep with the job; or with the `error` it raised.

    `waited_seconds`: from when the job was due to its run. `works_on`: the bot has answered, and has not ended.
    """

    job: ClaimedJob
    waited_seconds: float
    outcome: Optional[Outcome] = None
    note: Optional[str] = None
    error: Optional[BaseException] = None
    works_on: Optional[WorkingOn] = None

    @property
    def can_wait(self) -> bool:
        """Whether it is a success and nothing else, which may be stored together with others."""
        return self.outcome is not None and self.outcome.succeeded and self.note is None and self.works_on is None

    @property
    def kept_note(self) -> Optional[str]:
        """The note, and that the bot works on."""
        if self.works_on is None or self.outcome is None:
            return self.note
        return note_of(self.outcome, self.note, self.works_on)

    @property
    def is_given_back(self) -> bool:
        """Whether the bot was not run to its end, through no fault of the job's."""
        return isinstance(self.error, (StoppedAtOnce, NoProcessLeft, BotUnsuitable))

    @property
    def ends_the_list(self) -> bool:
        """Whether the slot is to run nothing more of what it was handed."""
        return self.error is not None and not isinstance(self.error, LeaseLost)


@dataclass(frozen=True)
class Report:
    """What `slot` has run. `is_last`: nothing more comes of what it was handed, it is free. `work_end`: see WorkEnd."""

    slot: Slot
    ended: list[RunEnd]
    is_last: bool
    work_end: Optional[WorkEnd] = None


class Slot:
    """Runs jobs with `runner`, sends the bot's answers with `replies`, and calls `report` from its thread.

    `is_strict`: a success with warnings is a failure. The first slot of a worker stays; another one leaves after
    IDLE_SECONDS without a job.
    """

    def __init__(
        self,
        number: int,
        runner: Runner,
        replies: ReplySender,
        stop: StopSignal,
        report: Callable[[Report], None],
        clock: Callable[[], float] = time.monotonic,
        is_strict: bool = False,
    ) -> None:
        self.runner = runner
        self._is_strict = is_strict
        self.has_left = False
        self._number = number
        self._replies = replies
        self._stop = stop
        self._report = report
        self._clock = clock
        self._ended: list[RunEnd] = []
        self._reported_at = 0.0
        self._handed: SimpleQueue[Optional[JobList]] = SimpleQueue()
        self._leaving = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name=f"slot {number}", daemon=True)

    def start(self) -> None:
        """Begin to wait for jobs. Raises NoProcessLeft when the host allows no more threads."""
        with within_limits():
            self._thread.start()

    def assign(self, jobs: JobList) -> bool:
        """Have these jobs run; False when the slot has left. What was handed over before must have been reported."""
        with self._leaving:
            if not self.has_left:
                self._handed.put(jobs)
            return not self.has_left

    def end(self) -> None:
        """Let it end after the jobs at hand; `join` waits for that."""
        self._handed.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for its end; False when it has not ended by then."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def steps(self, jobs: JobList) -> Iterator[None]:
        """Run them, one with each step."""
        self._reported_at = self._clock()
        while (job := self._begin_next(jobs)) is not None:
            end = self._run(job, jobs)
            self._ended.append(end)
            if end.can_wait:
                jobs.succeeded(job)
            else:
                jobs.leave_lane(job)
            if end.works_on is not None and end.outcome is not None:
                self._report_ended(is_last=False)
                work_end = wait_for_end(end.works_on, job, self._stop, end.outcome, end.note)
                self._report(Report(self, [], False, work_end))
            if end.ends_the_list or self.runner.retire_reason is not None:
                break
            if jobs.has_more:
                self._report_if_due(at_once=not end.can_wait)
                yield
        self._report_ended(is_last=True)

    def _serve(self) -> None:
        try:
            while (jobs := self._next_list()) is not None:
                for _ in self.steps(jobs):
                    pass
        finally:
            self.runner.close()

    def _next_list(self) -> Optional[JobList]:
        try:
            return self._handed.get(timeout=IDLE_SECONDS)
        except Empty:
            self._rest()
        return None if self._number > 1 and self._leave() else self._handed.get()

    def _rest(self) -> None:
        try:
            self.runner.rest()
        except Exception:  # a slot without its thread would keep the next jobs for ever
            log.exception(event("slot keeps what it could have released", slot=self._number))

    def _leave(self) -> bool:
        with self._leaving:
            self.has_left = self._handed.empty()
            return self.has_left

    def _begin_next(self, jobs: JobList) -> Optional[ClaimedJob]:
        job = None if self._stop.requested else jobs.begin_next()
        if job is not None and log.isEnabledFor(logging.DEBUG):  # a line for each update
            log.debug(event("job begun", id=job.id, attempt=job.attempt, worker=job.lease.worker, slot=self._number))
        return job

    def _run(self, job: ClaimedJob, jobs: JobList) -> RunEnd:
        waited_seconds = job.waited_seconds + jobs.began - jobs.claimed_at

        def tick() -> None:
            self._tick(jobs)

        works_on = None
        try:
            result = self.runner.run(job.payload, tick)
            outcome, works_on = judge(result, self._is_strict), result.works_on
            note = self._reply(job, outcome, tick)
            return RunEnd(job, waited_seconds, outcome, note, works_on=works_on)
        except BotUnsuitable as error:
            return RunEnd(job, waited_seconds, error=error)
        except BotMissing as error:
            return RunEnd(job, waited_seconds, judge(RunResult(End.NOT_STARTED, 0.0, str(error))))
        except BaseException as error:  # noqa: BLE001  # the worker decides, in its own thread
            return RunEnd(job, waited_seconds, error=error, works_on=works_on)

    def _tick(self, jobs: JobList) -> None:
        """Called about twice a second while the bot runs. Raises StoppedAtOnce or LeaseLost."""
        check_stop(self._stop)
        jobs.check_lease()
        self._report_if_due()

    def _report_if_due(self, at_once: bool = False) -> None:
        if self._ended and (at_once or self._clock() - self._reported_at >= REPORT_SECONDS):
            self._report_ended(is_last=False)

    def _report_ended(self, is_last: bool) -> None:
        ended, self._ended, self._reported_at = self._ended, [], self._clock()
        self._report(Report(self, ended, is_last))

    def _reply(self, job: ClaimedJob, outcome: Outcome, tick: Callable[[], None]) -> Optional[str]:
        """Send what the bot answered; a note for the job when that was not possible. The job is done in either case."""
        if not outcome.succeeded or not outcome.answer:
            return None
        try:
            result = self._replies.send(outcome.answer, tick, outcome.answer_type, job.payload)
        except StoppedAtOnce as error:
            result = ReplyResult(Fate.NOT_SENT, cause=str(error))
        if result.fate is not Fate.NONE:
            log.log(logging.INFO if result.note is None else logging.WARNING, result.log_line(id=job.id))
        return result.note
