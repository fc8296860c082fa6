"""When a bot began with an update that is watched: bots of the benchmarks write that down in a journal."""

from __future__ import annotations

import time
from pathlib import Path

LOOK_SECONDS = 0.01


def seconds_to_begin(journal: Path, update_id: int, since_ns: int, ends: float) -> float | None:
    """From `since_ns` of the monotonic clock to the bot's first line; None when it has not begun at the time `ends`."""
    while (begun := _begun(journal).get(update_id)) is None:
        if time.monotonic() > ends:
            return None
        time.sleep(LOOK_SECONDS)
    return max(0.0, (begun - since_ns) / 1e9)


def _begun(journal: Path) -> dict[int, int]:
    """The nanosecond of each update that is in the journal."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return {int(update): int(at) for update, at in map(str.split, lines)}
