"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

# For all that only has to happen in the end. A machine that does other work as well may stand still for many seconds,
# and who waits for long loses time only where the test fails.
PATIENCE_SECONDS = 90.0
# The limit of what is not to wait for somebody who takes a minute, or never comes.
SOON_SECONDS = 30.0


def eventually(condition: Callable[[], object], within_seconds: float = PATIENCE_SECONDS) -> None:
    """Return once `condition()` holds; fail after the time is over."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s"
        time.sleep(0.005)
