"""The lines in the worker's log for what bots write as warnings: one for each kind and minute.

A bot whose database is away says so with every update, and a log of that would fill the disk.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from scalable.lib.logs import event
from scalable.lib.redaction import one_line

log = logging.getLogger(__name__)
SECONDS = 60.0
# Different kinds in one minute; more of them are counted together.
MOST_KINDS = 50
# What differs between two warnings of a kind: times, ids, addresses, what is quoted.
_VARIES = re.compile(r"""'[^']*'|"[^"]*"|0x[0-9a-fA-F]+|[0-9]+""")


class WarningLog:
    """Of one worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = 0.0
        self._counts: dict[str, int] = {}

    def log(self, job_id: int, text: str) -> None:
        """The run of a job wrote this: a line when it is the first of its kind in a minute; the others are counted.

        Their number is in the first line of that kind after the minute.
        """
        if self._clock() >= self._ends:
            self._begin_minute()
        kind = kind_of(text)
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = ""
        earlier = self._counts.get(kind, 0)
        self._counts[kind] = earlier + 1
        if not earlier:
            log.warning(event("bot warned", id=job_id, text=_in_a_line(text)))

    def _begin_minute(self) -> None:
        for kind, count in self._counts.items():
            if count > 1:
                log.warning(event("bot warned again", times=count - 1, kind=kind or "other warnings", seconds=SECONDS))
        self._counts = {}
        self._ends = self._clock() + SECONDS


def kind_of(text: str) -> str:
    """The same for warnings that differ only in numbers and in what is quoted."""
    return _VARIES.sub("…", _in_a_line(text))


def _in_a_line(text: str) -> str:
    return one_line(text.partition("\n")[0])
