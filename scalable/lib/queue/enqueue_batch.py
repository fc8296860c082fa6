"""Stores several jobs by one statement: for the pool's own server, which takes what comes together.

Both functions are methods of DatabaseQueue.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from scalable.lib.errors import FastPathUnavailable
from scalable.lib.queue import statements as sql
from scalable.lib.queue.dialects.sent_statement import SentStatement
from scalable.lib.queue.new_row import new_row

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue
    from scalable.lib.telegram.update import Update

# Jobs that one statement stores: a small share of the megabyte that some servers take in one packet.
MOST_AT_ONCE = 32


def enqueue_many(queue: DatabaseQueue, jobs: Sequence[Update]) -> list[int]:
    """Store 1 to MOST_AT_ONCE new pending jobs, in this order, by one statement, and commit; their ids.

    Raises DuplicateKey when an update is there already or comes twice, and SchemaMissing; then none of them
    was stored. ValueError for too many, and for a job without `update_id`: it could be stored twice.
    """
    insert, values = _many_rows(jobs)
    if len(jobs) == 1:
        text = queue.table.sql(insert)
        return [queue.database.run(lambda session: session.insert(text, **values))]
    returned = queue.table.rows(insert, **values)
    return _ids_of(jobs, returned or queue.table.rows(sql.FIND_UPDATES, **_of_updates(jobs)))


def send_many(queue: DatabaseQueue, jobs: Sequence[Update]) -> Generator[SentStatement, None, list[int]]:
    """`enqueue_many` for a thread that must not wait for the database: yields each statement that it has sent.

    Go on when its answer is there, or close the generator when it is overdue. Raises as `enqueue_many`, and
    FastPathUnavailable: call that one then; what was stored all the same is a duplicate there.
    """
    if not queue.database.can_send:
        raise FastPathUnavailable(f"{queue.database.place}: every statement is waited for")
    insert, values = _many_rows(jobs)
    rows, job_id = yield from _answer(queue.table.send(insert, **values))
    if len(jobs) == 1:
        return [job_id]
    if not rows:
        rows, _ = yield from _answer(queue.table.send(sql.FIND_UPDATES, **_of_updates(jobs)))
    return _ids_of(jobs, rows)


def _many_rows(jobs: Sequence[Update]) -> tuple[str, dict[str, Any]]:
    """The INSERT of 1 to MOST_AT_ONCE jobs, and its values."""
    if not 1 <= len(jobs) <= MOST_AT_ONCE or any(job.update_id is None for job in jobs):
        raise ValueError(f"{len(jobs)} jobs: expected 1 to {MOST_AT_ONCE}, each with an update_id")
    if len(jobs) == 1:
        return sql.ENQUEUE, new_row(jobs[0])
    values = {f"{name}_{number}": value for number, job in enumerate(jobs) for name, value in new_row(job).items()}
    return sql.enqueue_rows(len(jobs)), values


def _of_updates(jobs: Sequence[Update]) -> dict[str, Any]:
    return {"ids": [job.update_id for job in jobs], "limit": MOST_AT_ONCE}


def _ids_of(jobs: Sequence[Update], rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """No server guarantees in all its modes which id each row of an INSERT has, so it told or was asked."""
    ids = dict(rows)
    return [ids[job.update_id] for job in jobs]


def _answer(statement: SentStatement) -> Generator[SentStatement, None, tuple[list[tuple[Any, ...]], int]]:
    try:
        yield statement
    except GeneratorExit:
        statement.give_up()
        raise
    return statement.answer()
