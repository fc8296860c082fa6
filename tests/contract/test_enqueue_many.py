"""Several updates stored by one statement are stored as one by one they would be, on every database, or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from scalable.lib.errors import DuplicateKey
from scalable.lib.queue.database_queue import MOST_AT_ONCE, DatabaseQueue
from scalable.lib.queue.job import Counts
from scalable.lib.telegram.update import Update

PAYLOADS = ("{}", "'\"`\\ \\' :lane :payload_1 %s %(x)s {now} ;--", "😀 ż 漢字", "\x01\t\r\n")


def jobs(*update_ids: int) -> list[Update]:
    return [Update(f'{{"update_id": {number}}}', number, "message", "chat:1") for number in update_ids]


def rows(queue: DatabaseQueue) -> list[tuple[Any, ...]]:
    """Every column of every job but the ids and the times, in the order of the ids; which times there are."""
    columns = queue.database.run(lambda session: queue.database.existing_columns(session, "bot_jobs"))
    times = [name for name in columns if name.endswith(("_at", "_until"))]
    names = sorted({*columns} - {"id", "update_id", *times}) + [f"{name} IS NULL" for name in sorted(times)]
    return queue.database.run(lambda session: session.rows(f"SELECT {', '.join(names)} FROM bot_jobs ORDER BY id"))


def test_each_of_many_is_stored_in_their_order_and_has_its_own_id(queue: DatabaseQueue) -> None:
    ids = queue.enqueue_many(jobs(30, 10, 20))

    assert ids == sorted(ids)
    assert [queue.find(job_id).update_id for job_id in ids] == [30, 10, 20]
    assert [queue.payload(job_id) for job_id in ids] == [job.payload for job in jobs(30, 10, 20)]


def test_a_lane_keeps_the_order_in_which_they_were_given(queue: DatabaseQueue) -> None:
    first, second = queue.enqueue_many(jobs(9, 3))

    (claimed,) = queue.claim("worker", 45, limit=2)

    assert (claimed.id, claimed.id < second) == (first, True)


@pytest.mark.parametrize("payload", PAYLOADS, ids=["short", "quotes", "four bytes", "control"])
def test_the_rows_are_those_of_one_after_the_other(queue: DatabaseQueue, payload: str) -> None:
    kinds = [
        ("message", "chat:-1001", None, None),
        ("callback_query", "user:5", 150.0, None),
        ("inline_query", "inline:5", 30.0, 30.0),
        (None, None, None, None),
    ]
    queue.enqueue_many([Update(payload, number, *kind) for number, kind in enumerate(kinds)])
    together = rows(queue)
    for number, kind in enumerate(kinds):
        queue.enqueue(Update(payload, 100 + number, *kind))

    assert rows(queue) == [*together, *together]


@pytest.mark.parametrize("update_ids", [(1, 2, 7), (7, 1, 2), (1, 1, 2)], ids=["last", "first", "twice among them"])
def test_with_a_duplicate_none_of_them_is_stored(queue: DatabaseQueue, update_ids: tuple[int, ...]) -> None:
    queue.enqueue_many(jobs(7))

    with pytest.raises(DuplicateKey):
        queue.enqueue_many(jobs(*update_ids))

    assert queue.counts() == Counts(pending=1)


def test_as_many_as_it_takes_at_once_are_stored(queue: DatabaseQueue) -> None:
    ids = queue.enqueue_many(jobs(*range(MOST_AT_ONCE)))

    assert len(set(ids)) == MOST_AT_ONCE == queue.counts().pending


def test_the_ids_are_right_while_others_store_too(queue: DatabaseQueue) -> None:
    begin = threading.Barrier(4)

    def store(first: int) -> list[tuple[int, int]]:
        stored = []
        begin.wait(10)
        for start in range(first, first + 100, 5):
            numbers = range(start, start + 5)
            stored += list(zip(numbers, queue.enqueue_many(jobs(*numbers))))
        return stored

    with ThreadPoolExecutor(4) as threads:
        told = [pair for pairs in threads.map(store, range(0, 4000, 1000)) for pair in pairs]

    assert [queue.find(job_id).update_id for _, job_id in told] == [update_id for update_id, _ in told]
    assert queue.counts().pending == 400


@pytest.mark.parametrize("count", [0, MOST_AT_ONCE + 1])
def test_none_and_too_many_are_refused(queue: DatabaseQueue, count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} jobs"):
        queue.enqueue_many(jobs(*range(count)))


def test_one_without_an_id_is_refused_because_it_could_not_be_found_again(queue: DatabaseQueue) -> None:
    with pytest.raises(ValueError, match="update_id"):
        queue.enqueue_many([*jobs(1), Update("{}")])

    assert queue.counts().total == 0
