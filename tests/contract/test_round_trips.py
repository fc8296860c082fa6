"""How many statements a job costs in steady state. A change that adds one must say why, here.

enqueue: the INSERT. Many at once: the INSERT, and a SELECT of their ids where it does not return them. claim: with SKIP
LOCKED the candidates are locked: BEGIN, SELECT, UPDATE, COMMIT; without it just SELECT and UPDATE. complete: the
UPDATE. Looking in vain: as claim, without the UPDATE. A batch costs as much as one job: it is taken, and completed, in
one statement. A job with others parked behind it ends in a transaction: BEGIN, UPDATE, SELECT the next one, UPDATE it,
COMMIT, after one UPDATE that found it so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.database import Session
from scalable.lib.telegram.update import Update

LEASE_SECONDS = 45


@contextmanager
def counted(queue: DatabaseQueue) -> Iterator[Callable[[], int]]:
    """Counts what the one connection in use sends from here on."""
    session: Session = queue.database._connections.borrow()
    queue.database._connections.give_back(session)
    sent = 0
    patch = pytest.MonkeyPatch()
    for name in ("execute", "insert", "rows"):
        real = getattr(session, name)

        def counting(sql: str, _real: Callable[..., Any] = real, **values: Any) -> Any:
            nonlocal sent
            sent += 1
            return _real(sql, **values)

        patch.setattr(session, name, counting)

    def take() -> int:
        nonlocal sent
        taken, sent = sent, 0
        return taken

    yield take
    patch.undo()


def test_statements_per_job_in_steady_state(queue: DatabaseQueue) -> None:
    locking = queue.database.claims_in_transaction()
    with counted(queue) as statements:
        queue.enqueue(Update("{}", 1, "message", "chat:1"))
        assert statements() == 1

        (job,) = queue.claim("worker", LEASE_SECONDS)
        assert statements() == (4 if locking else 2)

        queue.renew(job.lease, LEASE_SECONDS)
        assert statements() == 1

        queue.complete(job.lease)
        assert statements() == 1

        queue.claim("worker", LEASE_SECONDS)
        assert statements() == (3 if locking else 1)


def test_many_are_stored_by_one_statement_where_it_returns_their_ids(queue: DatabaseQueue) -> None:
    server = queue.describe_server()
    returns_ids = server.product == "MariaDB" and tuple(map(int, server.version.split(".")[:2])) >= (10, 5)
    with counted(queue) as statements:
        queue.enqueue_many([Update("{}", number) for number in range(8)])
        assert statements() == (1 if returns_ids else 2)

        queue.enqueue_many([Update("{}", 8)])
        assert statements() == 1


def test_a_batch_costs_what_one_job_costs(queue: DatabaseQueue) -> None:
    locking = queue.database.claims_in_transaction()
    for number in range(8):
        queue.enqueue(Update("{}", number, "message", f"chat:{number}"))

    with counted(queue) as statements:
        batch = queue.claim("worker", LEASE_SECONDS, limit=8)
        assert (len(batch), statements()) == (8, 4 if locking else 2)

        assert queue.complete_many([job.lease for job in batch]) == []
        assert statements() == 1


def test_a_job_with_followers_ends_in_one_transaction(queue: DatabaseQueue) -> None:
    for number in range(2):
        queue.enqueue(Update("{}", number, "message", "chat:1"))
    (job,) = queue.claim("worker", LEASE_SECONDS)
    queue.claim("worker", LEASE_SECONDS)  # finds the follower blocked, and parks it

    with counted(queue) as statements:
        queue.complete(job.lease)
        assert statements() == 6
