"""A bot that has answered and works on: waited for until a limit of its own, then ended, whatever runner it has."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

# How long a bot whose answer is whole may take to end before that is told: most end in the same moment.
WHOLE_SECONDS = 0.25


class _TimeIsOver(Exception):
    """The worker stops, and the bot has had the time of a run."""


@dataclass
class WorkingOn(ABC):
    """It began at `started` (time.monotonic). `timeout_seconds` from then on are for a run without an answer.

    With one it may go on until `background_seconds` after its start. `warnings`: what the whole run wrote for its
    operator, so far.
    """

    started: float
    timeout_seconds: float
    background_seconds: float
    warnings: Callable[[], str]

    @property
    def seconds_left(self) -> float:
        """Until it is ended."""
        return self.started + self.background_seconds - time.monotonic()

    def wait(self, tick: Callable[[], None], is_stopping: Callable[[], bool]) -> str:
        """Wait for its end, and end it at its limit; a warning for a person, or an empty text.

        `is_stopping`: whether it has no more time than a run without an answer. `tick` is called about twice a second;
        what it raises ends the bot and is passed on. To be called once, before the next run.
        """

        def checked_tick() -> None:
            tick()
            if is_stopping() and time.monotonic() >= self.started + self.timeout_seconds:
                raise _TimeIsOver

        try:
            problem = self._follow(self.started + self.background_seconds, checked_tick)
        except _TimeIsOver:
            return "; ".join(filter(None, ("stopped, because its worker stops", self._end())))
        except BaseException:
            self._end()
            raise
        if problem is not None:
            return problem
        stopped = f"stopped after {self.background_seconds:g} s (BOT_LEGACY_BACKGROUND_SECONDS)"
        return "; ".join(filter(None, (stopped, self._end())))

    @abstractmethod
    def _follow(self, deadline: float, tick: Callable[[], None]) -> Optional[str]:
        """Wait for its end; what went wrong, an empty text when nothing did, or None when it runs at `deadline`."""

    @abstractmethod
    def _end(self) -> str:
        """End it as far as that is possible; a text on what may still run, or an empty one."""
