"""Machines of one queue inside the test's process: each has a worker, a reaper and connections of its own.

Their bots write down when they start, and whether they end by themselves or are stopped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from scalable.lib.errors import DatabaseUnavailable, LeaseLost
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, WorkerLoop
from scalable.lib.worker.maintenance import Maintenance
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.slot_group import SlotLimit, open_slots
from scalable.lib.worker.wakeup import WaitForInterval

# The product's own terms at a tenth of the time: one second here is ten there.
TERMS = LeaseTerms(lease_seconds=6.0, renew_seconds=1.0, retry_seconds=0.5, grace_seconds=3.0, margin_seconds=2.5)
POLICY = RetryPolicy(max_attempts=6, base_seconds=1, max_seconds=1)
TICK_SECONDS = 0.05


@dataclass
class Run:
    """One run of the bot, by the monotonic clock; `stopped` when its worker ended it."""

    machine: str
    payload: str
    began: float
    ended: float = float("inf")
    stopped: bool = False


class WaitingBot(Runner):
    """Takes `seconds` for every update."""

    def __init__(self, machine: str, seconds: float, runs: list[Run]) -> None:
        self._machine = machine
        self._seconds = seconds
        self._runs = runs

    def check(self) -> str:
        """It is always there."""
        return "waits"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """Success in the end, unless it is stopped."""
        run = Run(self._machine, payload, time.monotonic())
        self._runs.append(run)
        try:
            while time.monotonic() < run.began + self._seconds:
                time.sleep(TICK_SECONDS)
                tick()
        except LeaseLost:
            run.stopped = True
            raise
        finally:
            run.ended = time.monotonic()
        return RunResult(End.EXITED, self._seconds, exit_code=0)


class Machine:
    """Works from `with` on: a worker with this bot, and a process that reaps, both at `address`."""

    def __init__(self, name: str, address: DatabaseAddress, bot_seconds: float, runs: list[Run]) -> None:
        self.queue = DatabaseQueue(open_database(address), "bot_jobs", POLICY, TERMS)
        self._maintenance = Maintenance(self.queue, 3600, 3600)
        self._stop = StopSignal()
        bot = WaitingBot(name, bot_seconds, runs)
        slots = open_slots(bot, lambda: bot, lambda: ReplySender(None), self._stop, SlotLimit())
        worker = LegacyBotWorker(self.queue, slots, name, self._stop)
        loop = WorkerLoop(self.queue, worker, self._stop, WaitForInterval(0.1), Limits())
        self._threads = [threading.Thread(target=loop.run), threading.Thread(target=self._reap)]

    def __enter__(self) -> Machine:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.request()
        for thread in self._threads:
            thread.join(60)

    def _reap(self) -> None:
        while not self._stop.wait(0.1):
            with contextlib.suppress(DatabaseUnavailable):
                self._maintenance.every_5_seconds()


def overlapping(runs: list[Run]) -> list[tuple[Run, Run]]:
    """Pairs of runs of the same update that were alive at the same time."""
    return [
        (first, second)
        for place, first in enumerate(runs)
        for second in runs[place + 1 :]
        if first.payload == second.payload and first.began < second.ended and second.began < first.ended
    ]
