"""Starts `worker.py --drain` from a web request, as a process of its own that no web server waits for or ends.

Its session, its standard streams and its environment are its own. What it has to say is in a file of the data folder:
the server's log belongs to the request, and Apache would wait until the drain closes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import ScalableError
from scalable.lib.logs import OncePer, event
from scalable.lib.pool.drain_lock import DrainLock, take_drain_lock
from scalable.lib.pool.pool_lock import PoolLock
from scalable.lib.usual_path import USUAL_PATH

if TYPE_CHECKING:  # a webhook that starts nothing does not pay for subprocess
    from scalable.lib.pool.drain_process import StartedDrain

log = logging.getLogger(__name__)
# How long a drain begins new jobs. Hosts end what lasts long; when there is more to do, another one follows.
DRAIN_SECONDS = 25.0
MAX_LOG_BYTES = 256 * 1024
# What of a request's process reaches the drain and its bots; not the request itself. As little as cron gives, or more.
PASSED = (
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
)


@dataclass(frozen=True)
class DrainPlaces:
    """The files of an installation that a drain has to do with."""

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
        """Have the queue drained soon, by a drain that is started now or by whoever works already. Never raises."""
        try:
            drain = self.start(DRAIN_SECONDS, waits_for_retries=True)
        except (ScalableError, OSError) as error:
            if self._may_log():
                log.error(event("drain not started", cause=error))
            return
        if drain is not None:
            drain.let_go()

    def start_drain_after(self, before: Callable[[], None]) -> Callable[[], None]:
        """The kick, with something to be done first."""

        def work() -> None:
            before()
            self.start_drain()

        return work

    def start(self, seconds: float, waits_for_retries: bool = False) -> Optional[StartedDrain]:
        """A drain that begins no job after `seconds`; None when a pool or another drain is at work.

        Raises ConfigurationError or NoProcessLeft when it cannot be started.
        """
        if PoolLock(self._places.pool_lock).holder() is not None:
            return None
        lock = take_drain_lock(self._places.drain_lock)
        if lock is None:
            return None
        try:
            return self._started(seconds, waits_for_retries, lock)
        finally:
            lock.leave()

    def _started(self, seconds: float, waits_for_retries: bool, lock: DrainLock) -> StartedDrain:
        from scalable.lib.pool.drain_process import StartedDrain
        from scalable.lib.pool.find_python import find_python

        command = [
            find_python(),
            str(self._places.script),
            "--drain",
            "--max-seconds",
            f"{seconds:g}",
            *(["--linger"] if waits_for_retries else []),
        ]
        with open(self._places.log, _mode(self._places.log), opener=_private) as output:
            return StartedDrain(command, self._environment, lock.descriptor, output)


def drain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a drain gets of `environment`: PASSED, and every BOT_* variable."""
    passed = {name: value for name, value in environment.items() if name in PASSED or name.startswith("BOT_")}
    return {"PATH": USUAL_PATH, **passed}


def _mode(path: Path) -> str:
    """Append, or begin anew when there is more than anybody will read."""
    try:
        return "ab" if path.stat().st_size < MAX_LOG_BYTES else "wb"
    except FileNotFoundError:
        return "ab"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
