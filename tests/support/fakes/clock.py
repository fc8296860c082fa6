"""A clock that only moves when a test says so."""

from __future__ import annotations


class FakeClock:
    """Call it for the time in seconds; it starts away from zero, so that `0` cannot pass for a real reading."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds
