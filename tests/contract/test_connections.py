"""Connections to real servers: few, replaced when they break, encrypted over TCP, with errors that say what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects import server_trust
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.job import Counts
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.servers.database_servers import DatabaseServer
from tests.support.servers.databases import Servers
from tests.support.servers.site import wait_until

SERVERS = ("mariadb-10.5", "mariadb-10.11", "mysql-9.7")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, servers: Servers) -> DatabaseServer:
    return servers.get(request.param)


@pytest.fixture
def address(server: DatabaseServer, servers: Servers) -> MySqlAddress:
    return servers.fresh_database(server.name)


@pytest.fixture
def queue(address: MySqlAddress) -> Iterator[DatabaseQueue]:
    queue = open_queue(address)
    queue.ensure_schema()
    yield queue
    queue.close()


def open_queue(address: MySqlAddress) -> DatabaseQueue:
    return DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())


def connections(server: DatabaseServer, address: MySqlAddress) -> list[int]:
    """Ids of the connections to this database, asked as another user."""
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (address.database,))
        return [row[0] for row in cursor.fetchall()]


def kill_connections(server: DatabaseServer, address: MySqlAddress) -> None:
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        for number in connections(server, address):
            cursor.execute(f"KILL {int(number)}")
    wait_until(lambda: not connections(server, address), lambda: connections(server, address))


def in_threads(work: Any, number: int) -> list[BaseException]:
    errors: list[BaseException] = []

    def with_error_boundary(index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001 - the test fails on any of them
            errors.append(error)

    threads = [threading.Thread(target=with_error_boundary, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_threads_that_take_turns_need_one_connection(
    server: DatabaseServer, address: MySqlAddress, queue: DatabaseQueue
) -> None:
    turn = threading.Lock()

    def enqueue(index: int) -> None:
        with turn:
            queue.enqueue(Update("{}", index, "message"))

    assert in_threads(enqueue, 8) == []
    assert len(connections(server, address)) == 1


def test_connections_the_server_closed_are_replaced_without_an_error(
    server: DatabaseServer, address: MySqlAddress, queue: DatabaseQueue
) -> None:
    together = threading.Barrier(4)

    def snapshot(_: int) -> None:
        queue.database.run(lambda session: (together.wait(30), session.rows("SELECT 1")))

    assert in_threads(snapshot, 4) == []
    assert len(connections(server, address)) == 4
    kill_connections(server, address)

    queue.enqueue(Update("{}", 1, "message"))
    (job,) = queue.claim("worker", 45)
    kill_connections(server, address)
    queue.complete(job.lease)

    assert queue.counts() == Counts(done=1)


def test_a_transaction_cut_off_in_the_middle_is_repeated_as_a_whole(
    server: DatabaseServer, address: MySqlAddress, queue: DatabaseQueue
) -> None:
    rounds = []

    def work(session: Session) -> None:
        session.execute("INSERT INTO bot_jobs (payload) VALUES ('{}')")
        rounds.append(1)
        if len(rounds) == 1:
            kill_connections(server, address)
        session.execute("INSERT INTO bot_jobs (payload) VALUES ('{}')")

    queue.database.run(work, transaction=True)

    assert len(rounds) == 2
    assert queue.counts() == Counts(pending=2)


def test_a_deadlock_is_solved_by_repeating_the_loser(queue: DatabaseQueue) -> None:
    first, second = (queue.enqueue(Update("{}", number, "message")).job_id for number in (1, 2))
    both_hold_one = threading.Barrier(2)
    rounds = [0, 0]

    def cross(index: int) -> None:
        mine, other = (first, second) if index == 0 else (second, first)

        def work(session: Session) -> None:
            rounds[index] += 1
            session.execute("UPDATE bot_jobs SET attempts = attempts + 1 WHERE id = :id", id=mine)
            if rounds[index] == 1:
                both_hold_one.wait(60)
            session.execute("UPDATE bot_jobs SET attempts = attempts + 1 WHERE id = :id", id=other)

        queue.database.run(work, transaction=True)

    assert in_threads(cross, 2) == []
    assert sum(rounds) >= 3
    assert [queue.find(job_id).attempts for job_id in (first, second)] == [2, 2]


def test_too_many_connections_say_what_to_do_and_pass(server: DatabaseServer, address: MySqlAddress) -> None:
    user = "few_" + address.database[-8:]
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER {user} IDENTIFIED BY 'not-a-secret' WITH MAX_USER_CONNECTIONS 1")
        cursor.execute(f"GRANT ALL ON `{address.database}`.* TO {user}")
    few = open_queue(replace(address, user=user, password="not-a-secret"))
    few.ensure_schema()
    holding = threading.Event()
    enough = threading.Event()
    holder = threading.Thread(
        target=few.database.run, args=(lambda session: (session.rows("SELECT 1"), holding.set(), enough.wait(60)),)
    )
    holder.start()
    holding.wait(60)

    with pytest.raises(DatabaseUnavailable, match="lower BOT_WORKER_POOL_SIZE"):
        few.counts()
    enough.set()
    holder.join(60)

    assert few.counts() == Counts()
    few.close()


def test_tcp_is_encrypted_where_the_server_can_and_a_socket_is_not(
    server: DatabaseServer, address: MySqlAddress
) -> None:
    over_tcp = open_queue(replace(address, host="127.0.0.1", socket=None))
    over_socket = open_queue(address)

    def cipher(queue: DatabaseQueue) -> str:
        found = queue.database.run(lambda session: session.rows("SHOW STATUS LIKE 'Ssl_cipher'"))
        queue.close()
        return str(found[0][1])

    assert cipher(over_socket) == ""
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        cursor.execute("SHOW VARIABLES LIKE 'have_ssl'")
        found = cursor.fetchone()
    if server.name.startswith("mysql") or (found and found[1] == "YES"):
        assert cipher(over_tcp) != ""


def test_localhost_means_the_servers_socket_as_in_php(
    server: DatabaseServer, address: MySqlAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_trust, "SOCKET_PLACES", ("/no/such.sock", str(server.socket)))

    queue = open_queue(replace(address, host="localhost", port=1, socket=""))
    queue.ensure_schema()

    assert queue.counts() == Counts()
    queue.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "wrong"}, "check BOT_DB_USER and BOT_DB_PASS"),
        ({"user": "nobody-here"}, "check BOT_DB_USER and BOT_DB_PASS"),
        ({"socket": None, "host": "127.0.0.1", "port": 1}, "check BOT_DB_HOST"),
    ],
    ids=["wrong password", "no such user", "nobody listens"],
)
def test_a_connection_that_is_refused_says_what_to_check_and_no_secret(
    address: MySqlAddress, change: dict[str, Any], message: str
) -> None:
    queue = open_queue(replace(address, **change))

    with pytest.raises(DatabaseUnavailable, match=message) as caught:
        queue.counts()

    assert "not-a-secret" not in str(caught.value)
