"""Of a body that is refused the pool's own server keeps nothing, in memory or in a file, and answers as ever."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scalable.lib.ingest.request_body import MAX_FORM_BYTES, MAX_UPDATE_BYTES
from scalable.lib.ingest.request_parser import BodyLimits
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.waiting import eventually

SECRET = "s-of-the-refused-bodies"
WEBHOOK, PAGE, NOTHING = "/scalable/webhook_queue.py", "/scalable/dashboard.py", "/nothing"
TOKEN = f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n"
# Path, headers, bytes of the body, status.
REFUSED = [
    (WEBHOOK, "", 1_000_000, 401),
    (WEBHOOK, TOKEN.replace("s-of", "S-of"), 1_000_000, 401),
    (f"{WEBHOOK}/x", "", 1_000_000, 401),
    ("/scalable/webhook%5Fqueue.py", "", 1_000_000, 401),
    (f"http://x{WEBHOOK}?a", "", 1_000_000, 401),
    (WEBHOOK, "", 7_000_000, 401),
    (WEBHOOK, TOKEN, 7_000_000, 413),
    (PAGE, TOKEN, 1_000_000, 413),
    (PAGE, "", MAX_FORM_BYTES + 1, 413),
    (NOTHING, TOKEN, 1_000_000, 404),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSite]:
    bot = REPOSITORY / "examples" / "bot.py"
    with ServedSite(tmp_path_factory.mktemp("served"), bot, BOT_WEBHOOK_SECRET=SECRET) as site:
        yield site


def files_of(pid: int) -> int:
    """The bytes in files without a name that a process has open."""
    total = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            total += each.stat().st_size if re.search(r"/#\d+ \(deleted\)$", os.readlink(each)) else 0
        except FileNotFoundError:  # closed meanwhile
            continue
    return total


def memory_of(pid: int) -> int:
    found = re.search(r"VmRSS:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) * 1024


def head(path: str, headers: str, length: int) -> bytes:
    size = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}{size}\r\n\r\n".encode()


def status_of(connection: socket.socket) -> int:
    answer = connection.makefile("rb").readline()
    return int(answer.split()[1])


def send_all(connection: socket.socket, count: int) -> None:
    """So many bytes of a body, all of which the server has taken when this returns, but for what the kernel holds."""
    connection.sendall(b"x" * count)


@pytest.mark.parametrize(("path", "headers", "length", "status"), REFUSED)
def test_nothing_is_kept_while_it_comes_and_the_answer_is_right(
    site: ServedSite, path: str, headers: str, length: int, status: int
) -> None:
    before = memory_of(site.pool.pid)
    with ExitStack() as stack:
        neighbours = []
        for _ in range(20):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20))
            each.sendall(head(path, headers, length))
            send_all(each, length - 1)
            neighbours.append(each)

        assert files_of(site.pool.pid) == 0
        assert memory_of(site.pool.pid) - before < 20_000_000
        for each in neighbours[:3]:
            each.sendall(b"x")
            assert status_of(each) == status


@pytest.mark.parametrize(
    ("path", "headers", "status"), [(WEBHOOK, "", 401), (WEBHOOK, TOKEN, 413), (PAGE, "", 413), (NOTHING, "", 404)]
)
def test_nor_of_one_in_chunks_and_the_connection_goes_on(
    site: ServedSite, path: str, headers: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(head(path, headers, 0))
        for _ in range(20):
            connection.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        eventually(lambda: files_of(site.pool.pid) == 0)
        connection.sendall(b"0\r\n\r\n")
        assert status_of(connection) == status

    update = b'{"update_id": 7, "message": {"chat": {"id": 1}}, "x": "' + b"x" * 900_000 + b'"}'
    answer = site.send(update, **{"X-Telegram-Bot-Api-Secret-Token": SECRET})
    assert answer.status == 200


def test_over_eight_times_the_limit_it_is_refused_before_it_comes(site: ServedSite) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(head(WEBHOOK, TOKEN, 8 * MAX_UPDATE_BYTES + 1))
        assert status_of(connection) == 413


@pytest.mark.parametrize(
    ("path", "secret", "most"),
    [
        (WEBHOOK, SECRET, MAX_UPDATE_BYTES),
        (f"{WEBHOOK}/", SECRET, MAX_UPDATE_BYTES),
        (WEBHOOK, "", 0),
        (WEBHOOK, "\xff", 0),
        (f"{WEBHOOK}x", SECRET, MAX_FORM_BYTES),
        (PAGE, "", MAX_FORM_BYTES),
    ],
)
def test_what_is_kept_is_what_somebody_reads(path: str, secret: str, most: int) -> None:
    assert BodyLimits(WEBHOOK, SECRET).most_bytes(path, secret) == most
    assert BodyLimits(WEBHOOK, "").most_bytes(WEBHOOK, secret) == MAX_UPDATE_BYTES
