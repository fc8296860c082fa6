"""A worker on a real SQLite queue, with a clock that only moves when told and a bot that does as the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from scalable.lib.errors import DatabaseUnavailable, LeaseLost, NoProcessLeft
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.dialects.sqlite import SqliteDatabase
from scalable.lib.queue.job import ClaimedJob, JobSummary
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.telegram.update import Update
from scalable.lib.worker.job_list import JobList
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, Tally, WorkerLoop
from scalable.lib.worker.maintenance import Maintenance
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.slot import Report, RunEnd, Slot
from scalable.lib.worker.slot_group import SlotGroup, SlotLimit
from scalable.lib.worker.wakeup import WaitForInterval
from tests.support.fakes.clock import FakeClock

Result = TypeVar("Result")
DONE = RunResult(End.EXITED, 0.1, exit_code=0)
FAILED = RunResult(End.EXITED, 0.1, exit_code=1, output="it went wrong")
SLEEP_SECONDS = 1.0
ONE_SLOT = SlotLimit()


class CuttableDatabase(SqliteDatabase):
    """The embedded database, on a line that a test can cut: while `away()` nothing gets through."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteAddress(path))
        self.away: Callable[[], bool] = lambda: False

    def run(self, work: Callable[[Session], Result], transaction: bool = False) -> Result:
        """The real thing, unless the line is cut."""
        if self.away():
            raise DatabaseUnavailable("the database is away")
        return super().run(work, transaction)


class ClockedStop(StopSignal):
    """A StopSignal whose waits move the clock instead of passing time; `waits` holds their lengths."""

    def __init__(self, clock: FakeClock) -> None:
        self.parent = 100
        super().__init__(100, lambda: self.parent)
        self.waits: list[float] = []
        self.during_wait: Callable[[], None] = lambda: None
        self.run_bot: Callable[[], bool] = lambda: False
        self._moved = clock

    def wait(self, seconds: float, *also: int) -> bool:
        """Let `seconds` pass on the clock, or the bot run when it is waited for; a thousand waits would never end."""
        if also and self.run_bot():
            return self.requested
        assert len(self.waits) < 1000, "it waits on and on"
        self.waits.append(seconds)
        self._moved.advance(seconds)
        self.during_wait()
        return self.requested

    def wait_to_the_end(self, seconds: float, *also: int) -> None:
        """As `wait`."""
        self.wait(seconds, *also)


class ScriptedRunner(Runner):
    """A bot that answers as told; `during` happens while it runs and gets the tick to call."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.result = DONE
        self.during: Callable[[Callable[[], None]], None] = lambda tick: tick()
        self.closed = False
        self.why_retired: str | None = None
        self.side_by_side = True

    def check(self) -> str:
        """It is always there."""
        return "a scripted bot"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """The result the test wants."""
        self.payloads.append(payload)
        self.during(tick)
        return self.result

    @property
    def runs_side_by_side(self) -> bool:
        """What the test says."""
        return self.side_by_side

    @property
    def retire_reason(self) -> str | None:
        """What the test says."""
        return self.why_retired

    def close(self) -> None:
        """Remembered."""
        self.closed = True


class SteppedSlot(Slot):
    """A slot without a thread: it runs a job when `step` is called. Each tick of the bot is one of the worker, too."""

    def __init__(self, bench: Bench, number: int, replies: ReplySender, report: Callable[[Report], None]) -> None:
        super().__init__(number, bench.runner, replies, bench.stop, report, bench.clock)
        self.last: RunEnd | None = None
        self._bench = bench
        self._jobs: JobList | None = None
        self._steps: Iterator[None] | None = None

    def start(self) -> None:
        """It has no thread."""
        if self._bench.refuses_slots:
            raise NoProcessLeft("no thread could be started")

    def begin(self) -> None:
        """Begin a job, which goes on and on."""
        assert self._jobs is not None
        assert self._jobs.begin_next() is not None

    def assign(self, jobs: JobList) -> bool:
        """Keep them for `step`."""
        self._jobs = jobs
        self._steps = self.steps(jobs)
        return True

    def step(self) -> bool:
        """Run one job; False when it has none."""
        if self._steps is None:
            return False
        if next(self._steps, self) is self:
            self._steps = None
        return True

    def report_now(self) -> None:
        """As when REPORT_SECONDS have passed."""
        self._report_if_due(at_once=True)

    @property
    def is_busy(self) -> bool:
        """Whether it has something to run."""
        return self._steps is not None

    def end(self) -> None:
        """As the thread does at its end."""
        self.runner.close()

    def join(self, seconds: float) -> bool:  # noqa: ARG002
        """It has no thread."""
        return True

    def _run(self, job: ClaimedJob, jobs: JobList) -> RunEnd:
        self.last = super()._run(job, jobs)
        return self.last

    def _tick(self, jobs: JobList) -> None:
        self._bench.worker.keep_leases()
        super()._tick(jobs)
        if not self._bench.database.away():  # the worker would wait for it, in a thread of its own
            self._bench.worker.collect()


class Bench:
    """Everything a worker is made of."""

    def __init__(self, folder: Path, policy: RetryPolicy | None = None) -> None:
        self.clock = FakeClock()
        self.database = CuttableDatabase(folder / "queue.sqlite3")
        self.queue = DatabaseQueue(self.database, "bot_jobs", policy or RetryPolicy())
        self.queue.ensure_schema()
        self.runner = ScriptedRunner()
        self.stop = ClockedStop(self.clock)
        self.progress: Callable[[Tally], None] = lambda _: None
        self.stop.run_bot = self.run_bot
        self.refuses_slots = False
        self.opened: list[SteppedSlot] = []
        self.worker = self.make_worker()

    def make_worker(self, replies: ReplySender | None = None, limit: SlotLimit = ONE_SLOT) -> LegacyBotWorker:
        """A worker with stepped slots, from now on this bench's."""
        self.opened.clear()

        def create_slot(number: int, report: Callable[[Report], None]) -> SteppedSlot:
            self.opened.append(SteppedSlot(self, number, replies or ReplySender(None), report))
            return self.opened[-1]

        slots = SlotGroup(create_slot, limit, self.clock)
        self.worker = LegacyBotWorker(self.queue, slots, "worker-1", self.stop, None, self.clock, self.clock.advance)
        return self.worker

    def run_bot(self) -> bool:
        """Let the first slot that has something to do run one job; False when there is none."""
        return any(slot.step() for slot in self.opened)

    def work_one(self) -> Outcome | None:
        """Claim unless there is something to run, and run one job; None when there was none or it was given back."""
        if not self.opened[0].is_busy and not self.worker.claim():
            return None
        self.opened[0].step()
        self.worker.collect()
        end, self.opened[0].last = self.opened[0].last, None
        if end is None:  # what was left of a list was given back
            return self.work_one()
        if isinstance(end.error, LeaseLost):
            return Outcome(Kind.DIED, str(end.error), 0.0)
        return end.outcome

    def enqueue(self, count: int = 1) -> list[int]:
        """Ids of `count` new jobs, oldest first."""
        return [self.queue.enqueue(Update(f'{{"n":{number}}}')).job_id for number in range(1, count + 1)]

    def job(self, job_id: int) -> JobSummary:
        """The row as it is now, seen on a line that is never cut."""
        away, self.database.away = self.database.away, lambda: False
        try:
            return self.queue.find(job_id)
        finally:
            self.database.away = away

    def sql(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Rows of a query, or the effect of a statement, past every verb of the queue."""
        return SqliteDatabase.run(self.database, lambda session: session.rows(statement, **values))

    def loop(self, reap: bool = False, sleep_seconds: float = SLEEP_SECONDS, **limits: float | bool) -> Tally:
        """What a WorkerLoop with these limits did, until it ended."""
        return WorkerLoop(
            self.queue,
            self.worker,
            self.stop,
            WaitForInterval(sleep_seconds),
            Limits(**limits),  # type: ignore[arg-type]
            Maintenance(self.queue, 3600, 3600, self.clock) if reap else None,
            progress=self.progress,
            clock=self.clock,
        ).run()
