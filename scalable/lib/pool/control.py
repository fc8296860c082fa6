"""worker_pool.py --status, --health and --stop: asks about the pool of this installation, or ends it."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

from scalable.lib.errors import ExitCode, ScalableError
from scalable.lib.pool.command import grace_seconds
from scalable.lib.pool.pool_lock import Holder, PoolLock
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.verdict import in_words

STEP_SECONDS = 0.1
# What comes after a pool's grace time: QUIT, KILL, and the last writes to the database.
ENDING_SECONDS = 20.0


def control_pool(
    options: argparse.Namespace, lock: Path, finishing_lock: Path, queue: DatabaseQueue, bot_timeout_seconds: float
) -> int:
    """What --status, --health or --stop asks for; the exit code. `finishing_lock`: see PoolParts.

    --status gives 0 when the pool runs, --health when the verdict is working, --stop when the pool has ended or none
    runs; else they give 1.
    """
    if options.status:
        return _show_status(lock, finishing_lock, queue)
    if options.health:
        verdict = check_health(queue)
        print("\n".join(in_words(verdict)))
        return ExitCode.OK if verdict.is_well else ExitCode.UNEXPECTED
    running = [held for held in (lock, finishing_lock) if PoolLock(held).holder() is not None]
    for held in running:
        _stop_pool(held, options.at_once, grace_seconds(bot_timeout_seconds) + ENDING_SECONDS)
    if not running:
        print("no pool of this installation is running")
    return ExitCode.OK


def _show_status(lock: Path, finishing_lock: Path, queue: DatabaseQueue) -> int:
    holder, finishing = PoolLock(lock).holder(), PoolLock(finishing_lock).holder()
    print("pool     not running here" if holder is None else f"pool     running, {_place(holder)}")
    if finishing is not None:
        print(f"         {_place(finishing)} only finishes its last updates")
    try:
        print("\n".join(_status_lines(holder, queue)))
    except ScalableError as error:
        print(f"queue    cannot be asked: {error}")
    return ExitCode.OK if holder is not None else ExitCode.UNEXPECTED


def _place(holder: Holder) -> str:
    return f"pid {holder.pid}" if holder.is_here else f"pid {holder.pid} on {holder.host}"


def _status_lines(holder: Holder | None, queue: DatabaseQueue) -> list[str]:
    alive = queue.workers.alive()
    ours = [] if holder is None else [w for w in alive if w.pool.startswith(f"{holder.host}:{holder.pid}-")]
    running = sum(bool(worker.job_ids) for worker in ours)
    counts = queue.counts()
    lines = [f"workers  {len(ours)}, {running} of them running the bot"] if holder is not None else []
    if len(alive) > len(ours):
        lines.append(f"         {len(alive) - len(ours)} of other pools, or without one")
    lines.append(f"queue    {counts.pending} pending, {counts.processing} processing, {counts.failed} failed")
    word, *reasons = in_words(check_health(queue))
    return [*lines, f"verdict  {word}", *(f"         {reason}" for reason in reasons)]


def _stop_pool(lock: Path, at_once: bool, longest_seconds: float) -> None:
    holder = PoolLock(lock).holder()
    if holder is None:  # it has ended just now
        return
    if holder.pid is None or not holder.is_here:
        raise ScalableError(f"the pool runs on another machine ({_place(holder)}): run this command there")
    print(f"the pool (pid {holder.pid}) ends{' at once' if at_once else ' after the jobs at hand'} …", flush=True)
    os.kill(holder.pid, signal.SIGQUIT if at_once else signal.SIGTERM)
    ends = time.monotonic() + longest_seconds
    while PoolLock(lock).holder() == holder:
        if time.monotonic() >= ends:
            raise ScalableError(f"the pool (pid {holder.pid}) has not ended within {longest_seconds:.0f} s")
        time.sleep(STEP_SECONDS)
    print("it has ended")
