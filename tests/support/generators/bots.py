"""Small programs to run as bots, and ways to learn what became of them without sleeping."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scalable.lib.runners.judgement import judge
from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.runner import Runner
from tests.support.waiting import PATIENCE_SECONDS

# Takes the lock on the file named by its argument, says so, then stays for longer than any test.
STAYS = """
import fcntl, sys, time
held = open(sys.argv[1], "w")
fcntl.flock(held, fcntl.LOCK_EX)
sys.stdout.write("holding\\n")
sys.stdout.flush()
time.sleep(600)
"""


def outcome_of(runner: Runner, payload: str = "{}", tick: Callable[[], None] = lambda: None) -> Outcome:
    """What a worker makes of one run."""
    return judge(runner.run(payload, tick))


def python_bot(folder: Path, code: str, name: str = "bot") -> Path:
    """An executable bot; started without site-packages, so that it is up in a few milliseconds."""
    bot = folder / name
    bot.write_text(f"#!{sys.executable} -IS\n{code}", encoding="utf-8")
    bot.chmod(0o755)
    return bot


def shell_bot(folder: Path, code: str, name: str = "bot") -> Path:
    """An executable bot for the shell."""
    bot = folder / name
    bot.write_text(f"#!/bin/sh\n{code}\n", encoding="utf-8")
    bot.chmod(0o755)
    return bot


def is_let_go(lock: Path, within_seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether no process holds the lock on `lock` any more: the kernel takes it back when its holder is dead."""
    deadline = time.monotonic() + within_seconds
    with lock.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)


def is_held(lock: Path, within_seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether a process holds the lock on `lock`, or takes it in time: a bot that does is up."""
    deadline = time.monotonic() + within_seconds
    while not lock.exists() or is_let_go(lock, 0):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
