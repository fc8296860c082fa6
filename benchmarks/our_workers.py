"""Processes that drain our queue: its bare verbs, or the worker as it ships, both with a bot that does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.race import CONTEXT, Race
from benchmarks.server import open_queue
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, Tally, WorkerLoop
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.slot_group import SlotLimit, open_slots
from scalable.lib.worker.wakeup import WaitForInterval

LEASE_SECONDS = 60.0
IDLE_SECONDS = 0.005
LONGEST_SECONDS = 120.0
NOTHING_DONE = RunResult(End.EXITED, 0.0, exit_code=0)


class NothingRunner(Runner):
    """A bot that has nothing to do."""

    def check(self) -> str:
        """It is always there."""
        return "nothing"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:  # noqa: ARG002
        """Success, at once."""
        return NOTHING_DONE


def verbs(address: MySqlAddress, table: str, name: str, limit: int, race: Race) -> None:
    """Claim up to `limit`, complete them together; a claim that finds nothing is repeated after 5 ms."""
    queue = open_queue(address, table)
    queue.describe_server()  # connected
    race.ready()
    ends = time.monotonic() + LONGEST_SECONDS
    while not race.over and time.monotonic() < ends:
        jobs = queue.claim(name, LEASE_SECONDS, limit=limit)
        queue.complete_many([job.lease for job in jobs])
        race.finished(len(jobs))
        if not jobs:
            time.sleep(IDLE_SECONDS)
    queue.close()


def whole_worker(address: MySqlAddress, table: str, name: str, limit: int, race: Race) -> None:  # noqa: ARG001
    """The loop of worker.py with its default settings; only the bot is not started."""
    queue = open_queue(address, table)
    queue.describe_server()
    stop = StopSignal()

    def progress(_: Tally) -> None:
        race.finished()
        if race.over:
            stop.request()

    slots = open_slots(NothingRunner(), NothingRunner, lambda: ReplySender(None), stop, SlotLimit())
    worker = LegacyBotWorker(queue, slots, name, stop)
    limits = Limits(max_seconds=LONGEST_SECONDS)
    race.ready()
    WorkerLoop(queue, worker, stop, WaitForInterval(1.0), limits=limits, progress=progress).run()


def drain(work: Callable[..., None], address: MySqlAddress, table: str, limit: int, race: Race) -> float:
    """Seconds until all jobs are finished, with `work` in every process."""
    processes = [
        CONTEXT.Process(target=work, args=(address, table, f"worker-{number}", limit, race), daemon=True)
        for number in range(race.workers)
    ]
    for process in processes:
        process.start()
    try:
        return race.seconds(LONGEST_SECONDS)
    finally:
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
