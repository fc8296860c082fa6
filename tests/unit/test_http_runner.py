"""HttpRunner against real servers on loopback: what it sends, and what is made of the answer."""

from __future__ import annotations

import socket
import tracemalloc

import pytest

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.errors import BotMissing
from scalable.lib.runners.http.runner import HttpRunner
from scalable.lib.runners.outcome import Kind, Outcome
from tests.support.fakes.scripted_web import OK, Connection, ScriptedServer, answering
from tests.support.generators.bots import outcome_of
from tests.support.servers.children import free_port

# Far beyond what any of these servers needs; a run that took this long hung.
AMPLE_SECONDS = 30.0
UPDATE = '{"update_id": 7,  "message": {"text": "привіт 👩‍🌾 \\ud83d"}}'
SECRET = "a-secret_of-the-webhook"


def post(server: ScriptedServer, timeout_seconds: float = AMPLE_SECONDS, **rest) -> Outcome:
    return outcome_of(HttpRunner(server.url(), timeout_seconds, **rest), UPDATE)


# What is sent


def test_the_update_is_posted_as_telegram_posts_it():
    with ScriptedServer(answering(OK)) as server:
        outcome = outcome_of(HttpRunner(server.url("/a%20b/bot.php?x=1&y=%2F"), AMPLE_SECONDS, SECRET), UPDATE)

    (request,) = server.requests
    assert (outcome.kind, outcome.cause, outcome.http_status) == (Kind.SUCCEEDED, "HTTP status 200", 200)
    assert outcome.answer == b"ok"
    assert request.line == "POST /a%20b/bot.php?x=1&y=%2F HTTP/1.1"
    assert request.body == UPDATE.encode("utf-8")
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "content-type": "application/json",
        "content-length": str(len(UPDATE.encode("utf-8"))),
        "x-telegram-bot-api-secret-token": SECRET,
        "user-agent": "ScalableMode",
        "accept-encoding": "identity",
    }


def test_without_a_secret_there_is_no_header_for_it():
    with ScriptedServer(answering(OK)) as server:
        post(server)

    assert {"authorization", "x-telegram-bot-api-secret-token"} & set(server.requests[0].headers) == set()


def test_user_and_password_of_the_address_become_basic_authorization():
    with ScriptedServer(answering(OK)) as server:
        url = server.url().replace("//", "//me:p%40ss:w%C3%B6rd@")
        outcome_of(HttpRunner(url, AMPLE_SECONDS), UPDATE)

    assert server.requests[0].headers["authorization"] == "Basic bWU6cEBzczp3w7ZyZA=="  # me:p@ss:wörd
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_a_bot_at_an_ipv6_address_is_reached():
    try:
        server = ScriptedServer(answering(OK), host="::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with server:
        outcome = outcome_of(HttpRunner(server.url(host="[::1]"), AMPLE_SECONDS), UPDATE)

    assert outcome.succeeded
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with ScriptedServer(answering(OK)) as server:
        assert post(server).succeeded


# The address


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://example.com/bot.php", "posted to https://example.com/bot.php"),
        ("https://me:private@example.com:8443/bot.php?key=private", "posted to https://example.com:8443/bot.php?…"),
        ("http://127.0.0.1:8080/", "posted to http://127.0.0.1:8080/"),
        ("http://localhost", "posted to http://localhost/"),
        ("http://[::1]/", "posted to http://[::1]/"),
        ("https://bücher.example/ü", "posted to https://xn--bcher-kva.example/%C3%BC"),
        ("https://h/bot123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/x", "posted to https://h/bot<token>/x"),
        (
            "http://example.com/bot.php",
            "posted to http://example.com/bot.php (not encrypted: whoever is on the way can read"
            " the updates; prefer https://)",
        ),
    ],
)
def test_check_says_where_updates_go_and_nothing_that_is_secret(url: str, line: str):
    assert HttpRunner(url, AMPLE_SECONDS).check() == line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("bot.php", "bot.php"),
        ("ftp://example.com/", "ftp://example.com/"),
        ("https:///bot.php", "https:///bot.php"),
        ("https://me:private@", "https://***@"),
        ("https://me:pri/vate@example.com:port/", "https://***@example.com:port/"),
        ("https://example.com:0/", "https://example.com:0/"),
        ("https://example.com:65536/", "https://example.com:65536/"),
        ("https://example.com/a b", "https://example.com/a b"),
        ("https://example.com/a\nHost: evil", "https://example.com/a\\nHost: evil"),
        ("https://a..b/?key=private", "https://a..b/"),
        ("https://[::1/", "https://[::1/"),
    ],
)
def test_a_bad_address_is_told_with_the_setting_the_value_and_what_is_expected(url: str, shown: str):
    with pytest.raises(BotMissing) as caught:
        HttpRunner(url, AMPLE_SECONDS)

    assert str(caught.value) == (
        f"BOT_LEGACY_PATH='{shown}': expected https://host/path or http://host:port/path, without spaces"
    )


# The answer


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("204 No Content", Kind.SUCCEEDED),
        ("404 Not Found", Kind.FAILED),
        ("410 Gone", Kind.FAILED_FOR_GOOD),
    ],
)
def test_the_status_decides(status: str, kind: Kind):
    with ScriptedServer(answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        assert post(server).kind is kind


def test_a_redirect_is_not_followed():
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer(answering(moved)) as server:
        outcome = post(server)

    assert (outcome.kind, outcome.cause) == (Kind.FAILED, "HTTP status 302: a redirect, which is not followed")
    assert len(server.requests) == 1


def test_the_wait_a_server_asks_for_is_passed_on():
    busy = b"HTTP/1.1 503 Busy\r\nRETRY-After: 17\r\nContent-Length: 4\r\n\r\nwait"
    with ScriptedServer(answering(busy)) as server:
        outcome = post(server)

    assert (outcome.retry_after_seconds, outcome.output) == (17.0, "wait")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;note=x\r\nabc\r\n3\r\ndef\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef",
    ],
)
def test_every_way_to_send_a_body_is_understood_and_the_connection_kept(answer: bytes):
    with ScriptedServer(answering(answer)) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)

        assert [outcome_of(runner, UPDATE).answer for _ in range(3)] == [b"abcdef"] * 3
        assert server.connections == 1


def test_a_body_that_ends_with_the_connection_is_understood():
    def script(connection: Connection, server: ScriptedServer) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
        connection.send(b"def")

    with ScriptedServer(script) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)

        assert [outcome_of(runner, UPDATE).answer for _ in range(2)] == [b"abcdef"] * 2


def test_a_large_answer_is_read_to_its_end_and_only_the_ends_of_it_are_kept():
    size = 30 * 1024 * 1024

    def script(connection: Connection, server: ScriptedServer) -> None:
        while connection.read_request() is not None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 65536):
                connection.send(b"x" * 65536)

    with ScriptedServer(script) as server:
        runner = HttpRunner(server.url(), AMPLE_SECONDS)
        tracemalloc.start()
        try:
            outcome = outcome_of(runner, UPDATE)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert (outcome.succeeded, outcome.answer, outcome.output) == (True, b"", "x" * TAIL_BYTES)
        assert peak_bytes < 2 * 1024 * 1024
        assert outcome_of(runner, UPDATE).succeeded
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "the connection was closed while waiting for the answer of HOST"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "the connection was closed while reading the answer of HOST",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
            "the connection was closed while reading the answer of HOST",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what HOST answered is not HTTP: BadStatusLine SSH-2.0-OpenSSH_9.2"),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000,
            "what HOST answered is not HTTP: LineTooLong got more than 65536 bytes when reading header line",
        ),
    ],
)
def test_an_answer_that_breaks_off_or_is_none_is_a_failed_attempt_with_a_cause(answer: bytes, cause: str):
    def script(connection: Connection, server: ScriptedServer) -> None:
        connection.read_request()
        connection.send(answer)

    with ScriptedServer(script) as server:
        outcome = post(server)

    assert (outcome.kind, outcome.answer) == (Kind.FAILED, b"")
    assert outcome.cause == cause.replace("HOST", f"127.0.0.1:{server.port}")
    assert outcome.output == ("half" if b"half" in answer else "")


def test_a_server_that_answers_before_it_read_everything_is_heard():
    def script(connection: Connection, server: ScriptedServer) -> None:
        connection.socket.recv(100)
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.socket.shutdown(socket.SHUT_WR)
        while connection.socket.recv(65536):
            pass

    with ScriptedServer(script) as server:
        outcome = outcome_of(HttpRunner(server.url(), AMPLE_SECONDS), "x" * 5_000_000)

    assert outcome.http_status == 413


# Where there is no server


def test_a_refused_connection_is_a_failed_attempt_with_a_cause():
    port = free_port()

    outcome = outcome_of(HttpRunner(f"http://127.0.0.1:{port}/", AMPLE_SECONDS), UPDATE)

    assert (outcome.kind, outcome.cause) == (Kind.FAILED, f"Connection refused while connecting to 127.0.0.1:{port}")


def test_a_name_nobody_knows_is_a_failed_attempt_with_a_cause():
    outcome = outcome_of(HttpRunner("http://me:private@bot.invalid/", AMPLE_SECONDS), UPDATE)

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith("the name bot.invalid is not known (")
    assert "private" not in outcome.explanation()


def test_nothing_secret_is_in_a_repr():
    runner = HttpRunner("https://me:private@example.com/?key=private", AMPLE_SECONDS, "private")

    assert "private" not in repr(runner) + repr(vars(runner)["_address"])
