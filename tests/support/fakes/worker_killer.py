"""Kills workers of a running pool at random, and has a bot that writes down its runs for judge.py.

Only the worker is killed: the pool and the process reaper have to end its bot before another worker gets the job.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

from tests.support.generators.reaped_bots import is_guard
from tests.support.judges.judge import Kill, Note

STEP_SECONDS = 0.005
PATIENCE_SECONDS = 5.0

# Writes a line when a run starts and one when it ends, and one when another run of its lane is alive: all of that by
# locks the kernel takes back from the dead, and by the clock all processes share (CLOCK_MONOTONIC).
JOURNAL_BOT = """
import fcntl, json, os, random, sys, time
update = json.load(sys.stdin)

def write(event):
    line = {"event": event, "update": update["update_id"], "lane": update["lane"], "pid": os.getpid(),
            "worker": os.getppid(), "host": os.uname().nodename, "at": time.monotonic()}
    with open("journal", "a") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        journal.write(json.dumps(line) + "\\n")

lane = open("lock-" + update["lane"], "w")
try:
    fcntl.flock(lane, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    write("beside another")
write("start")
time.sleep(random.random() * 0.06)
bad = update["always_fails"] or random.random() < 0.05
write("failed" if bad else "succeeded")
sys.exit(1 if bad else 0)
"""


def kill_one_worker(pool: int, chance: random.Random) -> Kill | None:
    """KILL one of the pool's workers; None when it has none just now."""
    workers = children(pool)
    if not workers:
        return None
    worker = chance.choice(workers)
    # Stopped first, so that it cannot start another bot while it is looked at.
    if not _send(worker, signal.SIGSTOP) or not comes_to(worker, "TZX"):
        return None
    bots = tuple(child for child in children(worker) if not is_guard(child))
    at = time.monotonic()
    _send(worker, signal.SIGKILL)
    assert all(comes_to(bot, "ZX") for bot in bots), f"a bot of the dead worker {worker} lives on: {bots}"
    return Kill(worker, bots, at, time.monotonic())


def children(pid: int) -> list[int]:
    """Ids of the processes that `pid` started and that live."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return sorted(child for child in found if _state(child) not in "ZX")


def _state(pid: int) -> str:
    """One letter of proc(5); X when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def comes_to(pid: int, states: str) -> bool:
    """Whether the process gets into one of these states within some seconds: letters of proc(5), X when it is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _state(pid) not in states:
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_SECONDS)
    return True


def read_journal(journal: Path) -> list[Note]:
    """What JOURNAL_BOT wrote."""
    return [Note(**json.loads(line)) for line in journal.read_text().splitlines()]
