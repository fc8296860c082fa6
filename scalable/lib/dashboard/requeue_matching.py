"""Retries all jobs that a filter matches, in steps of a bounded size, for the page and for the shell."""

from __future__ import annotations

import math
import time
from typing import Optional

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.operator_actions import Batch, Position
from scalable.lib.queue.views.search import Filter

STEP = 500


def requeue_matching(
    queue: DatabaseQueue, wanted: Filter, after: Optional[Position], until_id: int, seconds: float = math.inf
) -> Batch:
    """Requeue those `wanted` (failed or expired) up to `until_id`; at least one step, and no new one after `seconds`.

    Begin with `after` None and `until_id` newest_id(); while the result's `after` is not None, go on from there.
    """
    requeued, looked_at, ends = 0, 0, time.monotonic() + seconds
    while True:
        batch = queue.requeue_matching(wanted, STEP, after, until_id)
        requeued, looked_at, after = requeued + batch.requeued, looked_at + batch.looked_at, batch.after
        if after is None or time.monotonic() > ends:
            return Batch(requeued, looked_at, after)
