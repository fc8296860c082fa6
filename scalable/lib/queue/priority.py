"""Who goes first: jobs that are of little use after a minute, after some minutes, and all others."""

from __future__ import annotations

PRESSING, URGENT, ORDINARY = 0, 1, 2
PRESSING_SECONDS = 60.0


def priority_of(urgent_seconds: float | None) -> int:
    """PRESSING, URGENT or ORDINARY: the fewer seconds a job has, the sooner it runs. None: no hurry."""
    if urgent_seconds is None:
        return ORDINARY
    return PRESSING if urgent_seconds <= PRESSING_SECONDS else URGENT
