"""How long a run or a request may take, and the tick to call meanwhile. Does not wait for anything itself."""

from __future__ import annotations

import time
from collections.abc import Callable

# How often the tick is called, which may raise to end the wait.
TICK_SECONDS = 0.5


class DeadlinePassed(Exception):
    """The time is over. The caller that made the Deadline decides what that means."""


class TickRaised(Exception):
    """The tick raised `reason` to end the wait. The code that waits stops and raises `reason` itself."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__("the tick ended the wait")
        self.reason = reason


class Deadline:
    """Begins when it is made. Code that waits does so in slices, and asks here before each of them."""

    def __init__(
        self, timeout_seconds: float, tick: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._tick = tick
        self._started = clock()
        self._deadline = self._started + timeout_seconds
        self._next_tick = self._started + TICK_SECONDS

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self._started

    def wait_seconds(self) -> float:
        """How long to wait before asking again: TICK_SECONDS at most. Calls the tick when it is due.

        After a slow tick the time may be over, and 0 is returned all the same: what is waited for may be there.
        Raises DeadlinePassed, and TickRaised: wrapped, so that no handler on the way takes it for an error of its own.
        """
        now = self._clock()
        if now >= self._deadline:
            raise DeadlinePassed
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._call_tick()
            now = self._clock()
        return max(0.0, min(self._next_tick, self._deadline) - now)

    def _call_tick(self) -> None:
        try:
            self._tick()
        except BaseException as error:
            raise TickRaised(error) from error
