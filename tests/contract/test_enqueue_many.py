"""Several updates stored by one statement are stored as one by one they would be, on every database, or not at all."""

from __future__ import annotations

import select
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from scalable.lib.errors import DatabaseUnavailable, DuplicateKey, FastPathUnavailable, SchemaMissing
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.sent_statement import SentStatement
from scalable.lib.queue.enqueue_batch import MOST_AT_ONCE
from scalable.lib.queue.job import Counts
from scalable.lib.telegram.update import Update

KIND = ("message", "chat:1")
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
        begin.wait(60)
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


# The same without waiting for the database, where that is possible.


@pytest.fixture
def sending_queue(queue: DatabaseQueue) -> DatabaseQueue:
    if not queue.database.can_send:
        pytest.skip("SQLite answers in this process: there is nothing to wait for")
    return queue


def finish(steps: Generator[SentStatement, None, list[int]]) -> list[int]:
    """Go on with each statement once its connection is readable; what the last step returns."""
    while True:
        try:
            statement = next(steps)
        except StopIteration as done:
            return list(done.value)
        assert select.select([statement], [], [], 20)[0] == [statement]


@pytest.mark.parametrize("count", [1, 5, MOST_AT_ONCE])
def test_what_is_sent_is_stored_as_what_is_waited_for(sending_queue: DatabaseQueue, count: int) -> None:
    new = [Update(PAYLOADS[number % 4], number, *KIND) for number in range(count)]
    sent = finish(sending_queue.send_many(new))
    rows_sent = rows(sending_queue)
    sending_queue.enqueue_many(
        [Update(each.payload, 100 + number, "message", "chat:1") for number, each in enumerate(new)]
    )

    assert [sending_queue.find(job_id).update_id for job_id in sent] == list(range(count))
    assert rows(sending_queue) == [*rows_sent, *rows_sent]


def test_sending_a_duplicate_tells_it_and_keeps_the_connection(sending_queue: DatabaseQueue) -> None:
    sending_queue.enqueue_many(jobs(7))

    for _ in range(2):
        with pytest.raises(DuplicateKey):
            finish(sending_queue.send_many(jobs(1, 7)))

    assert sending_queue.counts() == Counts(pending=1)


def test_a_table_that_is_missing_is_told_to_who_sends(sending_queue: DatabaseQueue) -> None:
    sending_queue.database.run(lambda session: session.execute("DROP TABLE bot_jobs"))

    with pytest.raises(SchemaMissing):
        finish(sending_queue.send_many(jobs(1)))


def test_nothing_is_sent_while_no_connection_is_idle(sending_queue: DatabaseQueue) -> None:
    sending_queue.database.limit_connections(1)
    first = sending_queue.send_many(jobs(1))
    next(first)

    with pytest.raises(FastPathUnavailable):
        next(sending_queue.send_many(jobs(2)))

    assert finish(first) == [sending_queue.newest(1)[0].id]
    assert finish(sending_queue.send_many(jobs(2)))


def test_a_lost_connection_is_no_outage_and_the_next_statement_has_another(sending_queue: DatabaseQueue) -> None:
    (other,) = sending_queue.enqueue_many(jobs(1))
    steps = sending_queue.send_many(jobs(2))
    number = sending_queue.database._connections._idle[0][1]._connection.thread_id()  # type: ignore[attr-defined]
    next(steps)
    with suppress(DatabaseUnavailable):  # may be told to the connection that asks for it, too
        sending_queue.database.run(lambda session: session.execute(f"KILL {number}"))

    with suppress(FastPathUnavailable):  # it may have been answered before
        finish(steps)

    with suppress(DuplicateKey):
        sending_queue.enqueue_many(jobs(2))
    assert sending_queue.counts() == Counts(pending=2)
    assert sending_queue.find(other).update_id == 1


def test_a_statement_that_is_given_up_ends_its_connection(sending_queue: DatabaseQueue) -> None:
    sending_queue.database.limit_connections(1)
    sending_queue.enqueue_many(jobs(1))
    steps = sending_queue.send_many(jobs(2))
    statement = next(steps)
    assert not statement.is_overdue

    steps.close()

    assert sending_queue.enqueue_many(jobs(3))  # by a new one: it is the only one that may be open


def test_what_the_embedded_database_does_is_waited_for(queue: DatabaseQueue) -> None:
    if queue.database.can_send:
        pytest.skip("a server answers later")

    with pytest.raises(FastPathUnavailable):
        next(queue.send_many(jobs(1)))
