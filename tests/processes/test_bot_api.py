"""BotApi over TLS and with a name server that does not answer: certificates by openssl, deadlines that pass."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import BotApiUnanswered, BotApiUnreachable
from scalable.lib.telegram.bot_api import BotApi
from tests.support.fakes.bot_api import (
    TOKEN,
    FakeBotApi,
    Turn,
    drops_after_answer,
    stalls,
)
from tests.support.waiting import eventually

SOON_SECONDS = 5.0


@pytest.fixture
def server() -> Iterator[FakeBotApi]:
    with FakeBotApi() as server:
        yield server


def hello(api: BotApi) -> object:
    return api.call("sendMessage", {"chat_id": 5, "text": "привіт 👋"})


class Enough(Exception):
    pass


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_name_server_that_does_not_answer_does_not_hold_the_caller_and_nothing_is_sent_later(
    server: FakeBotApi, monkeypatch: pytest.MonkeyPatch, gives_up: bool
):
    answered = threading.Event()
    ticks: list[float] = []
    look_up = socket.getaddrinfo

    def slowly(*arguments, **rest):
        assert answered.wait(60)
        return look_up(*arguments, **rest)

    def tick() -> None:
        ticks.append(time.monotonic())
        if gives_up and len(ticks) == 2:
            raise Enough

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    api = BotApi(TOKEN, server.url, timeout_seconds=1.2)

    with pytest.raises(Enough if gives_up else BotApiUnreachable) as caught:
        api.call("sendMessage", {"chat_id": 1, "text": "x"}, tick=tick)
    answered.set()
    _wait_for_threads()

    assert gives_up or str(caught.value) == f"{server.url} cannot be reached within 1.2 s"
    assert len(ticks) == 2
    eventually(lambda: server.connections == 1)  # it got there after all
    assert server.calls == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody signed, with its key."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            file,
            "-out",
            f"{file}.crt",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[FakeBotApi]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FakeBotApi(tls=context) as server:
        yield server


def test_a_trusted_certificate_is_good(tls_server: FakeBotApi, certificate: Path):
    api = BotApi(TOKEN, tls_server.url, tls=ssl.create_default_context(cafile=str(certificate)))
    tls_server.will("sendMessage", Turn(), drops_after_answer())

    hello(api)
    hello(api)
    _wait_until_closed(api)
    hello(api)
    api.close()

    assert [call.connection for call in tls_server.calls] == [1, 1, 2]


def test_a_certificate_nobody_signed_is_refused_before_the_token_is_told(tls_server: FakeBotApi):
    with pytest.raises(BotApiUnreachable, match="its certificate is not trusted "):
        hello(BotApi(TOKEN, tls_server.url))

    assert tls_server.calls == []


def test_a_certificate_of_somebody_else_is_refused(tls_server: FakeBotApi, certificate: Path):
    url = tls_server.url.replace("127.0.0.1", "localhost")

    with pytest.raises(BotApiUnreachable, match="its certificate is not trusted "):
        hello(BotApi(TOKEN, url, tls=ssl.create_default_context(cafile=str(certificate))))

    assert tls_server.calls == []


def test_tls_that_stalls_does_not_put_the_deadline_off(tls_server: FakeBotApi, certificate: Path):
    tls_server.will("sendMessage", stalls(60))
    began = time.monotonic()

    with pytest.raises(BotApiUnanswered):
        hello(BotApi(TOKEN, tls_server.url, 0.5, ssl.create_default_context(cafile=str(certificate))))

    assert time.monotonic() - began < SOON_SECONDS
    _wait_for_threads()


def _wait_until_closed(api: BotApi) -> None:
    """Until the other side's goodbye has arrived on the connection that is kept."""
    [line] = api._idle
    eventually(lambda: not line.is_fresh(), SOON_SECONDS)


def _wait_for_threads() -> None:
    """Until no call goes on behind the caller's back; sooner than it would end by itself."""
    eventually(lambda: not any(thread.name == "bot-api-call" for thread in threading.enumerate()), SOON_SECONDS)
