"""A worker on a real SQLite queue, with a clock that only moves when told and a bot that does as the test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.dialects.sqlite import SqliteDatabase
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.telegram.update import Update
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, Tally, WorkerLoop
from scalable.lib.worker.maintenance import Maintenance
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.wakeup import WaitForInterval
from tests.support.fakes.clock import FakeClock

Result = TypeVar("Result")
DONE = RunResult(End.EXITED, 0.1, exit_code=0)
FAILED = RunResult(End.EXITED, 0.1, exit_code=1, output="it went wrong")
SLEEP_SECONDS = 1.0


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
        self._moved = clock

    def wait(self, seconds: float, also: int | None = None) -> bool:  # noqa: ARG002 - there is no pipe here
        """Let `seconds` pass on the clock; a thousand waits are one that would never end."""
        assert len(self.waits) < 1000, "it waits on and on"
        self.waits.append(seconds)
        self._moved.advance(seconds)
        self.during_wait()
        return self.requested


class ScriptedRunner(Runner):
    """A bot that answers as told; `during` happens while it runs and gets the tick to call."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.result = DONE
        self.during: Callable[[Callable[[], None]], None] = lambda tick: tick()
        self.closed = False
        self.why_retired: str | None = None

    def check(self) -> str:
        """It is always there."""
        return "a scripted bot"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """The result the test wants."""
        self.payloads.append(payload)
        self.during(tick)
        return self.result

    @property
    def retire_reason(self) -> str | None:
        """What the test says."""
        return self.why_retired

    def close(self) -> None:
        """Remembered."""
        self.closed = True


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
        self.worker = LegacyBotWorker(
            self.queue, self.runner, ReplySender(None), "worker-1", self.stop, self.clock, self.clock.advance
        )

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
