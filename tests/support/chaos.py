"""Kills workers of a running pool at random, and judges afterwards what the bots wrote down about their runs.

Only the worker is killed: ending its bot, before anybody else gets the job, is what the pool and the guard are for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Kill:
    """One worker that was killed `at` a moment, and the bots it ran, all of them dead when they were `gone`."""

    worker: int
    bots: tuple[int, ...]
    at: float
    gone: float


@dataclass(frozen=True)
class Run:
    """One run of the bot. `result` is succeeded, failed or killed; a killed one ended when its killing was over."""

    update: int
    lane: str
    worker: int
    start: float
    end: float
    result: str
    host: str = ""


def kill_one_worker(pool: int, chance: random.Random) -> Kill | None:
    """KILL one of the pool's workers; None when it has none just now."""
    workers = children(pool)
    if not workers:
        return None
    worker = chance.choice(workers)
    # Stopped first, so that it cannot start another bot while it is looked at.
    if not _send(worker, signal.SIGSTOP) or not _comes_to(worker, "TZX"):
        return None
    bots = tuple(child for child in children(worker) if not _is_guard(child))
    at = time.monotonic()
    _send(worker, signal.SIGKILL)
    assert all(_comes_to(bot, "ZX") for bot in bots), f"a bot of the dead worker {worker} lives on: {bots}"
    return Kill(worker, bots, at, time.monotonic())


def _is_guard(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"scalable-guard" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


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


def _comes_to(pid: int, states: str) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _state(pid) not in states:
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_SECONDS)
    return True


def read_runs(journal: Path, kills: Sequence[Kill]) -> tuple[list[Run], list[str]]:
    """All runs in the order of their starts, and what is wrong with the journal itself.

    While the bots still write, a run that has not ended is missing, and told as wrong.
    """
    killed_at = {bot: kill.gone for kill in kills for bot in kill.bots}
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    wrong = [f"two live runs of a lane: {line}" for line in lines if line["event"] == "beside another"]
    ends = {(line["pid"], line["update"]): line for line in lines if line["event"] in ("succeeded", "failed")}
    runs = []
    for line in lines:
        if line["event"] != "start":
            continue
        end = ends.get((line["pid"], line["update"]))
        if end is None and line["pid"] not in killed_at:
            wrong.append(f"a run without an end, and nobody killed it: {line}")
            continue
        result, at = ("killed", killed_at[line["pid"]]) if end is None else (end["event"], end["at"])
        runs.append(Run(line["update"], line["lane"], line["worker"], line["at"], at, result, line["host"]))
    return sorted(runs, key=lambda run: run.start), wrong


def find_wrongs(runs: Sequence[Run], kills: Sequence[Kill], states: dict[int, str], delay_seconds: float) -> list[str]:
    """Every rule that was broken; empty when order and delivery are as promised. `states` is what the queue says."""
    by_update: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_update[run.update].append(run)
    wrong = [f"update {update} is {state}" for update, state in states.items()
             if state not in ("done", "failed", "expired")]
    wrong += [f"update {update} is done, and no run of it succeeded" for update, state in states.items()
              if state == "done" and all(run.result != "succeeded" for run in by_update[update])]
    killed_workers = {kill.worker: kill.at for kill in kills}
    for tries in by_update.values():
        wrong += _wrong_reruns(tries, killed_workers, delay_seconds)
    lanes: dict[str, list[int]] = defaultdict(list)
    for update in sorted(by_update):
        lanes[by_update[update][0].lane].append(update)
    for updates in lanes.values():
        for earlier, later in zip(updates, updates[1:]):
            if max(run.end for run in by_update[earlier]) > by_update[later][0].start:
                wrong.append(f"update {later} started before {earlier} was over: "
                             f"{by_update[earlier]} {by_update[later]}")
    return wrong


def _wrong_reruns(tries: Sequence[Run], killed_workers: dict[int, float], delay_seconds: float) -> list[str]:
    """A rerun comes after a failure or after the death of the worker, never beside the run before, and has waited."""
    wrong = []
    for before, again in zip(tries, tries[1:]):
        lease_ended = killed_workers.get(before.worker) if before.result != "failed" else before.end
        if before.result == "failed" and before.worker in killed_workers:
            lease_ended = before.end  # it may have told the queue before it died
        if lease_ended is None:
            wrong.append(f"run again although it {before.result} and its worker lived on: {before} {again}")
        elif again.start < lease_ended + delay_seconds:
            wrong.append(f"run again before its lease had ended and its delay was over: {before} {again}")
    return wrong
