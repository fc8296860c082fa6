"""BotApi against a real HTTP server: what becomes of a call, whatever the network does, and where the token is not."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing

import pytest

from scalable.lib.errors import (
    BotApiBusy,
    BotApiError,
    BotApiRefused,
    BotApiUnanswered,
    BotApiUnreachable,
    ConfigurationError,
)
from scalable.lib.telegram import bot_api
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.telegram.webhook_reply import FORM, JSON, MethodCall
from tests.support.fakes.bot_api import (
    TOKEN,
    FakeBotApi,
    Turn,
    drops_after_answer,
    drops_before_answer,
    drops_in_answer,
    fails,
    is_busy,
    redirects,
    refuses,
    says,
    stalls,
    wait_until_closed,
)
from tests.support.fakes.scripted_web import Connection, ScriptedServer
from tests.support.servers.children import free_port
from tests.support.waiting import SOON_SECONDS, eventually

SECRET = TOKEN.partition(":")[2]


@pytest.fixture
def server() -> Iterator[FakeBotApi]:
    with FakeBotApi() as server:
        yield server


@pytest.fixture
def api(server: FakeBotApi) -> Iterator[BotApi]:
    api = BotApi(TOKEN, server.url)
    yield api
    api.close()


def hello(api: BotApi) -> object:
    return api.call("sendMessage", {"chat_id": 5, "text": "привіт 👋"})


def by_name(server: FakeBotApi) -> str:
    """Its address with a name, which has to be looked up."""
    return server.url.replace("127.0.0.1", "localhost")


# --- calls that go well ---


def test_a_call_brings_the_result_alone(api: BotApi, server: FakeBotApi):
    message = hello(api)

    assert isinstance(message, dict)
    assert (message["chat"]["id"], message["text"]) == (5, "привіт 👋")
    [call] = server.calls
    assert (call.method, call.parameters, call.token) == ("sendmessage", {"chat_id": 5, "text": "привіт 👋"}, TOKEN)


def test_a_call_without_parameters(api: BotApi):
    assert api.call("getWebhookInfo")["pending_update_count"] == 0


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"method":"sendMessage", "chat_id":1,  "text":"\xf0\x9f\x91\x8b"}'),
        (FORM, b"method=sendMessage&chat_id=1&text=%F0%9F%91%8B"),
        (
            'multipart/form-data; boundary="x"',
            b'--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n1\r\n--x--',
        ),
    ],
)
def test_a_body_is_posted_byte_for_byte(api: BotApi, server: FakeBotApi, content_type: str, body: bytes):
    assert api.post(MethodCall("sendSomething", content_type, body)) is True

    [call] = server.calls
    assert (call.body, call.content_type, str(call.parameters["chat_id"])) == (body, content_type, "1")


def test_calls_share_a_connection(api: BotApi, server: FakeBotApi):
    for _ in range(5):
        hello(api)

    assert {call.connection for call in server.calls} == {1}


def test_after_an_error_the_connection_is_still_good(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", refuses("Bad Request: chat not found"), fails(500))
    for _ in range(2):
        with pytest.raises(BotApiError):
            hello(api)
    hello(api)

    assert {call.connection for call in server.calls} == {1}


def test_a_connection_the_server_closed_meanwhile_is_not_used_again(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", drops_after_answer())
    hello(api)
    wait_until_closed(api)

    hello(api)

    assert [call.connection for call in server.calls] == [1, 2]


def test_a_connection_that_was_idle_for_long_is_not_used_again(server: FakeBotApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bot_api, "IDLE_SECONDS", 0.0)
    with closing(BotApi(TOKEN, server.url)) as api:
        hello(api)
        hello(api)

    assert [call.connection for call in server.calls] == [1, 2]


def test_threads_call_at_the_same_time(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", *[stalls(0.2)] * 4)
    threads = [threading.Thread(target=hello, args=(api,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    hello(api)

    assert sorted(call.connection for call in server.calls[:4]) == [1, 2, 3, 4]
    assert server.calls[4].connection <= 4


def test_a_server_below_a_path(server: FakeBotApi):
    with closing(BotApi(TOKEN, f"{server.url}/telegram/v1/")) as api:
        api.call("getMe")

    assert [(call.prefix, call.method) for call in server.calls] == [("/telegram/v1", "getme")]


# --- errors, one for each decision ---


def test_a_refusal_has_the_servers_words(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", refuses("Bad Request: chat not found"))

    with pytest.raises(BotApiRefused, match=r"^Bad Request: chat not found$") as caught:
        hello(api)

    assert (caught.value.code, caught.value.description) == (400, "Bad Request: chat not found")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (refuses("Unauthorized", 401), "Unauthorized (the token in BOT_TOKEN is wrong, or was revoked)"),
        (refuses("Not Found", 404), "Not Found (no such method, or the token in BOT_TOKEN is wrong)"),
        (refuses("Forbidden: bot was blocked by the user", 403), "Forbidden: bot was blocked by the user"),
        (refuses("two\nlines\x1b[31m of\ttext" + "x" * 1000, 400), "two lines[31m of text" + "x" * 279),
    ],
)
def test_a_refusal_is_one_line_for_a_person(api: BotApi, server: FakeBotApi, turn: Turn, words: str):
    server.will("sendMessage", turn)

    with pytest.raises(BotApiRefused) as caught:
        hello(api)

    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("turn", "seconds"),
    [
        (is_busy(7), 7.0),
        (is_busy(0), 1.0),
        (Turn(429, "Too Many Requests"), 1.0),
        (says(b"<h1>429 Too Many Requests</h1>", 429), 1.0),
    ],
)
def test_too_many_calls_say_how_long_to_wait(api: BotApi, server: FakeBotApi, turn: Turn, seconds: float):
    server.will("sendMessage", turn)

    with pytest.raises(BotApiBusy) as caught:
        hello(api)

    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (fails(500), "is failing: Internal Server Error"),
        (fails(502, "Bad Gateway"), "is failing: Bad Gateway"),
        (says(b"<h1>502 Bad Gateway</h1>", 502), "is failing: HTTP status 502"),
        (says(b"", 503), "is failing: HTTP status 503"),
    ],
)
def test_a_failing_server_may_be_asked_again(api: BotApi, server: FakeBotApi, turn: Turn, words: str):
    server.will("sendMessage", turn)

    with pytest.raises(BotApiUnreachable) as caught:
        hello(api)

    assert str(caught.value) == f"{server.url} {words}"


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (drops_before_answer(), "took the call and gave no answer: the connection was closed too early"),
        (drops_in_answer(), "took the call and gave no answer: the connection was closed too early"),
        (says(b"<h1>504 Gateway Time-out</h1>", 504), "gave no answer: HTTP status 504"),
        (says(b"x" * (bot_api.MAX_ANSWER_BYTES + 1)), "took the call and gave no answer: "),
    ],
)
def test_a_call_that_was_taken_without_an_answer_may_have_been_performed(
    api: BotApi, server: FakeBotApi, turn: Turn, words: str
):
    server.will("sendMessage", turn)

    with pytest.raises(BotApiUnanswered) as caught:
        hello(api)

    assert str(caught.value).startswith(f"{server.url} {words}")
    assert len(server.calls) == 1


def test_a_call_that_the_server_broke_off_was_certainly_not_performed():
    def script(connection: Connection, _: ScriptedServer) -> None:
        connection.socket.recv(100)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset

    with ScriptedServer(script) as server, pytest.raises(BotApiUnreachable) as caught:
        BotApi(TOKEN, server.url("")).call("sendDocument", {"text": "x" * 20_000_000})

    assert str(caught.value).startswith(f"{server.url('')} did not take the call: ")
    assert SECRET not in _everything_about(caught.value)


def test_a_redirect_is_not_followed(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", redirects(f"{server.url}/bot{TOKEN}/getMe"))

    with pytest.raises(BotApiRefused) as caught:
        hello(api)

    assert str(caught.value) == (
        f"no Bot API server answers at {server.url} (HTTP status 302, a redirect, which is not followed); "
        "is BOT_API_URL right?"
    )
    assert server.methods() == ["sendmessage"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello",
        b"",
        b"[]",
        b'{"ok":true}',
        b'{"ok":false}',
        b'{"ok":"true","result":1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_an_answer_from_somebody_else_asks_for_the_address(api: BotApi, server: FakeBotApi, body: bytes):
    server.will("sendMessage", says(body))

    with pytest.raises(BotApiRefused, match=r"^no Bot API server answers at .* \(HTTP status 200\); is BOT_API_URL ri"):
        hello(api)


def test_a_port_nobody_listens_on_is_unreachable():
    api = BotApi(TOKEN, f"http://127.0.0.1:{free_port()}")

    with pytest.raises(BotApiUnreachable, match=r"^http://127\.0\.0\.1:[0-9]+ cannot be reached: Connection refused$"):
        hello(api)


def test_a_name_nobody_knows_is_unreachable():
    with pytest.raises(BotApiUnreachable, match=r"^https://telegram\.invalid cannot be reached: "):
        hello(BotApi(TOKEN, "https://telegram.invalid"))


def test_a_server_that_speaks_something_else_gave_no_answer():
    with _raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as url, pytest.raises(BotApiUnanswered, match="what came is not HTTP"):
        hello(BotApi(TOKEN, url))


# --- time ---


def test_a_call_is_over_at_its_deadline_and_may_have_been_performed(server: FakeBotApi):
    server.will("sendMessage", stalls(60))
    began = time.monotonic()

    with pytest.raises(BotApiUnanswered, match=r"gave no answer within 0\.3 s"):
        hello(BotApi(TOKEN, server.url, timeout_seconds=0.3))

    assert 0.3 <= time.monotonic() - began < SOON_SECONDS


def test_an_answer_that_drips_does_not_put_the_deadline_off():
    with _raw_server(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200, pause_seconds=0.05) as url:
        began = time.monotonic()

        with pytest.raises(BotApiUnanswered, match=r"gave no answer within 0\.5 s"):
            hello(BotApi(TOKEN, url, timeout_seconds=0.5))

        assert time.monotonic() - began < SOON_SECONDS


class Enough(Exception):
    pass


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_name_server_that_does_not_answer_does_not_hold_the_caller_and_nothing_is_sent_later(
    server: FakeBotApi, monkeypatch: pytest.MonkeyPatch, gives_up: bool
):
    answered = threading.Event()
    ticks: list[float] = []
    look_up = socket.getaddrinfo

    def slowly(*arguments, flags: int = 0, **rest):
        assert flags & socket.AI_NUMERICHOST or answered.wait(60)
        return look_up(*arguments, flags=flags, **rest)

    def tick() -> None:
        ticks.append(time.monotonic())
        if gives_up and len(ticks) == 2:
            raise Enough

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    api = BotApi(TOKEN, by_name(server), timeout_seconds=1.2)

    with pytest.raises(Enough if gives_up else BotApiUnreachable) as caught:
        api.call("sendMessage", {"chat_id": 1, "text": "x"}, tick=tick)
    answered.set()
    _wait_for_threads()

    assert gives_up or str(caught.value) == f"{by_name(server)} cannot be reached within 1.2 s"
    assert 1 <= len(ticks) <= 3
    assert (server.connections, server.calls) == (0, [])


def test_a_host_that_allows_no_more_threads_is_told(server: FakeBotApi, monkeypatch: pytest.MonkeyPatch):
    api = BotApi(TOKEN, by_name(server))

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(BotApiUnreachable, match="was not called: can't start new thread"):
            hello(api)

    hello(api)
    api.close()
    assert len(server.calls) == 1


def test_what_the_tick_raises_ends_the_wait(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", stalls(60))
    began = time.monotonic()

    def tick() -> None:
        raise Enough

    with pytest.raises(Enough):
        api.call("sendMessage", {"chat_id": 1, "text": "x"}, tick=tick)

    assert time.monotonic() - began < SOON_SECONDS


def test_a_timeout_of_one_call_is_its_own(api: BotApi, server: FakeBotApi):
    server.will("sendMessage", stalls(60))

    with pytest.raises(BotApiUnanswered, match=r"within 0\.2 s"):
        api.post(MethodCall("sendMessage", JSON, b"{}"), timeout_seconds=0.2)

    hello(api)


# --- settings ---


@pytest.mark.parametrize(
    "token",
    [
        "",
        "123456",
        "123456:",
        ":abc",
        "bot123456:abc",
        "123456:ab c",
        "123456:abc ",
        " 123456:abc",
        "123456:abc\n",
        "'123456:abc'",
        "123456:abc/getMe",
        "123456:abc?x=1",
        "12a:abc",
        "123456:привіт",
        "1:" + "a" * 79,
        "١:abc",
        "1:a:b",
    ],
)
def test_a_token_that_cannot_be_one_is_told_and_not_shown(token: str):
    with pytest.raises(ConfigurationError, match=r"^BOT_TOKEN=\(hidden\): expected the token from @Bot") as caught:
        BotApi(token)

    assert len(token) < 4 or token not in str(caught.value)


@pytest.mark.parametrize(
    "token",
    [
        "123456:TEST",
        "1:a",
        "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
        "1:" + "a" * 78,
    ],
)
def test_tokens_of_every_age_and_of_tests_are_good(token: str):
    BotApi(token)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.telegram.org",
        "ftp://api.telegram.org",
        "https://",
        "https:///x",
        "https://api.telegram.org:port",
        "https://api.telegram.org:99999",
        "https://[::1",
        "https://a..b",
        "https://me:word@host",
        "https://host?x=1",
        "https://host#x",
        "https://host/a b",
        "https://host/\n",
        " https://host",
        "https://host/bot",
        "https://host/x/bot",
        f"https://api.telegram.org/bot{TOKEN}",
        f"https://api.telegram.org/bot{TOKEN}/",
        "https://host/a//b",
        f"https://api.telegram.org/bot{TOKEN.replace(':', '%3A')}/getMe",
        f"https://{TOKEN}@api.telegram.org",
    ],
)
def test_an_address_that_cannot_be_one_is_told_without_what_might_be_secret(url: str):
    with pytest.raises(ConfigurationError, match=r"^BOT_API_URL='.*': expected an address such as https://") as caught:
        BotApi(TOKEN, url)

    assert SECRET not in _everything_about(caught.value)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.telegram.org",
        "https://api.telegram.org/",
        "http://127.0.0.1:8081",
        "http://[::1]:8081/x-y/v1.2",
        "http://telegram-bot-api:8081",
        "https://bot.example.org",
        "https://приклад.укр",
    ],
)
def test_addresses_that_are_good(url: str):
    assert repr(BotApi(TOKEN, url)) == f"BotApi({url.rstrip('/')!r})"


@pytest.mark.parametrize("method", ["", "send Message", "../x", "getMe?", "a" * 65, "надіслати"])
def test_a_method_that_cannot_be_one_is_a_mistake_of_the_caller(api: BotApi, method: str):
    with pytest.raises(ValueError, match="expected 1 to 64 letters"):
        api.call(method)


# --- the token ---


@pytest.mark.parametrize(
    "turn",
    [
        refuses(f"Bad Request: /bot{TOKEN}/sendMessage is wrong"),
        refuses(f"Unauthorized: {SECRET}", 401),
        fails(500, f"cannot handle {TOKEN}"),
        Turn(429, f"too many for {TOKEN}", 5),
        says(TOKEN.encode(), 502),
        redirects(f"/bot{TOKEN}/getMe"),
        says(f"<p>{TOKEN}".encode()),
        drops_before_answer(),
        drops_in_answer(),
    ],
)
def test_the_token_is_in_no_error_no_log_and_no_chain(
    api: BotApi, server: FakeBotApi, turn: Turn, caplog: pytest.LogCaptureFixture
):
    server.will("sendMessage", turn)

    with caplog.at_level(logging.DEBUG), pytest.raises(BotApiError) as caught:
        hello(api)
    logging.getLogger("test").error("it failed", exc_info=caught.value)

    assert SECRET not in _everything_about(caught.value)
    assert SECRET not in caplog.text
    assert ("<token>" in str(caught.value)) is (SECRET in turn.description)


def test_the_token_is_in_no_error_of_a_server_that_repeats_the_request():
    with _raw_server(b"", echoes=True) as url, pytest.raises(BotApiUnanswered) as caught:
        hello(BotApi(TOKEN, url))

    assert SECRET not in _everything_about(caught.value)


def test_the_token_is_not_in_the_repr(api: BotApi):
    assert SECRET not in repr(api)


# --- helpers ---


class _raw_server:
    """Answers one connection with these bytes, one after the other when there is a pause, or with what it got."""

    def __init__(self, answer: bytes, pause_seconds: float = 0.0, echoes: bool = False) -> None:
        self._answer = answer
        self._pause_seconds = pause_seconds
        self._echoes = echoes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        line, _ = self._listener.accept()
        with line:
            received = line.recv(65536)
            answer = received if self._echoes else self._answer
            step = 1 if self._pause_seconds else len(answer)
            for start in range(0, len(answer), step):
                try:
                    line.sendall(answer[start : start + step])
                except OSError:  # it hung up
                    return
                time.sleep(self._pause_seconds)


def _wait_for_threads() -> None:
    """Until the name server's late answer was taken."""
    eventually(lambda: not any(thread.name == "resolver" for thread in threading.enumerate()), SOON_SECONDS)


def _everything_about(error: BaseException) -> str:
    """All texts of an error: of its chain, whether shown or not, its fields, and its traceback."""
    texts = ["".join(traceback.format_exception(type(error), error, error.__traceback__))]
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None:
            texts += [str(one), repr(one), repr(vars(one)), repr(one.args)]
            pending += [one.__cause__, one.__context__]
    return "\n".join(texts)
