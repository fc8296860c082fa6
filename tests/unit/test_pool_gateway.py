"""The pool's side of the hand-over: only its user gets in, requests arrive as they were, nothing stops it for long."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.ingest import pool_gateway as module
from scalable.lib.ingest.fast_cgi.pool_client import GREETING, MAX_BODY_BYTES, netstring
from scalable.lib.ingest.pool_gateway import THREADS, Gateway, open_gateway
from scalable.lib.ingest.wsgi import Wsgi
from tests.support.generators.fuzz_counts import fuzzed
from tests.support.waiting import SOON_SECONDS, eventually

AMPLE_SECONDS = 60.0


class Echo:
    """An application that keeps what it was asked, and answers with the body; waits at `gate` when there is one."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.gate: threading.Event | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ)
        if self.gate is not None:
            assert self.gate.wait(AMPLE_SECONDS)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def gateway(tmp_path: Path, echo: Echo) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()
    yield gateway
    gateway.stop()


def connect(gateway: Gateway) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(AMPLE_SECONDS)
    connection.connect(str(gateway.path))
    return connection


def greeted(gateway: Gateway) -> socket.socket:
    connection = connect(gateway)
    assert connection.recv(100) == GREETING
    return connection


def request(body: bytes = b"", **variables: str) -> bytes:
    fields = {"CONTENT_LENGTH": str(len(body)), "SCGI": "1", "REQUEST_METHOD": "POST", **variables}
    return netstring(b"".join(b"%b\0%b\0" % (os.fsencode(n), os.fsencode(v)) for n, v in fields.items())) + body


def received(connection: socket.socket) -> bytes:
    """All that comes, without the netstring around it."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    length, _, content = b"".join(parts).partition(b":")
    assert content[int(length) :] == b","
    return content[:-1]


def ask(gateway: Gateway, body: bytes = b"", **variables: str) -> bytes:
    with greeted(gateway) as connection:
        connection.sendall(request(body, **variables))
        return received(connection)


def test_a_request_is_answered_in_the_form_of_cgi(gateway: Gateway):
    answer = ask(gateway, b"hello")

    assert answer.startswith(b"Status: 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


def test_the_application_sees_the_visitor_and_the_address_as_the_web_server_told_them(gateway: Gateway, echo: Echo):
    told = {
        "REMOTE_ADDR": "203.0.113.9",
        "HTTPS": "on",
        "HTTP_HOST": "example.com",
        "SERVER_PORT": "443",
        "SCRIPT_NAME": "/a/scalable/dashboard.py",
        "PATH_INFO": "/job/\u00e9",
        "QUERY_STRING": "token=x&a=%20",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }

    ask(gateway, **told)

    [environ] = echo.asked
    del told["PATH_INFO"]
    assert {name: environ[name] for name in told} == told
    assert environ["PATH_INFO"] == "/job/\u00e9".encode().decode("latin-1")
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["wsgi.multithread"] is True


def test_the_environment_of_the_pool_is_not_the_requests(gateway: Gateway, echo: Echo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_COOKIE", "the pool's")
    monkeypatch.setenv("HTTPS", "on")

    ask(gateway)

    assert not {"HTTP_COOKIE", "HTTPS", "PATH", "HOME"} & echo.asked[0].keys()


def test_what_is_declined_is_answered_with_nothing(tmp_path: Path):
    gateway = Gateway(tmp_path, lambda _: None)
    gateway.start()

    assert ask(gateway) == b""
    gateway.stop()


def test_the_choice_is_made_by_the_variables(tmp_path: Path, echo: Echo):
    seen: list[Mapping[str, str]] = []

    def choose(variables: Mapping[str, str]) -> Wsgi:
        seen.append(variables)
        return echo

    gateway = Gateway(tmp_path, choose)
    gateway.start()
    ask(gateway, SCALABLE_SCRIPT="dashboard.py")
    gateway.stop()

    assert seen[0]["SCALABLE_SCRIPT"] == "dashboard.py"


def test_as_many_as_there_are_threads_are_answered_at_once_and_the_next_one_waits(gateway: Gateway, echo: Echo):
    echo.gate = threading.Event()
    connections = [greeted(gateway) for _ in range(THREADS)]
    for connection in connections:
        connection.sendall(request(b"x"))
    eventually(lambda: len(echo.asked) == THREADS)
    with connect(gateway) as late:
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.recv(100)
        echo.gate.set()
        late.settimeout(AMPLE_SECONDS)
        assert late.recv(100) == GREETING

    assert all(received(connection).endswith(b"x") for connection in connections)
    for connection in connections:
        connection.close()


# Who gets in


def test_only_the_owner_may_connect(gateway: Gateway):
    assert stat.S_IMODE(gateway.path.stat().st_mode) == 0o600


# What others may do wrong


BROKEN = {
    "nothing": b"",
    "no netstring": b"GET / HTTP/1.1\r\n\r\n",
    "a length without end": b"1" * 100,
    "a length beyond all limits": b"99999999:",
    "less than promised": b"100:REQUEST_METHOD\0",
    "no comma at the end": b"4:a\0b\0;",
    "a name without a value": b"2:a\0,",
    "no NUL at the end": b"3:a\0b,",
    "a body shorter than promised": request(CONTENT_LENGTH="5"),
    "a length that is none": request(CONTENT_LENGTH="x"),
    "a negative length": request(CONTENT_LENGTH="-1"),
    "a body too large": request(CONTENT_LENGTH=str(MAX_BODY_BYTES + 1)),
}


@pytest.mark.parametrize("words", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_request_is_told_to_the_log_and_the_next_one_is_answered(
    gateway: Gateway, echo: Echo, words: bytes, caplog: pytest.LogCaptureFixture
):
    with greeted(gateway) as connection:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""

    assert "request not taken over" in caplog.text
    assert ask(gateway, b"next").endswith(b"next")
    assert len(echo.asked) == 1


@fuzzed(60)
@given(words=st.binary(max_size=200))
def test_no_bytes_at_all_stop_a_thread(words: bytes):
    with contextlib.suppress(ValueError):
        module._read_request(BytesIO(words))


def test_whoever_connects_and_says_nothing_is_let_go(tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()
    silent = [greeted(gateway) for _ in range(THREADS)]

    assert ask(gateway, b"next").endswith(b"next")
    for connection in silent:
        connection.close()
    gateway.stop()


def test_whoever_leaves_before_the_greeting_or_the_answer_is_no_obstacle(gateway: Gateway, echo: Echo):
    for _ in range(3 * THREADS):
        connect(gateway).close()
        with greeted(gateway) as connection:
            connection.sendall(request(b"x"))

    assert ask(gateway, b"next").endswith(b"next")


def test_a_choice_or_an_application_that_fails_is_logged_whole_and_the_thread_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def choose(variables: Mapping[str, str]) -> Wsgi:
        raise RuntimeError("nobody foresaw this")

    gateway = Gateway(tmp_path, choose)
    gateway.start()
    for _ in range(2 * THREADS):
        with greeted(gateway) as connection:
            connection.sendall(request())
            assert connection.recv(100) == b""
    gateway.stop()

    assert "RuntimeError: nobody foresaw this" in caplog.text


# Start and stop


def test_a_request_under_way_is_finished_when_the_gateway_stops(tmp_path: Path, echo: Echo):
    echo.gate = threading.Event()
    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()
    connection = greeted(gateway)
    connection.sendall(request(b"x"))
    eventually(lambda: echo.asked)
    stopping = threading.Thread(target=gateway.stop)
    stopping.start()
    eventually(lambda: not gateway.path.exists())
    echo.gate.set()

    assert received(connection).endswith(b"x")
    stopping.join(AMPLE_SECONDS)
    assert not stopping.is_alive()
    connection.close()


def test_a_stop_does_not_wait_for_ever(tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    echo.gate = threading.Event()
    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()
    connection = greeted(gateway)
    connection.sendall(request(b"x"))
    eventually(lambda: echo.asked)

    started = time.monotonic()
    gateway.stop()

    assert time.monotonic() - started < SOON_SECONDS
    echo.gate.set()
    connection.close()


def test_stopping_may_be_repeated_and_need_not_come_after_a_start(tmp_path: Path, echo: Echo):
    gateway = Gateway(tmp_path, lambda _: echo)

    gateway.stop()
    gateway.stop()

    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_pool_that_was_killed_is_replaced(tmp_path: Path, echo: Echo):
    Gateway(tmp_path, lambda _: echo)._socket.close()  # the name stays behind, as after kill -9

    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()

    assert ask(gateway, b"x").endswith(b"x")
    gateway.stop()


def test_a_long_path_is_no_obstacle(tmp_path: Path, echo: Echo):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)

    gateway = Gateway(folder, lambda _: echo)

    assert gateway.path.is_socket()
    gateway.stop()
    assert not gateway.path.exists()


def test_a_folder_without_sockets_is_told_and_lived_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert open_gateway(tmp_path / "not there", lambda _: None) is None

    assert "no gateway, web scripts start slower" in caplog.text


def test_gateways_and_requests_leave_no_descriptor_open(tmp_path: Path, echo: Echo):
    before = len(os.listdir("/proc/self/fd"))
    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()
    for _ in range(10):
        ask(gateway, b"x")
    gateway.stop()

    assert len(os.listdir("/proc/self/fd")) == before
