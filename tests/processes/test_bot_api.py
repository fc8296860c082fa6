"""BotApi over TLS and with a name server that does not answer: certificates by openssl, deadlines that pass."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from scalable.lib.errors import BotApiUnanswered, BotApiUnreachable
from scalable.lib.telegram.bot_api import BotApi
from tests.support.fakes.bot_api import TOKEN, FakeBotApi, Turn, drops_after_answer, stalls, wait_until_closed
from tests.support.fakes.scripted_web import Certificate, make_certificate
from tests.support.waiting import SOON_SECONDS


@pytest.fixture
def server() -> Iterator[FakeBotApi]:
    with FakeBotApi() as server:
        yield server


def hello(api: BotApi) -> object:
    return api.call("sendMessage", {"chat_id": 5, "text": "привіт 👋"})


def by_name(server: FakeBotApi) -> str:
    """Its address with a name, which has to be looked up."""
    return server.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def tls_server(certificate: Certificate) -> Iterator[FakeBotApi]:
    with FakeBotApi(tls=certificate.server_context()) as server:
        yield server


def test_a_trusted_certificate_is_good(tls_server: FakeBotApi, certificate: Certificate):
    api = BotApi(TOKEN, tls_server.url, tls=certificate.trusting_context())
    tls_server.will("sendMessage", Turn(), drops_after_answer())

    hello(api)
    hello(api)
    wait_until_closed(api)
    hello(api)
    api.close()

    assert [call.connection for call in tls_server.calls] == [1, 1, 2]


def test_a_certificate_nobody_signed_is_refused_before_the_token_is_told(tls_server: FakeBotApi):
    with pytest.raises(BotApiUnreachable, match="its certificate is not trusted "):
        hello(BotApi(TOKEN, tls_server.url))

    assert tls_server.calls == []


def test_a_certificate_of_somebody_else_is_refused(tls_server: FakeBotApi, certificate: Certificate):
    with pytest.raises(BotApiUnreachable, match="its certificate is not trusted "):
        hello(BotApi(TOKEN, by_name(tls_server), tls=certificate.trusting_context()))

    assert tls_server.calls == []


def test_tls_that_stalls_does_not_put_the_deadline_off(tls_server: FakeBotApi, certificate: Certificate):
    tls_server.will("sendMessage", stalls(60))
    began = time.monotonic()

    with pytest.raises(BotApiUnanswered):
        hello(BotApi(TOKEN, tls_server.url, 0.5, certificate.trusting_context()))

    assert time.monotonic() - began < SOON_SECONDS
