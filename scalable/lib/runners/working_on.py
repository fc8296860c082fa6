"""A bot that has answered and works on, as the worker sees it, whatever runner it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class WorkingOn(ABC):
    """A bot that has given its whole answer and works on, as many do that let Telegram not wait."""

    @abstractmethod
    def wait(self, tick: Callable[[], None], is_stopping: Callable[[], bool]) -> str:
        """Wait for its end, and end it at its limit; a warning for a person, or an empty text.

        `is_stopping`: whether it has no more time than a run without an answer. `tick` is called about twice a second;
        what it raises ends the bot and is passed on. To be called once, before the next run.
        """
