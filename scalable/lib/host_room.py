"""What the host lets this user have at the same time, and how many more runs of the bot that is good for.

Read from the user's limit of processes (getrlimit(2), RLIMIT_NPROC), from the control group and those above it
(cgroups(7), both versions), and from the machine's memory (proc(5), meminfo). What a host does not show is no limit.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

PROCESSES, MEMORY = "processes and threads", "memory"
MEGABYTE = 1024 * 1024
# What one run takes beside others: a thread of the worker, the bot's process and one more that it may start; a php-cgi
# with a library or two (measured, see docs/hosting.md).
PROCESSES_OF_A_RUN = 3
MEMORY_OF_A_RUN = 48 * MEGABYTE
# The share of each limit that is left for everything else of this user: the web server, mail, a shell.
KEPT_FREE = 0.1
# Above this, version 1 of the control groups says that there is no limit (the largest number that fits, by pages).
NO_LIMIT = 1 << 60
# How long an answer is good for: a worker asks each time it might run more at the same time.
SECONDS = 2.0


@dataclass(frozen=True)
class HostLimit:
    """`used` of `most`, of what `name` says; memory in bytes."""

    name: str
    used: int
    most: int

    @property
    def runs_left(self) -> int:
        """How many more runs fit, a tenth kept free."""
        each = MEMORY_OF_A_RUN if self.name == MEMORY else PROCESSES_OF_A_RUN
        return max(0, int(self.most * (1 - KEPT_FREE) - self.used) // each)

    def __str__(self) -> str:
        if self.name == MEMORY:
            return f"{self.used // MEGABYTE} of {self.most // MEGABYTE} MB {self.name}"
        return f"{self.used} of {self.most} {self.name}"


def host_limits(root: Path = Path("/")) -> list[HostLimit]:
    """The narrowest limit of each name that can be read. `root`: where proc and sys are."""
    narrowest: dict[str, HostLimit] = {}
    for limit in (*_of_user(root), *_of_control_groups(root), *_of_machine(root)):
        if limit.name not in narrowest or limit.runs_left < narrowest[limit.name].runs_left:
            narrowest[limit.name] = limit
    return list(narrowest.values())


def runs_left(limits: Sequence[HostLimit]) -> float:
    """How many more runs fit into all of them; infinite without any."""
    return min((limit.runs_left for limit in limits), default=math.inf)


class HostRoom:
    """`runs_left` of this host, asked every SECONDS at most."""

    def __init__(
        self,
        read: Callable[[], Sequence[HostLimit]] = host_limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._good_until = -math.inf
        self._left = math.inf

    def runs_left(self) -> float:
        """How many more runs fit; infinite when nothing is known."""
        if self._clock() >= self._good_until:
            self._left = runs_left(self._read())
            self._good_until = self._clock() + SECONDS
        return self._left


def _of_user(root: Path) -> Iterator[HostLimit]:
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY and os.geteuid() != 0:  # root is not held to it
        yield HostLimit(PROCESSES, _own_threads(root / "proc"), most)


def _own_threads(proc: Path) -> int:
    """How many threads this user has: that is what the kernel counts."""
    count = 0
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if process.stat().st_uid == os.geteuid():
                count += len(os.listdir(process / "task"))
    return count


def _of_control_groups(root: Path) -> Iterator[HostLimit]:
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0":  # version 2, alone or beside version 1
            for base in (mounted, mounted / "unified"):
                for group in _upwards(base, place):
                    yield from _limit(PROCESSES, group / "pids.current", group / "pids.max")
                    yield from _limit(MEMORY, group / "memory.current", group / "memory.max", group)
        for controller in controllers.split(","):
            for group in _upwards(mounted / controller, place) if controller in ("pids", "memory") else ():
                yield from _limit(PROCESSES, group / "pids.current", group / "pids.max")
                yield from _limit(MEMORY, group / "memory.usage_in_bytes", group / "memory.limit_in_bytes", group)


def _upwards(base: Path, place: str) -> Iterator[Path]:
    """The group and those above it; inside a container the path may be one that only its host has."""
    inner = place.strip("/")
    while inner:
        yield base / inner
        inner = inner.rpartition("/")[0]
    yield base


def _limit(name: str, used: Path, most: Path, statistics: Optional[Path] = None) -> Iterator[HostLimit]:
    used_now, most_ever = _number(used), _number(most)
    if used_now is not None and most_ever is not None and most_ever < NO_LIMIT:
        cache = 0 if statistics is None else _inactive_file(statistics / "memory.stat")
        yield HostLimit(name, max(0, used_now - cache), most_ever)


def _number(path: Path) -> Optional[int]:
    """None where there is no such file, or it says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _inactive_file(statistics: Path) -> int:
    """What the kernel would give up for anybody who needs memory, in bytes."""
    with suppress(OSError):
        for line in statistics.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def _of_machine(root: Path) -> Iterator[HostLimit]:
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(value.split()[0]) * 1024
    if len(found) == 2:
        yield HostLimit(MEMORY, found["MemTotal"] - found["MemAvailable"], found["MemTotal"])
