"""Rows that the door in PHP stored by itself: they run in order, and get their lanes before newer updates come."""

from __future__ import annotations

import json

import pytest

from scalable.lib.queue.bare_rows import BARE, adopt_bare_rows
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.telegram.update import Update, read_update

LEASE_SECONDS = 45
LOOK = "SELECT id, update_id, update_type, lane, priority, parked FROM {jobs} ORDER BY id LIMIT 100"
SPOIL = "UPDATE {jobs} SET payload = 'no update' WHERE id = :id"


def body(number: int, chat: int, kind: str = "message") -> str:
    return json.dumps({"update_id": number, kind: {"chat": {"id": chat}, "from": {"id": chat}}})


def put_bare(queue: DatabaseQueue, number: int, chat: int, kind: str = "message") -> int:
    return queue.enqueue(Update(body(number, chat, kind), number, None, BARE)).job_id


def claim(queue: DatabaseQueue, limit: int = 9) -> list[ClaimedJob]:
    return queue.claim("worker", LEASE_SECONDS, limit)


def lanes(queue: DatabaseQueue) -> list[str]:
    return [row[3] for row in queue.table.rows(LOOK)]


def test_each_gets_what_python_would_have_stored(queue: DatabaseQueue) -> None:
    for number, kind in enumerate(("message", "callback_query", "inline_query", "poll_answer"), 1):
        put_bare(queue, number, 5, kind)
        queue.enqueue(read_update(body(number + 10, 5, kind).encode()))

    assert adopt_bare_rows(queue.table, "telegram") == 4
    assert adopt_bare_rows(queue.table, "telegram") == 0

    rows = queue.table.rows(LOOK)
    assert [row[2:] for row in rows[::2]] == [row[2:] for row in rows[1::2]]


def test_before_that_they_run_one_after_the_other(queue: DatabaseQueue) -> None:
    first, second = put_bare(queue, 1, 5), put_bare(queue, 2, 6)

    [job] = claim(queue)
    assert job.id == first
    assert claim(queue) == []
    queue.complete(job.lease)
    assert [job.id for job in claim(queue)] == [second]


def test_afterwards_newer_updates_of_a_chat_come_behind_them(queue: DatabaseQueue) -> None:
    first, other = put_bare(queue, 1, 5), put_bare(queue, 2, 6)
    second = put_bare(queue, 3, 5)
    adopt_bare_rows(queue.table, "telegram")
    third = queue.enqueue(read_update(body(4, 5).encode())).job_id

    order = []
    while jobs := claim(queue):
        order.append([job.id for job in jobs])
        for job in jobs:
            queue.complete(job.lease)

    flat = [job_id for jobs in order for job_id in jobs]
    assert sorted(flat) == [first, other, second, third]
    assert [job_id for job_id in flat if job_id != other] == [first, second, third]
    assert set(order[0]) >= {first, other}


def test_while_one_runs_the_others_stay_behind_it(queue: DatabaseQueue) -> None:
    put_bare(queue, 1, 5)
    put_bare(queue, 2, 5)
    [job] = claim(queue)
    assert claim(queue) == []

    assert adopt_bare_rows(queue.table, "telegram") == 0

    assert claim(queue) == []
    queue.complete(job.lease)
    assert adopt_bare_rows(queue.table, "telegram") == 1
    assert [job.update_id for job in claim(queue)] == [2]


@pytest.mark.parametrize(("order", "expected"), [("telegram", "chat:5"), ("none", None)])
def test_the_order_is_that_of_the_settings(queue: DatabaseQueue, order: str, expected: str | None) -> None:
    put_bare(queue, 1, 5)

    adopt_bare_rows(queue.table, order)

    assert lanes(queue) == [expected]


def test_one_that_cannot_be_read_keeps_nobody_waiting(queue: DatabaseQueue) -> None:
    spoilt = put_bare(queue, 1, 5)
    put_bare(queue, 2, 5)
    queue.table.change(SPOIL, id=spoilt)

    assert adopt_bare_rows(queue.table, "telegram") == 2

    assert lanes(queue) == [None, "chat:5"]
    assert len(claim(queue)) == 2


def test_a_queue_without_them_is_left_as_it_is(queue: DatabaseQueue) -> None:
    queue.enqueue(read_update(body(1, 5).encode()))

    assert adopt_bare_rows(queue.table, "telegram") == 0
    assert lanes(queue) == ["chat:5"]
