"""The pool's own server stores updates together that come together, and leaves all that is unusual to the usual way."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.ingest.batch_receiver import BatchReceiver
from scalable.lib.ingest.webhook_app import create_webhook_app
from scalable.lib.ingest.wsgi import mount
from scalable.lib.installation import Installation
from scalable.lib.pool.web_server import WebServer
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects import mysql, mysql_login
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.database import Database, Session
from scalable.lib.queue.dialects.sent_statement import SentStatement
from scalable.lib.queue.job import Counts, Enqueued
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.setup.config import load_config
from scalable.lib.telegram.update import Update
from tests.integration.conftest import database_settings
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite
from tests.support.waiting import eventually

SECRET = "hush"
PATH = "/scalable/webhook_queue.py"


class WatchedQueue(DatabaseQueue):
    """A queue that tells which updates were stored together, and waits before that while its gate is closed.

    `sent` are those that the loop has sent, or tried to; `together` those that its thread has stored.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database, "bot_jobs", RetryPolicy())
        self.ensure_schema()
        self.sent: list[list[int | None]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.together: list[list[int | None]] = []
        self.alone: list[int | None] = []
        self.failure: Exception | None = None

    def send_many(self, jobs: Sequence[Update]) -> Generator[SentStatement, None, list[int]]:
        self.sent.append([job.update_id for job in jobs])
        return super().send_many(jobs)

    def enqueue_many(self, jobs: Sequence[Update]) -> list[int]:
        self.together.append([job.update_id for job in jobs])
        assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure
        return super().enqueue_many(jobs)

    def enqueue(self, job: Update) -> Enqueued:
        self.alone.append(job.update_id)
        if isinstance(self.failure, DatabaseUnavailable):
            raise self.failure
        return super().enqueue(job)


class Pool:
    """The server of a pool, and what it is made of."""

    def __init__(self, folder: Path, database: Database | None = None) -> None:
        self.queue = WatchedQueue(database or open_database(SqliteAddress(folder / "queue")))
        self.announced = 0
        self.batch_receiver = BatchReceiver(PATH, lambda: self.queue, SECRET, "telegram", self._on_enqueued)
        usual = create_webhook_app(lambda: self.queue, SECRET, "telegram", self._on_enqueued)
        self.server = WebServer(mount({"webhook_queue.py": usual}, "/scalable"), "127.0.0.1:0", self.batch_receiver)
        self.server.start()

    def _on_enqueued(self) -> None:
        self.announced += 1

    def connect(self) -> Client:
        return Client(self.server.port)


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self.socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of the next one."""
        status = int(self._file.readline().split()[1])
        lines = iter(lambda: self._file.readline().decode().rstrip("\r\n"), "")
        headers = dict(line.split(": ", 1) for line in lines)
        return status, headers, json.loads(self._file.read(int(headers["Content-Length"])))

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    pool.queue.gate.set()
    pool.server.stop()


@pytest.fixture
def client(pool: Pool) -> Iterator[Client]:
    client = pool.connect()
    yield client
    client.close()


def update(number: int, chat: int = 5) -> bytes:
    message = {"message_id": number, "date": 1, "chat": {"id": chat, "type": "private"}, "text": "é"}
    return json.dumps({"update_id": number, "message": message}).encode()


def request(body: bytes, *lines: str, secret: str = SECRET, path: str = PATH, method: str = "POST") -> bytes:
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        f"X-Telegram-Bot-Api-Secret-Token: {secret}",
        f"Content-Length: {len(body)}",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(head).encode() + body


def test_the_usual_update_is_stored_and_answered_as_it_is_the_usual_way(pool: Pool, client: Client) -> None:
    client.send(request(update(1)))
    quick = client.answer()
    client.send(request(update(2), "TE: trailers", "Connection: Keep-Alive, TE"))
    usual = client.answer()

    assert (pool.queue.together, pool.queue.alone) == ([[1]], [2])
    assert [each[0] for each in (quick, usual)] == [200, 200]
    assert [each[2] for each in (quick, usual)] == [{"ok": True, "queued_job_id": number} for number in (1, 2)]
    assert {**quick[1], "Date": ""} == {**usual[1], "Date": ""}
    assert [pool.queue.payload(number).encode() for number in (1, 2)] == [update(1), update(2)]
    eventually(lambda: pool.announced == 2)


def test_many_updates_on_one_connection_keep_their_order(pool: Pool, client: Client) -> None:
    for number in range(1, 51):
        client.send(request(update(number)))
        assert client.answer()[2]["queued_job_id"] == number

    assert pool.queue.together == [[number] for number in range(1, 51)]


def test_what_comes_while_one_is_stored_is_stored_together_and_each_gets_its_own_answer(pool: Pool) -> None:
    clients = [pool.connect() for _ in range(9)]
    pool.queue.gate.clear()
    clients[0].send(request(update(100)))
    eventually(lambda: pool.queue.together == [[100]])
    for number, client in enumerate(clients[1:], 1):
        client.send(request(update(number)))
        eventually(lambda count=number: pool.batch_receiver.waiting == count)  # type: ignore[misc]
    assert pool.queue.counts() == Counts()

    pool.queue.gate.set()

    answers = [client.answer() for client in clients]
    assert pool.queue.together == [[100], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert {status for status, _, _ in answers} == {200}
    ids = [body["queued_job_id"] for _, _, body in answers]
    assert [pool.queue.find(job_id).update_id for job_id in ids] == [100, *range(1, 9)]
    assert ids == sorted(ids)
    for client in clients:
        client.close()


def test_duplicates_among_those_stored_together_are_one_job(pool: Pool) -> None:
    pool.queue.enqueue(Update("{}", 3))
    clients = [pool.connect() for _ in range(6)]
    pool.queue.gate.clear()
    clients[0].send(request(update(100)))
    eventually(lambda: pool.queue.together == [[100]])
    for count, (client, number) in enumerate(zip(clients[1:], (1, 2, 2, 3, 4)), 1):
        client.send(request(update(number)))
        eventually(lambda count=count: pool.batch_receiver.waiting == count)  # type: ignore[misc]

    pool.queue.gate.set()

    answers = [client.answer() for client in clients]
    assert {status for status, _, _ in answers} == {200}
    assert sorted(body.get("duplicate", False) for _, _, body in answers) == [False] * 4 + [True] * 2
    assert [pool.queue.find(body["queued_job_id"]).update_id for _, _, body in answers] == [100, 1, 2, 2, 3, 4]
    assert pool.queue.counts() == Counts(pending=5)
    for client in clients:
        client.close()


def test_an_update_is_in_the_table_when_its_answer_is_read(pool: Pool) -> None:
    def deliver(first: int) -> None:
        client = pool.connect()
        for number in range(first, first + 40):
            client.send(request(update(number)))
            status, _, body = client.answer()
            assert (status, pool.queue.find(body["queued_job_id"]).update_id) == (200, number)
        client.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(deliver, range(0, 800, 100)))

    assert pool.queue.counts() == Counts(pending=320)
    assert pool.queue.alone == []


def test_while_the_database_is_away_telegram_is_asked_to_come_again(pool: Pool, client: Client) -> None:
    pool.queue.failure = DatabaseUnavailable("gone")

    client.send(request(update(1)))
    status, headers, body = client.answer()

    assert (status, headers["Retry-After"], body["ok"]) == (503, "10", False)
    pool.queue.failure = None
    client.send(request(update(1)))
    assert client.answer()[2] == {"ok": True, "queued_job_id": 1}


def test_a_table_that_somebody_dropped_is_made_anew(pool: Pool, client: Client) -> None:
    pool.queue.database.run(lambda session: session.execute("DROP TABLE bot_jobs"))

    for number in (7, 8):
        client.send(request(update(number)))
        assert client.answer()[0] == 200

    assert (pool.queue.together, pool.queue.alone) == ([[7], [8]], [7])
    assert pool.queue.counts() == Counts(pending=2)


def test_a_failure_nobody_foresaw_is_logged_and_the_updates_take_the_usual_way(
    pool: Pool, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    pool.queue.failure = ZeroDivisionError("nobody foresaw this")

    with caplog.at_level(logging.ERROR):
        client.send(request(update(1)))

        assert client.answer()[2] == {"ok": True, "queued_job_id": 1}
    assert "nobody foresaw this" in caplog.text
    assert pool.queue.alone == [1]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(update(1), secret="wrong"), 401),
        (request(b"not json"), 400),
        (request(b""), 400),
        (request(b"", method="GET"), 405),
        (request(update(1), path="/elsewhere"), 404),
        (request(b'{"message": {}}'), 200),
        (request(update(1), "Expect: 100-continue"), 100),
        (request(update(1), f"Content-Length: {len(update(1))}"), 400),
        (request(update(1)).replace(b"Content-Length: ", b"Content-Length:+"), 400),
        (request(update(1)).replace(b"1.1", b"1.0"), 200),
        (request(b'{"update_id": 1, "x": "' + b"x" * 20_000 + b'"}'), 200),
    ],
)
def test_what_is_not_usual_is_answered_the_usual_way(pool: Pool, client: Client, sent: bytes, status: int) -> None:
    client.send(sent)

    assert int(client.socket.recv(65536).split()[1]) == status
    assert pool.queue.together == []


def test_a_request_in_pieces_is_put_together(pool: Pool, client: Client) -> None:
    whole = request(update(1))
    for part in (whole[:40], whole[40:-10], whole[-10:]):
        client.send(part)

    assert client.answer()[0] == 200
    assert pool.queue.counts() == Counts(pending=1)


def test_requests_sent_without_waiting_are_answered_one_after_the_other(pool: Pool, client: Client) -> None:
    client.send(*[request(update(number)) for number in (1, 2, 3)])
    assert [client.answer()[2]["queued_job_id"] for _ in range(3)] == [1, 2, 3]
    pool.queue.gate.clear()
    client.send(request(update(4)))
    eventually(lambda: pool.queue.together[-1:] == [[4]])

    client.send(request(b"", method="GET"), request(update(5)))
    pool.queue.gate.set()

    assert [client.answer()[0] for _ in range(3)] == [200, 405, 200]
    assert [job.update_id for job in reversed(pool.queue.newest(9))] == [1, 2, 3, 4, 5]


def test_a_client_that_leaves_disturbs_nobody_and_its_update_is_stored(pool: Pool, client: Client) -> None:
    gone = pool.connect()
    pool.queue.gate.clear()
    gone.send(request(update(1)))
    eventually(lambda: pool.queue.together == [[1]])
    gone.close()
    client.send(request(update(2)))
    eventually(lambda: pool.batch_receiver.waiting == 1)

    pool.queue.gate.set()

    assert client.answer()[0] == 200
    assert pool.queue.counts() == Counts(pending=2)


def test_the_other_pages_answer_while_an_update_waits_for_the_database(pool: Pool, client: Client) -> None:
    pool.queue.gate.clear()
    client.send(request(update(1)))
    eventually(lambda: pool.queue.together == [[1]])
    other = pool.connect()

    other.send(request(b"", method="GET"))

    assert other.answer()[0] == 405
    other.close()


def test_a_name_that_means_two_addresses_is_served_at_both(tmp_path: Path) -> None:
    queue = WatchedQueue(open_database(SqliteAddress(tmp_path / "queue")))
    server = WebServer(lambda *_: [], "localhost:0", BatchReceiver(PATH, lambda: queue, "", "telegram", lambda: None))
    server.start()
    client = Client(server.port)

    client.send(request(update(1)))

    assert client.answer()[0] == 200
    assert queue.together == [[1]]
    client.close()
    server.stop()


@pytest.fixture(params=["mariadb-10.5", "mariadb-10.11", "mysql-9.7"])
def remote(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> Iterator[Pool]:
    """A pool on a server, to which the loop itself sends the updates; one connection is open and idle."""
    database = open_database(servers.fresh_database(request.param))
    pool = Pool(tmp_path, database)
    yield pool
    pool.server.stop()
    database.close()


@contextmanager
def table_locked(pool: Pool) -> Iterator[None]:
    """Nobody else can store until the end of the block."""
    locked, go_on = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        session.execute("LOCK TABLES bot_jobs READ")
        locked.set()
        go_on.wait(60)
        session.execute("UNLOCK TABLES")

    holder = open_database(pool.queue.database._address)  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: holder.run(hold))
    thread.start()
    assert locked.wait(60)
    try:
        yield
    finally:
        go_on.set()
        thread.join(60)
        holder.close()


def test_while_a_server_stores_one_the_loop_reads_on_and_the_next_are_stored_together(remote: Pool) -> None:
    clients = [remote.connect() for _ in range(10)]
    with table_locked(remote):
        clients[0].send(request(update(100)))
        eventually(lambda: remote.queue.sent == [[100]])
        for number, client in enumerate(clients[1:9], 1):
            client.send(request(update(number)))
            eventually(lambda count=number: remote.batch_receiver.waiting == count)  # type: ignore[misc]
        clients[9].send(request(b"", method="GET"))
        assert clients[9].answer()[0] == 405

    answers = [client.answer() for client in clients[:9]]

    assert remote.queue.sent == [[100], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert (remote.queue.together, remote.queue.alone) == ([], [])
    assert {status for status, _, _ in answers} == {200}
    ids = [body["queued_job_id"] for _, _, body in answers]
    assert [remote.queue.find(job_id).update_id for job_id in ids] == [100, *range(1, 9)]
    assert ids == sorted(ids)
    for client in clients:
        client.close()


def test_a_server_is_sent_a_duplicate_once_and_the_usual_way_tells_it(remote: Pool) -> None:
    client = remote.connect()
    for expected in ({}, {"duplicate": True}):
        client.send(request(update(1)))
        assert client.answer()[2] == {"ok": True, "queued_job_id": remote.queue.newest(1)[0].id, **expected}

    assert (remote.queue.sent, remote.queue.together, remote.queue.alone) == ([[1], [1]], [], [1])
    client.close()


def test_without_an_idle_connection_the_thread_stores(remote: Pool) -> None:
    remote.queue.database.close()
    client = remote.connect()
    for number in (1, 2):
        client.send(request(update(number)))
        assert client.answer()[0] == 200

    assert (remote.queue.together, remote.queue.sent, remote.queue.alone) == ([[1]], [[1], [2]], [])
    client.close()


def test_a_connection_that_the_server_ended_is_replaced(remote: Pool) -> None:
    [(_, session)] = remote.queue.database._connections._idle
    number = session._connection.thread_id()  # type: ignore[attr-defined]
    other = open_database(remote.queue.database._address)  # type: ignore[attr-defined]
    other.run(lambda session: session.execute(f"KILL {number}"))
    other.close()
    client = remote.connect()

    client.send(request(update(1)))

    assert client.answer()[0] == 200
    assert (remote.queue.sent, remote.queue.together) == ([[1]], [[1]])
    assert remote.queue.counts() == Counts(pending=1)
    client.close()


def test_of_a_server_that_does_not_answer_telegram_is_told_to_come_again(
    remote: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "READ_SECONDS", 1)
    monkeypatch.setattr(mysql_login, "READ_SECONDS", 1)
    client = remote.connect()
    with table_locked(remote):
        client.send(request(update(1)))
        status, headers, _ = client.answer()
        assert (status, headers["Retry-After"]) == (503, "10")

    client.send(request(update(1)))
    assert client.answer()[0] == 200
    assert remote.queue.counts() == Counts(pending=1)
    client.close()


def test_a_server_that_is_stopped_takes_no_connection_any_more_and_finishes_what_it_has(pool: Pool) -> None:
    client = pool.connect()
    pool.queue.gate.clear()
    client.send(request(update(1)))
    eventually(lambda: pool.queue.together == [[1]])

    pool.server.stop()

    with pytest.raises(ConnectionRefusedError):
        pool.connect()
    pool.queue.gate.set()
    assert client.answer()[0] == 200
    client.close()
    eventually(lambda: not pool.server.is_running)


def test_a_server_that_never_started_can_be_stopped() -> None:
    server = WebServer(lambda *_: [], "127.0.0.1:0")

    server.stop()

    with pytest.raises(ConnectionRefusedError):
        Client(server.port)


@pytest.mark.parametrize("database", ["sqlite", "mariadb-10.11"])
def test_of_a_pool_killed_in_the_middle_every_update_it_answered_is_kept(
    tmp_path: Path, servers: Servers, database: str
) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text("import time\ntime.sleep(60)\n")
    settings = {**database_settings(servers, database), "BOT_WEBHOOK_SECRET": SECRET, "BOT_WORKER_POOL_SIZE": "1"}
    answered: dict[int, int] = {}
    enough = threading.Event()

    def deliver(first: int) -> None:
        client = Client(site.port)
        with suppress(OSError, IndexError):  # the pool is gone: no answer, or an empty one
            for number in range(first, first + 10_000):
                client.send(request(update(number, chat=number)))
                status, _, body = client.answer()
                assert status == 200
                answered[number] = body["queued_job_id"]
                if len(answered) > 300:
                    enough.set()
        client.close()

    with ServedSite(tmp_path, bot, **settings) as site, ThreadPoolExecutor(8) as threads:
        deliveries = [threads.submit(deliver, first) for first in range(0, 80_000, 10_000)]
        assert enough.wait(60)
        site.pool.kill()
        for delivery in deliveries:
            delivery.result(60)
        config = load_config(site.environment)
        queue = Installation(config).queue()

    assert {number: queue.find(job_id).update_id for number, job_id in answered.items()} == {
        number: number for number in answered
    }
    queue.close()
