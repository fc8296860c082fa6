"""Leadership: which process does the work that one is enough for, among those of all machines that share a queue.

It saves work and is no lock: the work of a leader is safe when another process does it at the same time.
"""

from __future__ import annotations

from typing import Any

from scalable.lib.queue.table import QueueTable

# Takes or keeps the lead. By primary key: of two processes that ask at the same time, the second finds it taken. One
# that is held for longer than anybody takes it was taken before the clock was set back.
TAKE_LEAD = """
UPDATE {jobs}_meta
SET value = :leader, held_until = {in:seconds}
WHERE name = 'leader'
  AND (value = :leader OR held_until IS NULL OR held_until < {now} OR held_until > {in:longest_seconds})
"""

# The first leader of this queue; the primary key refuses a second one.
FIRST_LEAD = """
INSERT INTO {jobs}_meta (name, value, held_until)
VALUES ('leader', :leader, {in:seconds})
"""

RESIGN = """
UPDATE {jobs}_meta
SET held_until = NULL
WHERE name = 'leader'
  AND value = :leader
"""


class Leadership:
    """Lets the process called `name` lead, for `seconds` each time it takes the lead. Safe to share between threads."""

    def __init__(self, table: QueueTable, name: str, seconds: float) -> None:
        self._table = table
        self._values: dict[str, Any] = {"leader": name, "seconds": seconds}
        self._longest_seconds = 2 * seconds

    def take(self) -> bool:
        """Whether `name` leads from now on; one statement, when it is not the very first time. Safe to repeat."""
        taken = self._table.change(TAKE_LEAD, longest_seconds=self._longest_seconds, **self._values)
        return taken > 0 or self._table.add(FIRST_LEAD, **self._values)

    def resign(self) -> None:
        """Give up the lead; changes nothing when another process leads. Safe to repeat."""
        self._table.change(RESIGN, leader=self._values["leader"])
