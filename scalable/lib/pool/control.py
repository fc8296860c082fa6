"""worker_pool.py --status, --health and --stop: asks about the pool of this installation, or ends it."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from scalable.lib.errors import ExitCode, ScalableError
from scalable.lib.pool.command import grace_seconds
from scalable.lib.pool.pool_lock import Holder, PoolLock
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.views.health import check_health, in_words
from scalable.lib.queue.worker_registry import Registry

STEP_SECONDS = 0.1
# What comes after a pool's grace time: QUIT, KILL, and the last writes to the database.
ENDING_SECONDS = 20.0


def control_pool(options: argparse.Namespace, lock: Path, queue: DatabaseQueue, bot_timeout_seconds: float) -> int:
    """What --status, --health or --stop asks for; the exit code."""
    if options.status:
        return show_status(lock, queue)
    if options.health:
        return show_health(queue)
    return stop_pool(lock, options.at_once, grace_seconds(bot_timeout_seconds) + ENDING_SECONDS)


def show_status(lock: Path, queue: DatabaseQueue) -> int:
    """Print whether the pool runs, what its workers do, and how many jobs there are; 0 when it runs, else 1."""
    holder = PoolLock(lock).holder()
    print("pool     not running here" if holder is None else f"pool     running, {_place(holder)}")
    try:
        for line in _status_lines(holder, queue):
            print(line)
    except ScalableError as error:
        print(f"queue    cannot be asked: {error}")
    return ExitCode.OK if holder is not None else ExitCode.UNEXPECTED


def _place(holder: Holder) -> str:
    return f"pid {holder.pid}" if holder.is_here else f"pid {holder.pid} on {holder.host}"


def _status_lines(holder: Holder | None, queue: DatabaseQueue) -> list[str]:
    alive = Registry(queue.database, queue.table).alive()
    ours = [] if holder is None else [w for w in alive if w.pool.startswith(f"{holder.host}:{holder.pid}-")]
    running = sum(worker.job_id is not None for worker in ours)
    counts = queue.counts()
    lines = [f"workers  {len(ours)}, {running} of them running the bot"] if holder is not None else []
    if len(alive) > len(ours):
        lines.append(f"         {len(alive) - len(ours)} of other pools, or without one")
    return [*lines, f"queue    {counts.pending} pending, {counts.processing} processing, {counts.failed} failed"]


def show_health(queue: DatabaseQueue) -> int:
    """Print the verdict that uptime monitors get from the dashboard; 0 when nothing is wrong, else 1."""
    reasons = check_health(queue)
    print("\n".join(in_words(reasons)))
    return ExitCode.UNEXPECTED if reasons else ExitCode.OK


def stop_pool(
    lock: Path,
    at_once: bool,
    longest_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Tell the pool to end and wait until it has; 0 when it has, or none runs, 1 when it did not within the time.

    `at_once`: it does not wait for the bots that run now; their jobs go back into the queue.
    """
    holder = PoolLock(lock).holder()
    if holder is None:
        print("no pool of this installation is running")
        return ExitCode.OK
    if holder.pid is None or not holder.is_here:
        raise ScalableError(f"the pool runs on another machine ({_place(holder)}): run this command there")
    print(f"the pool (pid {holder.pid}) ends{' at once' if at_once else ' after the jobs at hand'} …", flush=True)
    os.kill(holder.pid, signal.SIGQUIT if at_once else signal.SIGTERM)
    ends = clock() + longest_seconds
    while PoolLock(lock).holder() == holder:
        if clock() >= ends:
            raise ScalableError(f"the pool (pid {holder.pid}) has not ended within {longest_seconds:.0f} s")
        sleep(STEP_SECONDS)
    print("it has ended")
    return ExitCode.OK
