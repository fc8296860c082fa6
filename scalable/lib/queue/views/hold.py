"""Why an installation claims nothing although its queue is not paused, kept as a note for all processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Optional

from scalable.lib.queue.notes import HELD, Note

# A pool renews the note more often, and cron writes it with every tick: an older one was left behind.
HOLD_SECONDS = 3600.0
MAX_REASON_CHARACTERS = 1500


@dataclass(frozen=True)
class Hold:
    """`reason`: what does not fit and what to do. `place`: the installation. `since`: as an operator reads it, UTC."""

    reason: str
    place: str
    since: str

    def to_text(self) -> str:
        """For the note."""
        return json.dumps({**asdict(self), "reason": self.reason[:MAX_REASON_CHARACTERS]})


def read_hold(notes: dict[str, Note]) -> Optional[Hold]:
    """From the notes; None when no installation says that it holds its updates."""
    note = notes.get(HELD)
    if note is None or note.age_seconds > HOLD_SECONDS:
        return None
    try:
        value: Any = json.loads(note.text)
        return Hold(str(value["reason"]), str(value["place"]), str(value["since"]))
    except (ValueError, KeyError, TypeError):
        return None
