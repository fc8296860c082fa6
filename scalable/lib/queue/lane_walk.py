"""Finds jobs to run behind any number of blocked ones: goes from lane to lane by name, to the first job of each.

It takes the lanes in turn, not by how long they have waited: a way out while a flood in one lane is being parked.
"""

from __future__ import annotations

from typing import Any

from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.table import QueueTable

# Lanes looked at in one go, some 0.2 ms each. What is not found is found by one of the next.
MOST_LANES = 50


# The first job of the lane that comes next by name, and whether it may be taken. By index open_lane, one row.
HEAD_OF_NEXT_LANE = f"""
SELECT id, payload, attempts, update_id, update_type, lane, {sql.WAITED} AS waited, has_followers,
    {sql.IS_DUE} AND (expires_at IS NULL OR expires_at > {{now}}) AND NOT {sql.CLAIMS_STOPPED} AS is_free
FROM {{jobs}} AS job {{use:open_lane}}
WHERE {{open:job}} > :lane
ORDER BY {{indexed_lane:job}}, id
LIMIT 1
"""


class LaneWalk:
    """Of one process. Each walk begins where the last one ended, so that every lane has its turn."""

    def __init__(self, table: QueueTable) -> None:
        self._table = table
        self._lane = ""

    def free_heads(self, session: Session, limit: int) -> list[tuple[Any, ...]]:
        """Up to `limit` jobs that may be taken, each the first of its lane: the statement's columns but the last."""
        found: list[tuple[Any, ...]] = []
        seen: set[str] = set()
        while len(found) < limit and len(seen) < MOST_LANES:
            rows = session.rows(self._table.sql(HEAD_OF_NEXT_LANE), lane=self._lane)
            if not rows and not self._lane:
                break
            self._lane = rows[0][5] if rows else ""
            if self._lane in seen:
                break
            if rows:
                seen.add(self._lane)
                *row, is_free = rows[0]
                found += [tuple(row)] if is_free else []
        return found
