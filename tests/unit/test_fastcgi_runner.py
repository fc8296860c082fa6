"""FastCgiRunner and the host's server: what reaches the bot, and what is made of the way the server behaves."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import BotMissing, ConfigurationError
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php.cgi_request import WebRequest
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.fastcgi_client import FastCgiConnection
from scalable.lib.runners.php.fpm import HostServer
from tests.support.fakes.scripted_fastcgi import (
    CANT_MULTIPLEX,
    OVERLOADED,
    STDERR,
    STDOUT,
    UNKNOWN_ROLE,
    Request,
    ScriptedServer,
    answer,
    ending,
    read_request,
    record,
)
from tests.support.generators.bots import outcome_of
from tests.support.servers.children import free_port

AMPLE_SECONDS = 60.0


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    path = tmp_path / "bot.php"
    path.write_text("<?php")
    return path


def run(bot: Path, reply: bytes, payload: str = "{}", timeout_seconds: float = AMPLE_SECONDS) -> Outcome:
    """The outcome when the server reads the request, sends `reply` and closes."""

    def serve(link: socket.socket) -> None:
        read_request(link)
        link.sendall(reply)

    with ScriptedServer(serve) as server:
        return outcome_of(FastCgiRunner(bot, timeout_seconds, HostServer(server.address)), payload)


def test_the_update_and_the_variables_reach_the_server(bot: Path):
    seen: list[Request] = []

    def serve(link: socket.socket) -> None:
        seen.append(read_request(link))
        link.sendall(answer(b"hi"))

    environment = {"BOT_TOKEN": "1:x", "HOME": "/home/you"}
    with ScriptedServer(serve) as server:
        outcome = outcome_of(
            FastCgiRunner(bot, AMPLE_SECONDS, HostServer(server.address), WebRequest("s3cret"), environment),
            '{"t":"ї"}',
        )

    request = seen[0]
    assert outcome.succeeded
    assert request.body == '{"t":"ї"}'.encode()
    assert request.variables["CONTENT_LENGTH"] == "10"
    assert request.variables["SCRIPT_FILENAME"] == str(bot)
    assert request.variables["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"] == "s3cret"
    assert request.variables["BOT_TOKEN"] == "1:x"
    assert "HOME" not in request.variables
    assert (request.role, request.flags) == (1, 0)


def test_the_status_of_the_response_decides_and_both_streams_are_told(bot: Path):
    outcome = run(
        bot,
        (record(STDERR, b"a notice") + record(STDOUT, b"Status: 503 Wait\r\nRetry-After: 9\r\n\r\nlater") + ending()),
    )

    assert (outcome.kind, outcome.cause, outcome.http_status) == (Kind.FAILED, "HTTP status 503", 503)
    assert (outcome.retry_after_seconds, outcome.output, outcome.answer) == (9.0, "later\na notice", b"later")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (OVERLOADED, "it is overloaded and takes no request just now"),
        (CANT_MULTIPLEX, "it takes no second request on one connection"),
        (UNKNOWN_ROLE, "it answers no requests (the FastCGI role of a responder)"),
        (9, "it refuses the request with status 9"),
    ],
)
def test_a_server_that_refuses_is_a_failed_attempt_with_its_reason(bot: Path, status: int, why: str):
    outcome = run(bot, ending(status))

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith("BOT_FASTCGI_SOCKET=/")
    assert outcome.cause.endswith(f": {why}")


def test_an_exit_status_that_a_server_tells_does_not_decide(bot: Path):
    assert run(bot, record(STDOUT, b"\r\n") + ending(app_status=1)).succeeded


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (ending(), Kind.FAILED, "gave no response: it is empty"),
        (
            record(STDOUT, b"words") + ending(),
            Kind.FAILED,
            "gave no response: no empty line ends its headers, in 5 bytes",
        ),
        (record(STDOUT, b"words"), Kind.DIED, "the host's PHP closed the connection while running the bot"),
        (b"", Kind.DIED, "the host's PHP closed the connection while running the bot"),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            Kind.FAILED,
            "does not speak FastCGI: a record begins with byte 72, expected 1",
        ),
    ],
)
def test_an_answer_that_is_none_is_told_with_the_address(bot: Path, reply: bytes, kind: Kind, words: str):
    outcome = run(bot, reply)

    assert outcome.kind is kind
    assert words in outcome.cause
    assert outcome.cause.startswith("BOT_FASTCGI_SOCKET=/")
    assert "words" not in outcome.cause


def test_what_came_before_the_server_died_is_kept(bot: Path):
    assert run(bot, record(STDERR, b"last words") + record(STDOUT, b"half")).output == "half\nlast words"


def test_a_run_over_its_time_says_that_php_may_go_on_and_the_connection_is_closed(bot: Path):
    closed = threading.Event()

    def serve(link: socket.socket) -> None:
        read_request(link)
        link.sendall(record(STDOUT, b"\r\nso far"))
        if link.recv(1) == b"":
            closed.set()

    with ScriptedServer(serve) as server:
        outcome = outcome_of(FastCgiRunner(bot, 0.3, HostServer(server.address)))
        assert closed.wait(AMPLE_SECONDS)

    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.cause == "stopped after 0.3 s (BOT_LEGACY_TIMEOUT); the host's PHP may still be running the bot"
    assert outcome.output == "so far"


class Enough(Exception):
    pass


def test_what_the_tick_raises_closes_the_connection_and_is_passed_on(bot: Path):
    closed = threading.Event()

    def tick() -> None:
        raise Enough

    def serve(link: socket.socket) -> None:
        read_request(link)
        if link.recv(1) == b"":
            closed.set()

    with ScriptedServer(serve) as server:
        with pytest.raises(Enough):
            outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, HostServer(server.address)), "{}", tick)
        assert closed.wait(AMPLE_SECONDS)


class ClosedAtFirst(HostServer):
    """A server that closed the first connections before anything was sent on them."""

    def __init__(self, address: str, closed: int) -> None:
        super().__init__(address)
        self._closed = closed

    def connect(self, deadline: float) -> FastCgiConnection:
        if self._closed == 0:
            return super().connect(deadline)
        self._closed -= 1
        here, there = socket.socketpair()
        there.close()
        return FastCgiConnection(here)


def greeting(link: socket.socket) -> None:
    read_request(link)
    link.sendall(answer(b"hi"))


def test_a_connection_that_took_nothing_of_the_update_is_replaced_once(bot: Path):
    with ScriptedServer(greeting) as server:
        outcome = outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, ClosedAtFirst(server.address, 1)))

    assert (outcome.kind, server.connections) == (Kind.SUCCEEDED, 1)


def test_and_not_for_ever(bot: Path):
    with ScriptedServer(greeting) as server:
        outcome = outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, ClosedAtFirst(server.address, 2)))

    assert (outcome.kind, server.connections) == (Kind.DIED, 0)
    assert ": the host's PHP closed the connection before it took the update" in outcome.cause


def test_a_request_that_was_taken_is_never_sent_again(bot: Path):
    with ScriptedServer(lambda link: link.recv(1) and None) as server:
        outcome = outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, HostServer(server.address)))

    assert (outcome.kind, server.connections) == (Kind.DIED, 1)


def test_a_bot_that_is_away_for_a_moment_is_a_failed_attempt_and_asks_nobody(tmp_path: Path):
    with ScriptedServer(greeting) as server:
        outcome = outcome_of(FastCgiRunner(tmp_path / "bot.php", AMPLE_SECONDS, HostServer(server.address)))

    assert (outcome.kind, server.connections) == (Kind.FAILED, 0)
    assert "there is no bot at" in outcome.cause


def test_the_check_says_who_runs_the_bot(bot: Path):
    with ScriptedServer(lambda _: None) as server:
        line = FastCgiRunner(bot, AMPLE_SECONDS, HostServer(server.address)).check()

        assert line == f"the host's PHP by FastCGI, BOT_FASTCGI_SOCKET={server.path}, SCRIPT_FILENAME={bot}"


def test_the_check_wants_a_bot(tmp_path: Path):
    with ScriptedServer(lambda _: None) as server, pytest.raises(BotMissing, match="there is no bot at"):
        FastCgiRunner(tmp_path / "bot.php", AMPLE_SECONDS, HostServer(server.address)).check()


def absent(folder: Path) -> str:
    return str(folder / "fpm.sock")


def abandoned(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "fpm.sock"))
    return str(folder / "fpm.sock")


def not_listening(_folder: Path) -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (absent, "there is no such socket; PHP-FPM is not running, or `listen` of its pool names another"),
        (abandoned, "nothing listens there; PHP-FPM is not running, or `listen` of its pool names another"),
        (not_listening, "nothing listens there; PHP-FPM is not running, or `listen` of its pool names another"),
        (lambda folder: f"{folder}/{'x' * 120}", "cannot be connected to (AF_UNIX path too long)"),
    ],
)
def test_a_server_that_is_not_there_is_told_at_the_start_and_a_failed_attempt_later(
    tmp_path: Path, bot: Path, make: Callable[[Path], str], why: str
):
    address = make(tmp_path)
    runner = FastCgiRunner(bot, AMPLE_SECONDS, HostServer(address))

    with pytest.raises(BotMissing) as raised:
        runner.check()
    outcome = outcome_of(runner)

    assert str(raised.value) == f"BOT_FASTCGI_SOCKET={address}: {why}"
    assert (outcome.kind, outcome.cause) == (Kind.FAILED, str(raised.value))


def test_a_socket_of_somebody_else_is_told(bot: Path, monkeypatch: pytest.MonkeyPatch):
    """By a stand-in for the kernel: the tests may run as root, whom it refuses nothing."""

    def refuse(_self: socket.socket, _address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    outcome = outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, HostServer("/run/php/fpm.sock")))

    assert outcome.cause == (
        f"BOT_FASTCGI_SOCKET=/run/php/fpm.sock: user {os.geteuid()} may not use it; `listen.owner` and `listen.mode` "
        "of the pool decide who may"
    )


def test_a_server_whose_queue_is_full_is_overloaded(tmp_path: Path, bot: Path):
    """Given a server that accepts nobody, with as many waiting as its queue holds."""
    path = str(tmp_path / "s")
    waiting = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        while True:
            client = socket.socket(socket.AF_UNIX)
            waiting.append(client)
            client.setblocking(False)
            if client.connect_ex(path) != 0:
                break

        outcome = outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, HostServer(path)))

    for client in waiting:
        client.close()
    assert outcome.kind is Kind.FAILED
    assert outcome.cause == f"BOT_FASTCGI_SOCKET={path}: the host's PHP is overloaded: it takes no connection just now"


def test_a_server_on_tcp_is_reached_too(bot: Path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                greeting(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        outcome = outcome_of(
            FastCgiRunner(bot, AMPLE_SECONDS, HostServer(f"localhost:{listener.getsockname()[1]}")), "{}"
        )
        thread.join(AMPLE_SECONDS)

    assert outcome.answer == b"hi"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "fpm.sock",
        "localhost",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "host:port",
        "::1:9000",
        "http://127.0.0.1:9000",
    ],
)
def test_an_address_of_another_form_is_a_mistake_in_the_settings(address: str):
    with pytest.raises(ConfigurationError, match=r"^BOT_FASTCGI_SOCKET='.*': expected /path/to\.sock or host:port"):
        HostServer(address)


def test_the_update_is_in_no_repr_and_no_cause(bot: Path):
    outcome = run(bot, record(STDOUT, b"\r\nprivate words") + ending(), '{"text":"private words"}')

    assert "private words" not in repr(outcome)
    assert "private words" not in outcome.cause
