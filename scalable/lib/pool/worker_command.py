"""worker.py's command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Callable, Optional

from scalable.lib.errors import ExitCode
from scalable.lib.pool.drain_lock import DrainLock, DrainSession
from scalable.lib.pool.drain_process import write_report
from scalable.lib.process_name import process_name
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.housekeeping import Housekeeping
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, Tally, WorkerLoop
from scalable.lib.worker.process_end import END_SECONDS, end_within
from scalable.lib.worker.progress_bar import ProgressBar
from scalable.lib.worker.recycling import Recycling
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.wakeup import Listening, Polling


def run_worker_command(
    options: argparse.Namespace,
    queue: DatabaseQueue,
    runner: Runner,
    replies: ReplySender,
    sleep_seconds: float,
    housekeeping: Housekeeping,
    successor: Optional[Callable[[], None]] = None,
) -> int:
    """Run one worker in this process; `successor` starts the next drain when there is more to do than one may.

    Raises DatabaseUnavailable when the database is away at the start.
    """
    queue.ensure_schema()
    stop = StopSignal(options.pool_pid)
    stop.listen()
    name = options.name or process_name()
    worker = LegacyBotWorker(queue, runner, replies, name, stop)
    limits = Limits(options.drain, options.max_seconds, options.max_jobs)
    bar = ProgressBar(queue.counts().pending if options.drain and sys.stderr.isatty() else 0)
    drain_session = _drain_session(options, queue, successor)
    idleness = Polling(sleep_seconds) if options.wakeup_pipe is None else Listening(options.wakeup_pipe)
    tally = WorkerLoop(
        queue,
        worker,
        stop,
        idleness,
        limits,
        housekeeping if options.pool_pid is None else None,
        _telling(bar, options.report),
        None if options.pool_pid is None else Recycling(),
        (lambda: None) if drain_session is None else drain_session.pause_seconds,
    ).run()
    bar.end()
    if drain_session is not None and not stop.requested:
        drain_session.finish()
    if sys.stdout.isatty() and options.drain:
        print(f"{tally.runs} updates run, {tally.succeeded} done, {tally.runs - tally.succeeded} not yet")
    if worker.retire_reason is not None and options.pool_pid is None and not options.drain and not stop.requested:
        os.execv(sys.executable, [sys.executable, *sys.argv])  # nobody else would start a new one
    end_within(END_SECONDS, ExitCode.OK)
    return ExitCode.OK


def _drain_session(
    options: argparse.Namespace, queue: DatabaseQueue, successor: Optional[Callable[[], None]]
) -> Optional[DrainSession]:
    if options.drain_lock is None:
        return None
    return DrainSession(queue, DrainLock(options.drain_lock), options.wait_for_retries, successor)


def _telling(bar: ProgressBar, report: Optional[int]) -> Callable[[Tally], None]:
    def tell(tally: Tally) -> None:
        bar.show(tally.runs)
        if report is not None:
            write_report(report, tally.runs, tally.succeeded)

    return tell


def parse_worker_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the process with usage and exit code 2."""
    parser = argparse.ArgumentParser(prog="worker.py", description="Claims updates and runs the bot on each.")
    parser.add_argument("--drain", action="store_true", help="end when no update is due")
    parser.add_argument("--max-seconds", type=positive_seconds, metavar="N", help="start no update after N seconds")
    parser.add_argument("--max-jobs", type=_positive_count, metavar="N", help="end after N updates")
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--pool-pid", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bell", dest="wakeup_pipe", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flight", dest="drain_lock", type=_kept, help=argparse.SUPPRESS)
    parser.add_argument("--report", type=_kept, help=argparse.SUPPRESS)
    parser.add_argument("--linger", dest="wait_for_retries", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _kept(text: str) -> int:
    """An inherited descriptor that nothing this process starts shall inherit."""
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
