"""The interface of every way to run the bot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Optional

from scalable.lib.runners.run_result import RunResult


class Runner(ABC):
    """A way to run the bot. For one thread at a time."""

    @abstractmethod
    def check(self) -> str:
        """How the bot will be run, in one line for a person. Raises BotMissing when it cannot be."""

    @abstractmethod
    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """Run the bot with one update; whatever the bot does is in the result.

        `tick` is called about twice a second while the bot runs; what it raises ends the run and is passed on.
        Raises NoProcessLeft when the host does not let the bot be started, and BotUnsuitable when no way to run it is
        certain; then it was not run.
        """

    @property
    def retire_reason(self) -> Optional[str]:
        """Why only another process can go on running the bot, in a few words; None: this one can."""
        return None

    @property
    def runs_side_by_side(self) -> bool:
        """Whether the bot may be run at the same time by another runner of this process without having been asked."""
        return True

    def rest(self) -> None:  # noqa: B027 - most runners keep nothing
        """Release what only makes the next run quicker, because none has come for a while; safe to repeat."""

    def close(self) -> None:  # noqa: B027 - most runners keep nothing
        """Release what is kept from one run to the next; safe to repeat, and another run may follow."""
