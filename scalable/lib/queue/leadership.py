"""Leadership: who does the work of which one is enough, among all processes of all machines that share a queue.

It is a saving, not a safeguard: whatever a leader does is right, too, when another one does it beside it.
"""

from __future__ import annotations

from typing import Any

from scalable.lib.queue.table import QueueTable

# Takes or keeps the lead. By primary key: of two who ask at the same time, the second finds it taken.
TAKE_LEAD = """
UPDATE {jobs}_meta
SET value = :leader, held_until = {in:seconds}
WHERE name = 'leader'
  AND (value = :leader OR held_until IS NULL OR held_until < {now})
"""

# The first leader there ever is; whoever comes second is refused by the primary key.
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
    """The wish of `name` to lead, for `seconds` each time it asks. Safe to share between threads.

    Every verb raises DatabaseUnavailable when the database is away, and SchemaMissing before its tables are made.
    """

    def __init__(self, table: QueueTable, name: str, seconds: float) -> None:
        self._table = table
        self._values: dict[str, Any] = {"leader": name, "seconds": seconds}

    def take(self) -> bool:
        """Whether `name` leads from now on; one statement, when it is not the very first time. Safe to repeat."""
        return self._table.change(TAKE_LEAD, **self._values) > 0 or self._table.add(FIRST_LEAD, **self._values)

    def resign(self) -> None:
        """Let the next one lead at once; nothing happens when somebody else does. Safe to repeat."""
        self._table.change(RESIGN, leader=self._values["leader"])
