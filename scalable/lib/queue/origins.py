"""Whom an update is from: its lane and its sender, as short fingerprints that fit into a note by the dozen.

Read from the payload only of jobs that failed, and of those that may be probed while the bot's side is down.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any, Optional

# Of an update's content, the first that is there: who did it.
_SENDERS = (("from",), ("user",), ("boost", "source", "user"))


@dataclass(frozen=True)
class Origin:
    """A job without a lane is a lane of its own; an update that names no sender is taken to be of its lane."""

    lane: str
    sender: str

    @property
    def marks(self) -> tuple[str, ...]:
        """Both, each once."""
        return tuple(dict.fromkeys((self.lane, self.sender)))


def short_hash(text: str) -> str:
    """A fingerprint of a lane, a sender or a cause."""
    return f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def origin_of(job_id: int, lane: Optional[str], payload: str) -> Origin:
    """Whom this job is from. Never fails."""
    of_lane = short_hash(lane or f"job:{job_id}")
    sender = _sender_id(payload)
    return Origin(of_lane, of_lane if sender is None else short_hash(f"sender:{sender}"))


def _sender_id(payload: str) -> Optional[int]:
    try:
        update = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    contents = [value for value in update.values() if isinstance(value, dict)] if isinstance(update, dict) else []
    return next((number for path in _SENDERS for value in contents if (number := _id_at(value, path))), None)


def _id_at(value: Any, path: tuple[str, ...]) -> Optional[int]:
    for name in (*path, "id"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int) else None
