"""HttpRunner's connection: kept, replaced, encrypted, and left at the deadline, whatever the server does with it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import LeaseLost
from scalable.lib.http_client import wire
from scalable.lib.runners.http import runner as http_runner
from scalable.lib.runners.http.runner import HttpRunner
from scalable.lib.runners.outcome import Kind, Outcome
from tests.support.fakes.scripted_web import OK, Certificate, Connection, ScriptedServer, answering, make_certificate
from tests.support.generators.bots import outcome_of
from tests.support.waiting import SOON_SECONDS

# Far beyond what any of these servers needs; a run that took this long hung.
AMPLE_SECONDS = 30.0
UPDATE = '{"update_id": 7,  "message": {"text": "привіт 👩‍🌾 \\ud83d"}}'


def post(server: ScriptedServer, timeout_seconds: float = AMPLE_SECONDS, **rest) -> Outcome:
    return outcome_of(HttpRunner(server.url(), timeout_seconds, **rest), UPDATE)


def held(connection: Connection, server: ScriptedServer) -> None:
    """A script that reads the request and says nothing."""
    server.requests.append(connection.read_request())
    connection.stopping.wait(20)


# One connection for many updates


def test_the_connection_is_kept_from_update_to_update():
    with ScriptedServer(answering(OK)) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        for _ in range(5):
            assert outcome_of(runner, UPDATE).succeeded

    assert (server.connections, len(server.requests)) == (1, 5)


def closing(count: int, closed: threading.Semaphore, last_words: bytes = b""):
    """A script that answers `count` requests and then closes the connection without having announced it."""

    def script(connection: Connection, server: ScriptedServer) -> None:
        for _ in range(count):
            request = connection.read_request()
            if request is None:
                return
            server.requests.append(request)
            connection.send(OK)
        connection.send(last_words)
        connection.socket.close()
        closed.release()

    return script


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_a_connection_the_server_closed_meanwhile_is_replaced_without_a_word(last_words: bytes):
    closed = threading.Semaphore(0)
    with ScriptedServer(closing(1, closed, last_words)) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        for _ in range(3):
            assert outcome_of(runner, UPDATE).succeeded
            assert closed.acquire(timeout=10)

    assert (server.connections, len(server.requests)) == (3, 3)


def test_a_connection_that_was_idle_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_runner, "KEPT_SECONDS", 0.0)
    with ScriptedServer(answering(OK)) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        for _ in range(3):
            assert outcome_of(runner, UPDATE).succeeded

    assert (server.connections, len(server.requests)) == (3, 3)


def test_a_request_that_the_server_may_have_processed_is_not_sent_again():
    """Given a server that takes a second update on a kept connection and closes it instead of answering."""

    def script(connection: Connection, server: ScriptedServer) -> None:
        server.requests.append(connection.read_request())
        connection.send(OK)
        server.requests.append(connection.read_request())

    with ScriptedServer(script) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        outcomes = [outcome_of(runner, UPDATE), outcome_of(runner, UPDATE)]

    assert [outcome.kind for outcome in outcomes] == [Kind.SUCCEEDED, Kind.FAILED]
    assert outcomes[1].cause == f"the connection was closed while waiting for the answer of 127.0.0.1:{server.port}"
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_closed_runner_may_run_again():
    with ScriptedServer(answering(OK)) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        for _ in range(2):
            assert outcome_of(runner, UPDATE).succeeded
            runner.close()
            runner.close()

    assert server.connections == 2


def test_many_runs_leave_no_descriptor_open():
    with ScriptedServer(answering(OK.replace(b"200 OK", b"200 OK\r\nConnection: close"))) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        outcome_of(runner, UPDATE)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            outcome_of(runner, UPDATE)
        runner.close()

        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # the server's end of the last ones


# Time


class Enough(ConnectionError):
    """Of a kind that a careless handler would take for one of its own."""


def dripping(connection: Connection, server: ScriptedServer) -> None:
    """A script that answers for ever, a byte at a time."""
    connection.read_request()
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b"x" * 999:
        if connection.stopping.wait(0.01):
            return
        connection.send(bytes([byte]))


def flooding(connection: Connection, server: ScriptedServer) -> None:
    """A script whose answer has no end."""
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not connection.stopping.is_set():
        connection.send(b"y" * 65536)


@pytest.mark.parametrize(
    ("script", "stage"),
    [
        (held, "waiting for the answer of"),
        (dripping, "reading the answer of"),
        (flooding, "reading the answer of"),
    ],
)
def test_a_server_that_does_not_come_to_an_end_is_left_at_the_deadline(script, stage: str):
    ticks: list[float] = []
    with ScriptedServer(script) as server:
        started = time.monotonic()
        outcome = outcome_of(HttpRunner(server.url(), 1.2), UPDATE, tick=lambda: ticks.append(time.monotonic()))
        seconds = time.monotonic() - started

        assert (outcome.kind, outcome.cause) == (
            Kind.TIMED_OUT,
            "stopped after 1.2 s (BOT_LEGACY_TIMEOUT); the web server may still be running the bot",
        )
        assert outcome.output.startswith(f"the time was over while {stage} 127.0.0.1:{server.port}")
        assert 1.2 <= seconds < 1.2 + 2
        assert ticks
        assert len(ticks) <= 3
        assert all(later - earlier >= 0.4 for earlier, later in zip(ticks, ticks[1:]))


def test_a_server_that_answered_in_time_is_heard_although_the_tick_outlasted_its_time():
    def script(connection: Connection, server: ScriptedServer) -> None:
        connection.read_request()
        connection.stopping.wait(0.7)
        connection.send(OK)

    with ScriptedServer(script) as server:
        assert outcome_of(HttpRunner(server.url(), 1.0), UPDATE, lambda: time.sleep(0.8)).answer == b"ok"


def test_what_came_of_an_answer_is_kept_when_its_time_is_over():
    def script(connection: Connection, server: ScriptedServer) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nstep one done")
        connection.stopping.wait(20)

    with ScriptedServer(script) as server:
        assert post(server, 0.5).output.endswith("step one done")


def test_a_server_that_never_reads_does_not_hold_the_run():
    def script(connection: Connection, server: ScriptedServer) -> None:
        connection.stopping.wait(20)

    with ScriptedServer(script) as server:
        outcome = outcome_of(HttpRunner(server.url(), 0.6), "x" * 20_000_000)

    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.output.startswith("the time was over while sending the update to")


def full_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full: the kernel drops further attempts to connect without a word."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(10):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        waiting.append(client)
    return listener, waiting


def test_a_host_that_does_not_even_refuse_is_left_at_the_deadline():
    listener, waiting = full_listener()
    try:
        outcome = outcome_of(HttpRunner(f"http://127.0.0.1:{listener.getsockname()[1]}/", 0.6), UPDATE)
    finally:
        for each in (listener, *waiting):
            each.close()

    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.output.startswith("the time was over while connecting to 127.0.0.1:")
    assert outcome.seconds < SOON_SECONDS


def test_a_dead_address_of_a_host_does_not_hide_a_living_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_runner, "CONNECT_SECONDS", 0.2)
    listener, waiting = full_listener()
    with ScriptedServer(answering(OK)) as server:
        ports = [listener.getsockname()[1], 1, server.port]
        addresses = [(socket.AF_INET, ("127.0.0.1", port)) for port in ports]
        no_such_family = (socket.AF_APPLETALK, ("127.0.0.1", 1))  # as IPv6 is where the kernel has none
        monkeypatch.setattr(wire, "_resolved", lambda *_: [no_such_family, *addresses])

        outcome = post(server)

    for each in (listener, *waiting):
        each.close()
    assert outcome.succeeded


def test_a_resolver_that_does_not_answer_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch):
    """Given a call of the C library, which nothing can interrupt."""
    over = threading.Event()
    look_up = socket.getaddrinfo

    def slow(host: str, *rest, flags: int = 0, **named):
        if not flags & socket.AI_NUMERICHOST:
            over.wait(60)
        return look_up(host, *rest, flags=flags, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    ticks: list[None] = []

    outcome = outcome_of(HttpRunner("http://bot.example/", 1.2), UPDATE, tick=lambda: ticks.append(None))
    over.set()

    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 1.2 s (BOT_LEGACY_TIMEOUT)")
    assert outcome.output == "the time was over while connecting to bot.example"
    assert (1 <= len(ticks) <= 3, outcome.seconds < SOON_SECONDS) == (True, True)


@pytest.mark.parametrize("script", [held, dripping])
@pytest.mark.parametrize("error", [LeaseLost("gone"), Enough("of it")])
def test_what_the_tick_raises_ends_the_run_and_is_passed_on(script, error: Exception):
    def tick() -> None:
        raise error

    with ScriptedServer(script) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        with pytest.raises(type(error)) as caught:
            outcome_of(runner, UPDATE, tick)

        assert caught.value is error
    with ScriptedServer(answering(OK)) as server:
        assert post(server).succeeded


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "DNS:localhost,IP:127.0.0.1")


@pytest.fixture
def tls_server(certificate: Certificate) -> Iterator[ScriptedServer]:
    with ScriptedServer(answering(OK), certificate.server_context()) as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_trusted_server_is_posted_to_over_one_tls_connection(
    tls_server: ScriptedServer, certificate: Certificate, host: str
):
    runner = HttpRunner(tls_server.url(host=host), AMPLE_SECONDS, context=certificate.trusting_context())

    outcomes = [outcome_of(runner, UPDATE) for _ in range(3)]
    runner.close()

    assert [outcome.answer for outcome in outcomes] == [b"ok"] * 3
    assert (tls_server.connections, tls_server.requests[2].body) == (1, UPDATE.encode("utf-8"))


def test_a_certificate_of_nobody_known_is_refused_with_what_to_do(tls_server: ScriptedServer):
    outcome = post(tls_server)

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith(f"the certificate of 127.0.0.1:{tls_server.port} is not accepted (self")
    assert outcome.cause.endswith("name the authority's file in the environment variable SSL_CERT_FILE")
    assert tls_server.requests == []


def test_a_certificate_of_another_name_is_refused_with_what_to_do(tmp_path: Path):
    other = make_certificate(tmp_path, "DNS:other.example")
    with ScriptedServer(answering(OK), other.server_context()) as server:
        outcome = outcome_of(
            HttpRunner(server.url(host="localhost"), AMPLE_SECONDS, context=other.trusting_context()), UPDATE
        )

    assert outcome.kind is Kind.FAILED
    assert "Hostname mismatch" in outcome.cause
    assert outcome.cause.endswith(": put the name that the certificate was made for into BOT_LEGACY_PATH")
    assert server.requests == []


def test_a_certificate_that_ran_out_is_refused_with_what_to_do(tmp_path: Path):
    old = make_certificate(tmp_path, "IP:127.0.0.1", ran_out=True)
    with ScriptedServer(answering(OK), old.server_context()) as server:
        outcome = post(server, context=old.trusting_context())

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.endswith("(certificate has expired): have it renewed, or set this machine's clock")


def test_a_server_without_tls_at_an_https_address_is_told():
    with ScriptedServer(lambda connection, _: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        outcome = outcome_of(HttpRunner(server.url().replace("http:", "https:"), AMPLE_SECONDS), UPDATE)

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith(f"no TLS with 127.0.0.1:{server.port}: ")
    assert outcome.cause.endswith("; is it http://, or another port?")


def test_a_tls_that_this_machine_cannot_set_up_fails_the_run_and_not_the_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    with ScriptedServer(answering(OK)) as server:
        outcome = outcome_of(HttpRunner(server.url().replace("http:", "https:"), AMPLE_SECONDS), UPDATE)

    assert outcome.kind is Kind.FAILED
    assert "No such file or directory" in outcome.cause
    assert server.requests == []


def test_a_handshake_that_stalls_is_left_at_the_deadline(certificate: Certificate):
    with ScriptedServer(held) as server:
        url = server.url().replace("http:", "https:")
        outcome = outcome_of(HttpRunner(url, 0.6, context=certificate.trusting_context()), UPDATE)

    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 0.6 s (BOT_LEGACY_TIMEOUT)")
    assert outcome.output == f"the time was over while agreeing on TLS with 127.0.0.1:{server.port}"


def test_an_answer_that_stalls_inside_tls_is_left_at_the_deadline(certificate: Certificate):
    with ScriptedServer(dripping, certificate.server_context()) as server:
        outcome = post(server, 0.6, context=certificate.trusting_context())

    assert outcome.kind is Kind.TIMED_OUT


def test_large_updates_and_answers_go_through_tls_whole(certificate: Certificate):
    def script(connection: Connection, server: ScriptedServer) -> None:
        request = connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body) + request.body)

    update = json.dumps({"text": "x" * 200_000})
    with ScriptedServer(script, certificate.server_context()) as server:
        outcome = outcome_of(HttpRunner(server.url(), AMPLE_SECONDS, context=certificate.trusting_context()), update)

    assert outcome.answer == update.encode()


def test_a_kept_tls_connection_that_was_closed_is_replaced_without_a_word(certificate: Certificate):
    closed = threading.Semaphore(0)
    with ScriptedServer(closing(1, closed), certificate.server_context()) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS, context=certificate.trusting_context())
        for _ in range(3):
            assert outcome_of(runner, UPDATE).succeeded
            assert closed.acquire(timeout=10)

    assert server.connections == 3
