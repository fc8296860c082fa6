"""The pool's quickest way in: updates with an id are stored together, and everything else is declined at once."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.ingest import update_gateway as module
from scalable.lib.ingest.batch_receiver import BatchReceiver
from scalable.lib.ingest.fast_cgi.protocol import MAX_BODY_BYTES, netstring
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES
from scalable.lib.ingest.update_gateway import MOST_CONNECTIONS, UpdateGateway
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.generators.fuzz_counts import fuzzed
from tests.support.waiting import eventually

SECRET = "secret-of-the-webhook"
AMPLE_SECONDS = 20.0
OTHERS = {"REQUEST_METHOD": "GET", "SCALABLE_SCRIPT": "dashboard.py", "SCALABLE_FOLDER": "/of/another"}


class Installation:
    """A gateway over an SQLite queue of its own."""

    def __init__(self, folder: Path) -> None:
        database = open_database(SqliteAddress(folder / ".ht-queue.sqlite3"))
        self.queue = DatabaseQueue(database, "bot_jobs", RetryPolicy(6, 5, 300))
        self.queue.ensure_schema()
        self.notified = 0
        receiver = BatchReceiver("", lambda: self.queue, SECRET, "telegram", self._notify)
        self.gateway = UpdateGateway(folder, receiver, self._are_ours, SECRET)
        self.gateway.start()

    def _notify(self) -> None:
        self.notified += 1

    def _are_ours(self, variables: Mapping[str, str]) -> bool:
        return variables.get("SCALABLE_FOLDER") == "/ours"

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(AMPLE_SECONDS)
        connection.connect(str(self.gateway.path))
        return connection

    def ask(self, body: bytes, **variables: str) -> bytes:
        with closing(self.connect()) as connection:
            connection.sendall(request(body, **variables))
            return answer(connection)

    @property
    def total(self) -> int:
        return self.queue.counts().total

    def close(self) -> None:
        self.gateway.stop()
        self.queue.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    site = Installation(tmp_path)
    yield site
    site.close()


def request(body: bytes, **variables: str) -> bytes:
    fields = {
        "CONTENT_LENGTH": str(len(body)),
        "SCGI": "1",
        "REQUEST_METHOD": "POST",
        "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": SECRET,
        "SCALABLE_FOLDER": "/ours",
        "SCALABLE_SCRIPT": "webhook_queue.py",
        **variables,
    }
    return netstring(b"".join(f"{name}\0{value}\0".encode() for name, value in fields.items())) + body


def answer(connection: socket.socket) -> bytes:
    """What comes, without the netstring around it."""
    data = b""
    while b":" not in data or len(data) < int(data.partition(b":")[0]) + len(data.partition(b":")[0]) + 2:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data.partition(b":")[2][:-1]


def update(number: int, **more: Any) -> bytes:
    return json.dumps({"update_id": number, "message": {"chat": {"id": 5}, **more}}).encode()


def job_of(answered: bytes) -> int:
    assert answered.startswith(b"Status: 200 OK\r\n"), answered
    return int(json.loads(answered.partition(b"\r\n\r\n")[2])["queued_job_id"])


def test_an_update_is_stored_and_answered_as_cgi_does(site: Installation) -> None:
    first, second = (job_of(site.ask(update(number))) for number in (1, 2))

    assert first != second
    assert site.total == 2
    eventually(lambda: site.notified == 2)


def test_one_that_comes_again_is_left_to_the_application_and_not_stored_again(site: Installation) -> None:
    first = job_of(site.ask(update(1)))

    again = site.ask(update(1))

    assert again == b"" or job_of(again) == first
    assert site.total == 1


def test_one_that_comes_in_parts_is_stored_too(site: Installation) -> None:
    whole = request(update(1, text="x" * 300_000))
    with closing(site.connect()) as connection:
        for part in (whole[:1], whole[1:4], whole[4:60], whole[60:], b""):
            connection.sendall(part)
        assert job_of(answer(connection)) > 0


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_request_is_declined(site: Installation, name: str) -> None:
    assert site.ask(update(1), **{name: OTHERS[name]}) == b""
    assert site.total == 0


@pytest.mark.parametrize(
    ("body", "variables"),
    [
        (b"{", {}),
        (b"[]", {}),
        (b"", {}),
        (b'{"message": {}}', {}),
        (update(1, text="x" * MAX_UPDATE_BYTES), {}),
        (update(1), {"HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": "another"}),
        (update(1), {"HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": ""}),
    ],
    ids=range(7),
)
def test_what_is_no_update_of_telegram_with_an_id_is_declined(
    site: Installation, body: bytes, variables: dict[str, str]
) -> None:
    assert site.ask(body, **variables) == b""
    assert site.total == 0


def test_the_first_request_of_an_address_is_declined_so_that_the_application_notes_it(site: Installation) -> None:
    def ask(number: int, host: str, **more: str) -> bytes:
        return site.ask(update(number), HTTP_HOST=host, SCRIPT_NAME="/scalable/webhook_queue.php", **more)

    assert ask(1, "example.com") == b""
    assert job_of(ask(1, "example.com"))
    wrong = {"HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": "another"}
    assert ask(2, "evil.example", **wrong) == b""
    assert job_of(ask(2, "example.com")), "a stranger does not make it forget"
    assert ask(3, "other.example") == b""


def test_updates_of_many_at_once_are_all_stored_once(site: Installation) -> None:
    answers: dict[int, int] = {}

    def send(number: int) -> None:
        answers[number] = job_of(site.ask(update(number)))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 2 * MOST_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AMPLE_SECONDS)

    assert len(set(answers.values())) == len(threads) == site.total


def test_an_update_that_cannot_be_stored_is_declined_and_the_next_one_is_taken(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(site.queue, "enqueue_many", lambda _: 1 / 0)
        assert site.ask(update(1)) == b""

    assert job_of(site.ask(update(1)))


def test_only_this_user_may_connect(site: Installation) -> None:
    assert stat.S_IMODE(site.gateway.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("data", [b"x", b"12345678", b"999999999:", b"0:;", b"3:a\0b,", b"2:a\0b", b"6:a\0b\0c\0,"])
def test_what_is_no_request_is_declined_or_waited_for_a_limited_time(
    site: Installation, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    with closing(site.connect()) as connection:
        connection.sendall(data)
        assert connection.recv(100) in (b"0:,", b"")


def test_a_body_beyond_the_limit_is_declined_before_it_is_read(site: Installation) -> None:
    with closing(site.connect()) as connection:
        connection.sendall(request(b"", CONTENT_LENGTH=str(MAX_BODY_BYTES + 1)))
        assert answer(connection) == b""


def test_who_says_nothing_keeps_nobody_away(site: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    silent = [site.connect() for _ in range(MOST_CONNECTIONS)]

    assert job_of(site.ask(update(1)))
    for connection in silent:
        connection.close()


def test_a_client_that_has_left_has_its_update_stored(site: Installation) -> None:
    connection = site.connect()
    connection.sendall(request(update(1)))
    connection.close()

    eventually(lambda: site.total == 1)
    assert job_of(site.ask(update(2)))


def test_after_the_stop_nothing_listens_and_the_socket_is_gone(tmp_path: Path) -> None:
    site = Installation(tmp_path)
    site.close()
    site.gateway.stop()

    assert not site.gateway.path.exists()
    with pytest.raises(OSError, match="No such file"):
        site.connect()


@fuzzed(200)
@given(st.binary(max_size=60), st.integers(1, 30))
def test_any_bytes_in_any_parts_are_a_request_or_refused(data: bytes, size: int) -> None:
    incoming = module._IncomingRequest()
    try:
        for start in range(0, len(data), size):
            whole = incoming.add(data[start : start + size])
            assert whole is None or isinstance(whole[0], dict)
    except ValueError:
        pass


def test_a_request_that_fails_is_declined_and_the_next_one_is_taken(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(site.gateway, "_are_ours", lambda _: 1 / 0)
        assert [site.ask(update(number)) for number in (1, 2)] == [b"", b""]

    assert job_of(site.ask(update(1)))
