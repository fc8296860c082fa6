"""How long a failed job waits and when it has been tried often enough. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off: base, base·2, base·4 … seconds, never more than `max_seconds`.

    `has_breaker`: while the bot's side is down, jobs wait and no attempt is counted.
    """

    max_attempts: int = 6
    base_seconds: int = 5
    max_seconds: int = 300
    has_breaker: bool = True

    def delay_seconds(self, attempts: int) -> int:
        """Seconds to wait after failed attempt number `attempts`, which counts from 1."""
        doublings = min(max(attempts, 1) - 1, 40)  # 2**40 seconds is past any maximum; keeps the number small
        return min(self.base_seconds << doublings, self.max_seconds)

    def used_up(self, attempts: int) -> bool:
        """Whether a job that was tried `attempts` times is not to be tried again."""
        return attempts >= self.max_attempts
