"""Notes of a queue: a few short texts that every process can read, each with the time it was written.

Two of them, `paused` and `breaker`, are read by every claim (see statements.py): while one exists, none is claimed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from scalable.lib.queue.rows import time_of
from scalable.lib.queue.table import QueueTable

PAUSED, TOTALS, WEBHOOK, WEBHOOK_BEFORE, ALERTS = "paused", "totals", "webhook", "webhook_before", "alerts"
HELD, ALERT_CHAT, POLLED = "held", "alert_chat", "polled"
# While the bot's side is down; outages.py writes it.
BREAKER = "breaker"
# A probe never waits longer for its turn: further ahead it was put by a clock that was wrong.
LONGEST_HOLD_SECONDS = 600.0
_NAMES = (PAUSED, TOTALS, WEBHOOK, WEBHOOK_BEFORE, ALERTS, HELD, BREAKER, ALERT_CHAT, POLLED)
MAX_CHARACTERS = 4000
# `2026-01-01 12:00:00.000`
_STAMP = 23

# All of them, each by primary key.
READ_NOTES = (
    "\nUNION ALL\n".join(f"SELECT name, value, {{now}} FROM {{jobs}}_meta WHERE name = '{name}'" for name in _NAMES)
    + f"\nLIMIT {len(_NAMES)}"
)

# Both by primary key. Two writers at once: the row is one of theirs, as a whole.
CHANGE_NOTE = """
UPDATE {jobs}_meta
SET value = {stamped:text}
WHERE name = :name
"""

# The same, only if the note still is what the caller read before.
CHANGE_NOTE_IF_UNCHANGED = """
UPDATE {jobs}_meta
SET value = {stamped:text}
WHERE name = :name
  AND value = :stored
"""

ADD_NOTE = """
INSERT INTO {jobs}_meta (name, value)
VALUES (:name, {stamped:text})
"""

DELETE_NOTE = """
DELETE FROM {jobs}_meta
WHERE name = :name
"""


@dataclass(frozen=True)
class Note:
    """A text, when it was written, UTC, and how many seconds ago by the database's clock; `stored`: as in the row."""

    text: str
    at: datetime
    age_seconds: float
    stored: str = field(repr=False, default="")


class Notes:
    """The notes of the queue in `table`. Safe to share between threads."""

    def __init__(self, table: QueueTable) -> None:
        self._table = table

    def read(self) -> dict[str, Note]:
        """Every stored note, by name."""
        return {name: note_of(value, now) for name, value, now in self._table.rows(READ_NOTES)}

    def write(self, name: str, text: str) -> None:
        """Store `text` as the note, with the present time. Safe to repeat."""
        self._table.upsert(CHANGE_NOTE, ADD_NOTE, name=name, text=text[:MAX_CHARACTERS])

    def write_if_unchanged(self, name: str, text: str, last: Optional[Note]) -> bool:
        """Write the note, if it still is the `last` one that was read; of several who try, one succeeds."""
        values: dict[str, Any] = {"name": name, "text": text[:MAX_CHARACTERS]}
        if last is not None:
            return bool(self._table.change(CHANGE_NOTE_IF_UNCHANGED, stored=last.stored, **values))
        return self._table.add(ADD_NOTE, **values)

    def delete(self, name: str) -> bool:
        """Delete the note; False when there was none. Safe to repeat."""
        return bool(self._table.change(DELETE_NOTE, name=name))


def note_of(value: str, stored_now: Any) -> Note:
    """The note that is stored as `value`; `stored_now`: the database's time when it was read."""
    now = time_of(stored_now)
    try:
        at = time_of(value[:_STAMP])
    except ValueError:  # not ours: written with a database tool
        return Note(value, now, 0.0, value)
    # One from the future was written before the clock was set back: it is as old as it lies ahead, or older.
    return Note(value[_STAMP + 1 :], at, abs((now - at).total_seconds()), value)


def moved_chat(notes: dict[str, Note], chat_id: str) -> Optional[str]:
    """The new id of that group for alerts, which became a supergroup; None when nothing is known of that."""
    note = notes.get(ALERT_CHAT)
    try:
        before, now = json.loads(note.text) if note is not None else ("", "")
    except (ValueError, TypeError):
        return None
    return str(now) if before == chat_id else None


def paused(notes: dict[str, Note]) -> Optional[Note]:
    """The note that pauses the queue; its text is who wrote it."""
    return notes.get(PAUSED)
