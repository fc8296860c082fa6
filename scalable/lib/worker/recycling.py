"""Decides when a worker is replaced by a new one: its end frees what a bot or a library leaks."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.logs import OncePer

MOST_RUNS = 100_000
MOST_SECONDS = 86_400.0
# Beyond what it used at the first check. Shared hosts often have 1 GB for everything.
MOST_MORE_MEGABYTES = 200.0
CHECK_SECONDS = 10.0


def resident_megabytes() -> float:
    """What this process has in memory now; where /proc is missing, the most it ever had (getrusage(2))."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
    except OSError:
        return peak_memory_kb() / 1024


def peak_memory_kb() -> int:
    """The most memory this process has used; the kernel gives bytes on macOS, else KiB (getrusage(2))."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest // 1024 if sys.platform == "darwin" else largest


class Recycling:
    """Of one worker. Its greatest age is between nine tenths and eleven tenths of a day: not all end at once."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        megabytes: Callable[[], float] = resident_megabytes,
    ) -> None:
        self._clock = clock
        self._megabytes = megabytes
        self._ends = clock() + MOST_SECONDS * (0.9 + 0.2 * chance())
        self._check_due = OncePer(CHECK_SECONDS, clock)
        self._at_first: Optional[float] = None

    def reason(self, runs: int) -> Optional[str]:
        """Why the worker should be replaced after so many runs of the bot, in a few words; None: it need not."""
        if runs >= MOST_RUNS:
            return f"{runs} updates"
        if self._clock() >= self._ends:
            return "its age"
        if not runs or not self._check_due():
            return None
        used = self._megabytes()
        if self._at_first is None:  # what the bot imports counts as its ordinary size
            self._at_first = used
        grown = used - self._at_first
        return f"{grown:.0f} MB more memory than at first" if grown > MOST_MORE_MEGABYTES else None
