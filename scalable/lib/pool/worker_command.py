"""worker.py's command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Optional

from scalable.lib.errors import BotMissing, BotUnsuitable, ExitCode
from scalable.lib.logs import event
from scalable.lib.pool.drain_lock import DrainLock, DrainSession, write_report
from scalable.lib.pool.parts import PoolParts
from scalable.lib.process_name import process_name
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, Tally, WorkerLoop
from scalable.lib.worker.process_end import END_SECONDS, end_within
from scalable.lib.worker.progress_bar import ProgressBar
from scalable.lib.worker.recycling import Recycling
from scalable.lib.worker.slot_group import open_slots, slot_limit
from scalable.lib.worker.wakeup import WaitForInterval, WaitForWakeup

log = logging.getLogger(__name__)


def run_worker_command(
    options: argparse.Namespace,
    parts: PoolParts,
    runner: Runner,
    reaper: ProcessReaper,
    successor: Optional[Callable[[], None]] = None,
) -> int:
    """Run one worker in this process. `runner` is that of its first slot, `reaper` ends the bots of all of them.

    `successor` starts the next drain when there is more to do than one may. Raises DatabaseUnavailable when the
    database is away at the start, and BotMissing without a pool: a worker of a pool goes on, see worker/breaker.py.
    """
    try:
        runner.check()
    except BotMissing as error:
        if isinstance(error, BotUnsuitable) or options.pool_pid is None or not parts.queue.retry_policy.has_breaker:
            raise
        log.error(event("bot missing, updates wait for it", cause=error))
    parts.queue.ensure_schema()
    stop = StopSignal(options.pool_pid)
    stop.listen()
    limit = slot_limit(parts.slots)
    slots = open_slots(runner, lambda: parts.create_runner(reaper), parts.create_replies, stop, limit, parts.is_strict)
    worker = LegacyBotWorker(parts.queue, slots, options.name, stop, parts.run_logs.open(options.name))
    bar = ProgressBar(parts.queue.counts().pending if options.drain and sys.stderr.isatty() else 0)
    session = None
    if options.drain_lock is not None:
        session = DrainSession(
            parts.queue, DrainLock(options.drain_lock), parts.finishing_lock, options.wait_for_retries, successor
        )
    tally = _create_loop(options, parts, worker, stop, bar, session).run()
    bar.end()
    if session is not None and not stop.requested:
        session.finish()
    if sys.stdout.isatty() and options.drain:
        print(f"{tally.runs} updates run, {tally.succeeded} done, {tally.runs - tally.succeeded} not yet")
    if slots.retire_reason is not None and options.pool_pid is None and not options.drain and not stop.requested:
        os.execv(sys.executable, [sys.executable, *sys.argv])  # there is no pool to start a new worker
    end_within(END_SECONDS, ExitCode.OK)
    return ExitCode.OK


def _create_loop(
    options: argparse.Namespace,
    parts: PoolParts,
    worker: LegacyBotWorker,
    stop: StopSignal,
    bar: ProgressBar,
    session: Optional[DrainSession],
) -> WorkerLoop:
    def progress(tally: Tally) -> None:
        bar.show(tally.runs)
        if options.report is not None:
            write_report(options.report, tally.runs, tally.succeeded)

    has_pool = options.pool_pid is not None
    return WorkerLoop(
        parts.queue,
        worker,
        stop,
        WaitForInterval(parts.sleep_seconds) if options.wakeup_pipe is None else WaitForWakeup(options.wakeup_pipe),
        Limits(options.drain, options.max_seconds, options.max_jobs),
        maintenance=None if has_pool else parts.maintenance,
        progress=progress,
        recycling=Recycling() if has_pool else None,
        pause=(lambda: None) if session is None else session.pause_seconds,
        on_last_claim=(lambda: True) if session is None else session.make_way,
    )


def parse_worker_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the process with usage and exit code 2."""
    parser = argparse.ArgumentParser(prog="worker.py", description="Claims updates and runs the bot on each.")
    parser.add_argument("--drain", action="store_true", help="end when no update is due")
    parser.add_argument("--max-seconds", type=positive_seconds, metavar="N", help="start no update after N seconds")
    parser.add_argument("--max-jobs", type=_positive_count, metavar="N", help="end after N updates")
    parser.add_argument("--name", default=process_name(), help=argparse.SUPPRESS)
    parser.add_argument("--pool-pid", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bell", dest="wakeup_pipe", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flight", dest="drain_lock", type=_not_inherited, help=argparse.SUPPRESS)
    parser.add_argument("--report", type=_not_inherited, help=argparse.SUPPRESS)
    parser.add_argument("--linger", dest="wait_for_retries", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _not_inherited(text: str) -> int:
    """A descriptor that this process inherited, and that nothing it starts inherits."""
    os.set_inheritable(int(text), False)
    return int(text)


def positive_seconds(text: str) -> float:
    """An argument of the command line. Raises ArgumentTypeError."""
    return _checked(float, text, "a number of seconds above 0")


def _positive_count(text: str) -> int:
    return int(_checked(int, text, "a whole number above 0"))


def _checked(convert: Callable[[str], float], text: str, expected: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value
