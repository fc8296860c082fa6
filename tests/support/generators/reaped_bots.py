"""A real worker process that runs real bots under a process reaper, for a test to kill; and ways to see them all."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.support.generators.bots import STAYS, python_bot
from tests.support.places import REPOSITORY
from tests.support.waiting import PATIENCE_SECONDS, eventually

# Runs the bots of its arguments at the same time, one thread each, and ends when they have. A session leader that opens
# a terminal is in its foreground (tty_ioctl(4)).
WORKER = """
import os, signal, sys, threading
from pathlib import Path
root, lifeline, interrupted, terminal, *bots = sys.argv[1:]
sys.path.insert(0, root)
from scalable.lib.runners.cli import CliRunner
from scalable.lib.runners.process_reaper import ProcessReaper
signal.signal(signal.SIGINT, lambda *_: Path(interrupted).touch())
if terminal:
    os.open(terminal, os.O_RDWR)
reaper = ProcessReaper(int(lifeline))
runs = [threading.Thread(target=CliRunner(Path(bot), 600, reaper=reaper).run, args=("{}",)) for bot in bots]
for run in runs:
    run.start()
for run in runs:
    run.join()
"""
# A bot that holds a lock, and so does its child, and the child of that; none of them listens to TERM.
FAMILY = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
me, *others = sys.argv[1:] or {{locks!r}}
if others:
    subprocess.Popen([sys.executable, "-IS", __file__, *others])
sys.argv[1:] = [me]
{STAYS}
"""


def family_bot(folder: Path, name: str = "bot") -> tuple[Path, list[Path]]:
    """A bot that stays, with child and grandchild, all deaf to TERM; and the lock each of them holds while it lives."""
    locks = [folder / f"{name}-{member}.lock" for member in ("parent", "child", "grandchild")]
    return python_bot(folder, FAMILY.format(locks=[str(lock) for lock in locks]), name), locks


class GuardedWorker:
    """A worker that runs `bots`, as soon as it is made; ended by `with`. The test has the other end of its lifeline.

    `terminal` is the path of one to run in the foreground of.
    """

    def __init__(self, folder: Path, bots: Sequence[Path], terminal: str = "") -> None:
        self.interrupted = folder / "interrupted"
        self._bots = bots
        self._guards: list[int] = []
        self._lifeline, inherited = os.pipe()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                WORKER,
                str(REPOSITORY),
                str(inherited),
                str(self.interrupted),
                terminal,
                *map(str, bots),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(inherited,),
            start_new_session=True,
        )
        os.close(inherited)

    def find_guard(self) -> int:
        """The process id of its process reaper, once there is one."""
        reaper = guard_of(self.process.pid)
        self._guards.append(reaper)
        return reaper

    def kill(self) -> None:
        """KILL, so that it cannot do anything about its bots any more."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE_SECONDS)

    def kill_bots(self) -> None:
        """KILL to the groups of its bots, whose parent it may be no more."""
        for pid in processes():
            if any(str(bot).encode() in _command(pid) for bot in self._bots):
                os.kill(pid, signal.SIGKILL)

    def lifeline_ended(self, within_seconds: float) -> bool:
        """Whether no process has the other end of the lifeline any more."""
        readable, _, _ = select.select([self._lifeline], [], [], within_seconds)
        return bool(readable) and os.read(self._lifeline, 1) == b""

    def __enter__(self) -> GuardedWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.kill_bots()
        for reaper in filter(is_guard, self._guards):
            os.kill(reaper, signal.SIGCONT)
        os.close(self._lifeline)


def guard_of(worker: int) -> int:
    """The process id of the only process reaper of `worker`; one that was started just now is waited for."""
    eventually(lambda: guards_of(worker))  # the kernel shows a new command line only after exec has answered
    [reaper] = guards_of(worker)
    return reaper


def guards_of(worker: int) -> list[int]:
    """Process ids of the process reapers that are children of `worker`; one that is dead does not count."""
    return [pid for pid in processes() if is_guard(pid) and parent(pid) == worker]


def is_guard(pid: int) -> bool:
    """Whether the process lives and is a process reaper."""
    return _command(pid)[-1:] == [b"scalable-guard"]


def state(pid: int) -> str:
    """One letter for what the process does (proc(5)): S sleeps, T is stopped, Z is dead and not reaped; - is gone."""
    try:
        return _stat(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return "-"


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether the process ignores a signal by now."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(mask >> (number - 1) & 1)


def processes() -> list[int]:
    """The process ids of everybody on this machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def parent(pid: int) -> int:
    """Who its parent is; 0 when it is gone."""
    try:
        return int(_stat(pid)[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
