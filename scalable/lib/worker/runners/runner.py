"""What every way to run the bot has in common, as its users see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from scalable.lib.worker.outcome import Outcome


class Runner(Protocol):
    """A way to run the bot. For one thread at a time."""

    def check(self) -> str:
        """How the bot will be run, in one line for a person. Raises BotMissing when it cannot be."""

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> Outcome:
        """Run the bot with one update; whatever the bot does becomes an Outcome.

        `tick` is called about twice a second while the bot runs; what it raises ends the run and is passed on.
        """

    def close(self) -> None:
        """Let go of what is kept from one run to the next; safe to repeat, and another run may follow."""
