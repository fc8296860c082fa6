"""The pool's own server under somebody who opens a thousand connections: Telegram's updates are taken all the same.

All come from 127.0.0.1, as behind a proxy, where the neighbour on the machine cannot be told from Telegram.
"""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.ingest.batch_receiver import BatchReceiver
from scalable.lib.pool.connections import ConnectionLimits
from scalable.lib.pool.web_server import WebServer
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.waiting import eventually

NEIGHBOURS = 1_000
SECRET = "s-of-the-crowded-server"
BOT = REPOSITORY / "examples" / "bot.py"
PATH = "/scalable/webhook_queue.py"
# Telegram waits far longer; it takes a fraction of it on a machine that does nothing else.
SOON_SECONDS = 30.0
HALF_A_HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-".encode()
HALF_A_BODY = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode()
WHOLE_AND_KEPT = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
ONE_THAT_IS_WORKED_ON = b"GET /scalable/dashboard.py HTTP/1.1\r\nHost: x\r\n\r\n"
CROWDS = {
    "who say nothing": b"",
    "with half a head": HALF_A_HEAD,
    "with half a body": HALF_A_BODY,
    "who were answered and stay": WHOLE_AND_KEPT,
    "who all want the dashboard": ONE_THAT_IS_WORKED_ON,
}


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """For our ends of the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ServedSite]:
    with ServedSite(tmp_path, BOT, BOT_WEBHOOK_SECRET=SECRET, BOT_MONITOR_TOKEN="t-of-the-crowded-server") as site:
        yield site


def connect(port: int, said: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(said)
    return connection


@contextmanager
def crowd(port: int, said: bytes) -> Iterator[list[socket.socket]]:
    """A thousand connections that have said so much, of somebody who takes no answer and ends none."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(port, said)) for _ in range(NEIGHBOURS)]


@contextmanager
def again_and_again(work: Callable[[], object]) -> Iterator[None]:
    """Do it in another thread, as fast as it goes."""
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set():
            with suppress(OSError):
                work()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(60)


def update(number: int) -> bytes:
    chat = {"id": number, "type": "private"}
    content = {"update_id": number, "message": {"message_id": 1, "date": 1, "chat": chat, "text": "a"}}
    body = json.dumps(content).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def deliver(port: int, number: int) -> float:
    """The seconds until an update on a connection of its own was answered with 200."""
    began = time.monotonic()
    with connect(port, update(number)) as connection:
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return time.monotonic() - began


@pytest.mark.parametrize("said", CROWDS.values(), ids=CROWDS)
def test_a_thousand_neighbours_do_not_keep_telegram_out(site: ServedSite, said: bytes) -> None:
    with crowd(site.port, said):
        waited = [deliver(site.port, number) for number in range(20)]

    assert max(waited) < SOON_SECONDS, waited
    assert site.pool.is_running()


@pytest.mark.parametrize("said", [b"", HALF_A_BODY], ids=["who say nothing", "with half a body"])
def test_neighbours_who_come_again_and_again_do_not_either(site: ServedSite, said: bytes) -> None:
    with crowd(site.port, said) as neighbours, again_and_again(lambda: neighbours.append(connect(site.port, said))):
        waited = [deliver(site.port, number) for number in range(50)]
        for each in neighbours:
            each.close()

    assert max(waited) < SOON_SECONDS, waited


def test_half_a_request_that_grows_by_a_byte_at_a_time_does_not_either(site: ServedSite) -> None:
    with crowd(site.port, HALF_A_BODY) as neighbours:

        def dribble() -> None:
            for each in neighbours:
                with suppress(OSError):
                    each.send(b" ")

        with again_and_again(dribble):
            waited = [deliver(site.port, number) for number in range(50)]

    assert max(waited) < SOON_SECONDS, waited


def test_a_crowd_is_two_lines_of_the_log_at_most(site: ServedSite) -> None:
    with crowd(site.port, HALF_A_HEAD), crowd(site.port, b""):
        deliver(site.port, 1)

    lines = [line for line in site.log.read_text().splitlines() if "connections" in line]
    assert 1 <= len(lines) <= 2, lines
    assert "connections closed late=0 too_many=" in lines[0]


class Pool:
    """The same server within this process, whose clients have less time."""

    def __init__(self, folder: Path, listen: str = "127.0.0.1:0") -> None:
        self.queue = DatabaseQueue(open_database(SqliteAddress(folder / "queue")), "bot_jobs", RetryPolicy())
        self.queue.ensure_schema()
        receiver = BatchReceiver(PATH, lambda: self.queue, SECRET, "telegram", lambda: None)
        limits = ConnectionLimits(most=50, request_seconds=1.0)
        self.asked = 0
        self.server = WebServer(self._answer, listen, receiver, limits)
        self.server.start()

    def _answer(self, _: Any, start_response: Any) -> list[bytes]:
        self.asked += 1
        start_response("404 Not Found", [("Content-Length", "0")])
        return []


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    yield pool
    pool.server.stop()


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("said", [b"", HALF_A_HEAD, HALF_A_BODY, b"P"])
def test_a_request_that_is_not_whole_in_time_is_given_up(pool: Pool, said: bytes) -> None:
    with connect(pool.server.port, said) as connection:
        eventually(lambda: is_closed(connection))


@pytest.mark.parametrize("said", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n \r\n", b"\r\n" * 5 + b"P"])
@pytest.mark.parametrize("before", [b"", WHOLE_AND_KEPT])
def test_empty_lines_do_not_put_the_end_off(pool: Pool, before: bytes, said: bytes) -> None:
    with connect(pool.server.port, before) as connection:
        if before:
            assert connection.recv(4096)

        def goes_on() -> bool:
            with suppress(OSError):
                connection.settimeout(1)
                connection.send(said)
            return is_closed(connection)

        eventually(goes_on)


@pytest.mark.parametrize("said", [b"\r\n", b"\r\n\r\n", b"\r\n" * 7])
def test_empty_lines_before_a_request_are_passed_over(pool: Pool, said: bytes) -> None:
    with connect(pool.server.port, said + WHOLE_AND_KEPT + said + WHOLE_AND_KEPT):
        eventually(lambda: pool.asked == 2)


def test_a_connection_that_telegram_keeps_stays_though_it_is_used_seldom(pool: Pool) -> None:
    with connect(pool.server.port, update(1)) as kept, connect(pool.server.port, b"") as silent:
        assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: is_closed(silent))

        kept.sendall(update(2))
        assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_descriptors_beyond_those_of_select_are_served(pool: Pool) -> None:
    """select(2) knows 1,024; the loop must not end when a process has opened more."""
    with ExitStack() as stack:
        for _ in range(1_100):
            stack.enter_context(socket.socket())

        assert deliver(pool.server.port, 1) < SOON_SECONDS


@pytest.mark.parametrize("said", [b"", HALF_A_BODY, WHOLE_AND_KEPT], ids=["silent", "half a body", "answered"])
def test_neighbours_at_a_socket_do_not_keep_a_proxy_out(tmp_path: Path, said: bytes) -> None:
    """There no connection has an address."""
    path = tmp_path / "s"
    pool = Pool(tmp_path, f"unix:{path}")

    def connected(said: bytes) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(said)
        return connection

    with ExitStack() as stack:
        neighbours = [stack.enter_context(connected(said)) for _ in range(200)]
        for number in range(20):
            with connected(update(number)) as connection:
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: any(is_closed(each) for each in neighbours))
    pool.server.stop()
