"""Every statement that runs all day uses its index, on a table with rows in every state, on every database."""

from __future__ import annotations

import pytest

from scalable.lib.queue import maintenance
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.plan_check import STATEMENTS, slow_plans
from scalable.lib.telegram.update import Update

LEASE_SECONDS = 45


def fill(queue: DatabaseQueue) -> None:
    for number in range(600):
        lane = f"chat:{number % 40}" if number % 3 else None
        urgent = 150.0 if number % 5 == 0 else None
        queue.enqueue(Update("{}", number, "message", lane, urgent, urgent))
    for index, job in enumerate(queue.claim("worker", LEASE_SECONDS, limit=120)):
        if index % 4 == 0:
            queue.fail(job.lease, "exit code 1")
        elif index % 4 == 1:
            queue.retry(job.lease, "exit code 1", 60)
        elif index % 4 == 2:
            queue.complete(job.lease)


@pytest.mark.parametrize("filled", [False, True], ids=["empty table", "rows in every state"])
def test_nothing_is_sorted_and_no_table_is_scanned(queue: DatabaseQueue, filled: bool) -> None:
    if filled:
        fill(queue)

    assert slow_plans(queue) == []


def test_a_plan_without_its_index_would_be_found(queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(queue)
    without_index = maintenance.OLD.replace("{use:status_created}", "").replace("status = :status", "payload = :status")
    monkeypatch.setitem(STATEMENTS, "prune", (without_index, {"status": "x", "seconds": 1, "limit": 5}))

    assert any(line.startswith("prune: ") for line in slow_plans(queue))
