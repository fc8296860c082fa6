"""The row of a new job, with its priority: by whether the answer loses its use within a minute, some minutes, or never.

Cheap to import: a CGI process does it for each update.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from scalable.lib.telegram.update import Update

PRESSING, URGENT, ORDINARY = 0, 1, 2
PRESSING_SECONDS = 60.0


def new_row(update: Update) -> dict[str, str | float | None]:
    """The parameters of statements.ENQUEUE for a new job of `update`."""
    return {
        "payload": update.payload,
        "update_id": update.update_id,
        "update_type": update.update_type,
        "lane": update.lane,
        "priority": priority_of(update.urgent_seconds),
        "urgent_seconds": update.urgent_seconds,
        "expires_seconds": update.expires_seconds,
    }


def priority_of(urgent_seconds: float | None) -> int:
    """PRESSING, URGENT or ORDINARY: the fewer seconds a job has, the sooner it runs. None: no deadline."""
    if urgent_seconds is None:
        return ORDINARY
    return PRESSING if urgent_seconds <= PRESSING_SECONDS else URGENT
