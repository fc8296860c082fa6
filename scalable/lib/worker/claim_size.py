"""How many jobs a worker claims at once, so that claims cost less than runs: a tenth of a second of work for each slot.

Twice as much after each claim that got all it asked for, up to half a second, because then there is more than the
workers can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from scalable.lib.queue.job import ClaimedJob

MAX_BATCH = 64
HELD_SECONDS, MOST_HELD_SECONDS = 0.1, 0.5
# A bot that takes longer mostly waits for others: a second one beside it costs little.
SLOW_SECONDS = 0.05


class ClaimSize:
    """Of one worker."""

    def __init__(self) -> None:
        self._run_seconds: Optional[float] = None
        self._held_seconds = HELD_SECONDS

    @property
    def per_slot(self) -> int:
        """How many jobs to hand to one slot."""
        if self._run_seconds is None:
            return 1
        return max(1, min(MAX_BATCH, int(self._held_seconds / max(self._run_seconds, 0.001))))

    @property
    def runs_are_slow(self) -> bool:
        """Whether the last runs took so long that more of them at the same time are useful."""
        return self._run_seconds is not None and self._run_seconds >= SLOW_SECONDS

    def ran(self, seconds: float) -> None:
        """Record how long a run took: the size of the next claim depends on the slower of the last two."""
        self._run_seconds = seconds if self._run_seconds is None else max(seconds, self._run_seconds * 0.8)

    def claimed(self, got_all: bool) -> None:
        """Record a claim, and whether it got all it asked for."""
        self._held_seconds = min(self._held_seconds * 2, MOST_HELD_SECONDS) if got_all else HELD_SECONDS


def whole_lanes(lanes: Sequence[Sequence[ClaimedJob]], per_slot: int) -> list[list[ClaimedJob]]:
    """Lists of at least `per_slot` jobs, but for the last one, in which the jobs of a lane are together."""
    lists: list[list[ClaimedJob]] = []
    for jobs in lanes:
        if not lists or len(lists[-1]) >= per_slot:
            lists.append([])
        lists[-1] += jobs
    return lists
