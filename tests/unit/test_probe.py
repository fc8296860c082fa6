"""probe against real servers on loopback: what it sends, and what counts as an answer."""

from __future__ import annotations

import time

import pytest

from scalable.lib.http_client.probe import MAX_BODY_BYTES, NoAnswer, probe
from tests.support.fakes.scripted_web import OK, Connection, ScriptedServer, answering
from tests.support.waiting import SOON_SECONDS


def saying(answer: bytes, stalls: bool = False):
    """A script that says this and closes the connection, or leaves it open."""

    def script(connection: Connection, _: ScriptedServer) -> None:
        connection.read_request()
        connection.send(answer)
        if stalls:
            connection.stopping.wait(20)

    return script


@pytest.mark.parametrize(("body", "line"), [(None, "GET /x.py HTTP/1.1"), (b"{}", "POST /x.py HTTP/1.1")])
def test_a_body_makes_it_a_post(body: bytes | None, line: str):
    with ScriptedServer(answering(OK)) as server:
        seen = probe(server.url("/x.py"), body, {"X-Test": "1"})

    (request,) = server.requests
    assert (seen.status, seen.body) == (200, b"ok")
    assert (request.line, request.body) == (line, body or b"")
    assert (request.headers["user-agent"], request.headers["x-test"]) == ("scalable-doctor", "1")


def test_a_redirect_is_seen_and_not_followed():
    with ScriptedServer(saying(b"HTTP/1.1 301 Moved\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")) as server:
        seen = probe(server.url())

    assert (seen.status, seen.headers["location"], server.connections) == (301, "/y", 1)


@pytest.mark.parametrize("head", [b"Content-Length: 99\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n9\r\n"])
@pytest.mark.parametrize("stalls", [False, True])
def test_what_came_of_a_script_that_was_cut_off_or_hangs_is_seen(head: bytes, stalls: bool):
    with ScriptedServer(saying(b"HTTP/1.1 500 Oops\r\n" + head + b"half", stalls)) as server:
        seen = probe(server.url(), timeout_seconds=0.6)

    assert (seen.status, seen.body) == (500, b"half")


def test_only_the_beginning_of_a_large_body_is_seen():
    with ScriptedServer(saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10 * MAX_BODY_BYTES)) as server:
        assert probe(server.url()).body == b"x" * MAX_BODY_BYTES


def test_a_server_that_says_nothing_is_left_in_time():
    with ScriptedServer(saying(b"", stalls=True)) as server:
        began = time.monotonic()

        with pytest.raises(NoAnswer, match=r"^127\.0\.0\.1 did not answer within 0\.6 s$"):
            probe(server.url(), timeout_seconds=0.6)

        assert time.monotonic() - began < SOON_SECONDS


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/", r"127.0.0.1 could not be asked ([Errno 111] Connection refused)"),
        ("http://site.invalid/", "site.invalid could not be asked ([Errno "),
        ("http://a..b/", "a..b could not be asked ("),
    ],
)
def test_an_address_where_nothing_answers_is_told(url: str, words: str):
    with pytest.raises(NoAnswer) as caught:
        probe(url)

    assert str(caught.value).startswith(words)
