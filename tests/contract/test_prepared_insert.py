"""The lean way to store an update leaves the row that `enqueue` leaves, on every database, or nothing at all."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from scalable.lib.errors import FastPathUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, MySqlAddress
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.rows import time_of
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import DATABASES, Servers

TEXTS = {
    "plain": '{"update_id": 1}',
    "quotes": "'\"`\\ \\' :lane :payload %s %(x)s {now} ;--",
    "four bytes": "😀 ż 漢字",
    "long": "x" * 700_000,
    "control": "\x01\t\r\n",
    "empty": "",
}


def lean(queue: DatabaseQueue) -> PreparedInsert:
    found = queue.prepared_insert()
    assert found is not None
    return found


def row(queue: DatabaseQueue, job_id: int) -> dict[str, Any]:
    """Every column but the id and what only grows; times as seconds from the time the row was made."""

    def work(session: Any) -> list[tuple[Any, ...]]:
        return session.rows(f"SELECT {', '.join(names)} FROM bot_jobs WHERE id = :id LIMIT 1", id=job_id)

    database = queue.database
    columns = database.run(lambda session: database.existing_columns(session, "bot_jobs"))
    names = sorted(set(columns) - {"id", "update_id"})
    found = dict(zip(names, database.run(work)[0]))
    made = time_of(found.pop("created_at"))
    assert abs((time_of(found.pop("updated_at")) - made).total_seconds()) < 60
    for name in ("available_at", "urgent_until", "expires_at"):
        if found[name] is not None:
            found[name] = (time_of(found[name]) - made).total_seconds()
    return found


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(
    ("update_type", "lane", "urgent", "expires"),
    [
        ("message", "chat:-1001234567890", None, None),
        ("callback_query", "user:5", 150.0, None),
        ("inline_query", "inline:5", 30.0, 30.0),
        (None, None, None, None),
    ],
)
def test_both_ways_store_the_same_row(
    queue: DatabaseQueue,
    text: str,
    update_type: str | None,
    lane: str | None,
    urgent: float | None,
    expires: float | None,
) -> None:
    job = Update(text, 7, update_type, lane, urgent, expires)
    ordinary = queue.enqueue(job).job_id

    stored = lean(queue).store(Update(text, 8, update_type, lane, urgent, expires))

    assert stored > ordinary
    assert row(queue, stored) == row(queue, ordinary)
    assert queue.find(stored).update_id == 8


def test_the_largest_id_is_stored(queue: DatabaseQueue) -> None:
    job = Update("{}", 2**63 - 1)

    assert queue.find(lean(queue).store(job)).update_id == 2**63 - 1


def test_a_duplicate_is_left_to_those_who_know_what_to_say(queue: DatabaseQueue) -> None:
    job = Update("{}", 7, "message", "chat:1")
    first = lean(queue).store(job)

    with pytest.raises(FastPathUnavailable):
        lean(queue).store(job)

    assert queue.counts().pending == 1
    assert queue.enqueue(job).duplicate
    assert queue.enqueue(job).job_id == first


def test_without_tables_nothing_is_stored_and_nothing_made(address: DatabaseAddress) -> None:
    queue = DatabaseQueue(open_database(address), "elsewhere", RetryPolicy())

    with pytest.raises(FastPathUnavailable):
        lean(queue).store(Update("{}", 7))

    assert queue.enqueue(Update("{}", 7)).job_id == 1
    queue.close()


def test_it_survives_being_written_down(queue: DatabaseQueue) -> None:
    found = lean(queue)
    again = PreparedInsert(
        *json.loads(json.dumps([found.address, found.account, found.session, found.statement, found.server_user]))
    )

    assert queue.find(again.store(Update("{}", 7))).update_id == 7


# What only a server has


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest, servers: Servers) -> MySqlAddress:
    return servers.fresh_database(request.param)


@pytest.fixture
def server_queue(server: MySqlAddress) -> Iterator[DatabaseQueue]:
    queue = DatabaseQueue(open_database(server), "bot_jobs", RetryPolicy())
    queue.ensure_schema()
    yield queue
    queue.close()


def changed(found: PreparedInsert, **changes: Any) -> PreparedInsert:
    return PreparedInsert(**{name: changes.get(name, getattr(found, name)) for name in PreparedInsert.__slots__})


@pytest.mark.parametrize(
    "change",
    [
        {"account": 1},
        {"account": 2},
        {"address": "/no/such/socket"},
        {"address": ["127.0.0.1", 1]},
        {"session": ["SET no_such_variable = 1"]},
        {"statement": "nonsense"},
        {"statement": "SELECT 1"},
    ],
    ids=repr,
)
def test_whatever_the_server_does_not_simply_do_is_not_usual(
    server_queue: DatabaseQueue, change: dict[str, Any]
) -> None:
    found = lean(server_queue)
    if "account" in change:
        change = {"account": [text + "x" * (n == change["account"]) for n, text in enumerate(found.account)]}

    with pytest.raises(FastPathUnavailable):
        changed(found, **change).store(Update("{}", 7))

    assert server_queue.counts().pending == 0


def test_it_comes_in_by_the_address_of_this_machine_too(server_queue: DatabaseQueue, server: MySqlAddress) -> None:
    """With a password the server of MySQL has seen before: it wants it in the clear, and TLS, otherwise."""
    local = dataclasses.replace(server, socket=None, host="127.0.0.1")
    by_port = DatabaseQueue(open_database(local), "bot_jobs", RetryPolicy())
    assert by_port.counts().pending == 0  # logs in

    assert lean(by_port).address == ["127.0.0.1", server.port]
    assert by_port.find(lean(by_port).store(Update("{}", 7))).update_id == 7
    by_port.close()


def test_a_server_elsewhere_is_left_to_the_driver_which_speaks_tls() -> None:
    elsewhere = MySqlAddress("database.example.com", 3306, None, "database", "user", "password")

    assert DatabaseQueue(open_database(elsewhere), "bot_jobs", RetryPolicy()).prepared_insert() is None


@pytest.mark.parametrize("password", ["", "pä$$ 'wörd", "x" * 70])
@pytest.mark.parametrize("name", DATABASES)
def test_an_account_comes_in_as_its_server_wants_it(servers: Servers, name: str, password: str) -> None:
    """Twice, because MySQL asks for the password itself only when it does not remember it."""
    address = servers.fresh_database(name)
    queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())
    queue.ensure_schema()
    user = f"lean{os.urandom(4).hex()}"
    with servers.get(name).connect(as_admin=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (user, password))
        cursor.execute(f"GRANT ALL ON `{address.database}`.* TO %s@'%%'", (user,))

    for update_id in (1, 2):
        job_id = changed(lean(queue), account=[user, password, address.database]).store(Update("{}", update_id))
        assert queue.find(job_id).update_id == update_id
    queue.close()
