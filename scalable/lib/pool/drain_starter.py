"""Starts `worker.py --drain` from a web request, as a process that the web server neither waits for nor ends.

Its session, its standard streams and its environment are its own. Its log is a file of the data folder: the server's
log belongs to the request, and Apache would wait until the drain closes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Optional

from scalable.lib.errors import ScalableError
from scalable.lib.host_limits import within_limits
from scalable.lib.inherited_umask import inherited_umask
from scalable.lib.logs import OncePer, event
from scalable.lib.pool.drain_lock import DrainLock, take_drain_lock
from scalable.lib.pool.pool_lock import PoolLock
from scalable.lib.usual_path import USUAL_PATH

log = logging.getLogger(__name__)
# How long a drain begins new jobs. Hosts end long processes; when there is more to do, the next drain is started.
DRAIN_SECONDS = 25.0
# From the end of its pipe to the end of the process.
END_SECONDS = 5.0
# What of a request's process reaches the drain and its bots; not the request itself. As little as cron gives, or more.
PASSED = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
]


@dataclass(frozen=True)
class DrainPlaces:
    """The files of an installation that a drain uses."""

    script: Path
    pool_lock: Path
    drain_lock: Path
    log: Path


class DrainStarter:
    """Starts drains for one installation, one at a time, and none while a pool runs. Safe to share between threads."""

    def __init__(self, places: DrainPlaces, environment: Mapping[str, str]) -> None:
        self._places = places
        self._environment = drain_environment(environment)
        self._may_log = OncePer(60)

    def start_drain(self) -> None:
        """Have the queue drained soon, by a new drain, or by the drain or pool that runs already. Never raises."""
        try:
            drain = self.start(DRAIN_SECONDS, waits_for_retries=True)
        except (ScalableError, OSError) as error:
            if self._may_log():
                log.error(event("drain not started", cause=error))
            return
        if drain is not None:
            drain.detach()

    def start_drain_after(self, before: Callable[[], None]) -> Callable[[], None]:
        """What calls `before`, and then `start_drain`."""

        def work() -> None:
            before()
            self.start_drain()

        return work

    def start(self, seconds: float, waits_for_retries: bool = False) -> Optional[StartedDrain]:
        """A drain that begins no job after `seconds`; None when a pool or another drain runs.

        Raises ConfigurationError, NoProcessLeft or OSError when it cannot be started.
        """
        if PoolLock(self._places.pool_lock).holder() is not None:
            return None
        lock = take_drain_lock(self._places.drain_lock)
        if lock is None:
            return None
        try:
            return self._started(seconds, waits_for_retries, lock)
        finally:
            lock.close()

    def _started(self, seconds: float, waits_for_retries: bool, lock: DrainLock) -> StartedDrain:
        from scalable.lib.pool.find_python import find_python

        command = [find_python(), str(self._places.script), "--drain", "--max-seconds", f"{seconds:g}"]
        if waits_for_retries:
            command.append("--linger")
        with open(self._places.log, "ab", opener=_private) as output:  # the drain keeps it short (lib/log_file.py)
            return StartedDrain(command, self._environment, lock.descriptor, output)


def drain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a drain gets of `environment`: PASSED, and every BOT_* variable."""
    passed = {name: value for name, value in environment.items() if name in PASSED or name.startswith("BOT_")}
    return {"PATH": USUAL_PATH, **passed}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@dataclass(frozen=True)
class Drained:
    """What a drain has done: runs of the bot, and how many succeeded. `exit_code` is None while it goes on."""

    runs: int
    succeeded: int
    exit_code: Optional[int]


class StartedDrain:
    """The process that `command` starts; it inherits `lock` and a pipe for its reports, no other descriptor of ours.

    Raises NoProcessLeft or OSError when it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], lock: int, output: IO[bytes]) -> None:
        import subprocess  # imported here, because most webhook requests start no process

        with within_limits():
            self._reports, theirs = os.pipe()
        try:
            with within_limits():
                self._process = subprocess.Popen(
                    [*command, "--flight", str(lock), "--report", str(theirs)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=environment,
                    start_new_session=True,
                    umask=inherited_umask(),
                    pass_fds=[lock, theirs],
                )
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            os.close(theirs)

    def wait(self, seconds: float) -> Drained:
        """What it has done at its end, or after `seconds`."""
        ends = time.monotonic() + seconds
        said = b""
        while select.select([self._reports], [], [], max(0.0, ends - time.monotonic()))[0]:
            chunk = os.read(self._reports, 65536)
            if not chunk:
                return _drained(said, self._exit_code())
            said = (said + chunk)[-100:]
        return _drained(said, None)

    def _exit_code(self) -> Optional[int]:
        from subprocess import TimeoutExpired

        with contextlib.suppress(TimeoutExpired):
            return self._process.wait(END_SECONDS)
        return None

    def detach(self) -> None:
        """Leave it running. A thread waits for its end, or it would stay a zombie in a server that goes on; where no
        thread can be started, it stays one until the next drain is started."""
        os.close(self._reports)
        if self._process.poll() is None:
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._process.wait, name="drain", daemon=True).start()


def _drained(said: bytes, exit_code: Optional[int]) -> Drained:
    """From the last whole line of the reports."""
    lines = said.split(b"\n")[:-1]
    runs, succeeded = map(int, lines[-1].split()) if lines else (0, 0)
    return Drained(runs, succeeded, exit_code)
