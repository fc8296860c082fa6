"""A bot that does nothing, called inside the worker. It writes down when it got an update that is watched."""

from __future__ import annotations

import os
import time
from typing import Any

# Updates from this number on are watched: the others are there to be in their way.
FIRST_WATCHED = 1_000_000_000


def handle(update: dict[str, Any]) -> None:
    """One update; of a watched one a line with its number and the monotonic clock in nanoseconds."""
    if update["update_id"] >= FIRST_WATCHED:
        with open(os.environ["BOT_JOURNAL"], "a") as journal:
            journal.write(f"{update['update_id']} {time.monotonic_ns()}\n")
