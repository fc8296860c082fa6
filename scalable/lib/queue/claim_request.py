"""What a claim asks for: a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from scalable.lib.queue.job import ClaimedLane


@dataclass(frozen=True)
class ClaimRequest:
    """Who wants jobs of how many lanes, and under a lease of how long.

    `jobs`: how many of these lanes in all; None: one of each. `urgent_only`: none without a deadline. `probe_without`:
    a probe, claimed although the bot's side is down, and none of these jobs. `not_from`: and only one that has never
    failed, of none of these origins.
    """

    worker: str
    lease_seconds: float
    lanes: int
    jobs: Optional[int] = None
    urgent_only: bool = False
    probe_without: Optional[Sequence[int]] = None
    not_from: Optional[frozenset[str]] = None

    def without(self, claimed: list[ClaimedLane]) -> ClaimRequest:
        """What is missing when these were claimed."""
        jobs = None if self.jobs is None else self.jobs - sum(len(lane.jobs) for lane in claimed)
        return replace(self, lanes=self.lanes - len(claimed), jobs=jobs)

    @property
    def is_fulfilled(self) -> bool:
        """Whether nothing is missing."""
        return self.lanes <= 0 or (self.jobs is not None and self.jobs <= 0)
