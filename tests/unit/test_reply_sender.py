"""ReplySender with a real BotApi and a real HTTP server: sent once, tried again only when nothing was performed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from scalable.lib.errors import LeaseLost, StoppedAtOnce
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.telegram.webhook_reply import FORM
from scalable.lib.worker import reply_sender as replies
from scalable.lib.worker.reply_sender import DEADLINE_SECONDS, Fate, ReplyResult, ReplySender
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
from tests.support.fakes.clock import FakeClock
from tests.support.servers.children import free_port
from tests.support.waiting import SOON_SECONDS

UPDATE = json.dumps({"message": {"chat": {"id": 5}}})
ANSWER = b'{"method":"sendMessage","chat_id":5,"text":"private words"}'


class Bench:
    """A sender whose waits move a clock instead of passing time; the calls themselves are real."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.waits: list[float] = []
        self.ticks: list[float] = []
        self.during_wait: Callable[[], object] = lambda: None
        self.api = BotApi(TOKEN, url)
        self.sender = ReplySender(self.api, self.clock, self._sleep)

    def _sleep(self, seconds: float) -> None:
        assert len(self.waits) < 1000, "it waits on and on"
        self.waits.append(seconds)
        self.clock.advance(seconds)
        self.during_wait()

    def send(self, answer: bytes = ANSWER, content_type: str | None = None) -> ReplyResult:
        return self.sender.send(answer, lambda: self.ticks.append(self.clock()), content_type, UPDATE)


@pytest.fixture
def server() -> Iterator[FakeBotApi]:
    with FakeBotApi() as server:
        yield server


@pytest.fixture
def bench(server: FakeBotApi) -> Iterator[Bench]:
    bench = Bench(server.url)
    yield bench
    bench.api.close()


def test_a_method_call_is_sent_once_as_the_bot_wrote_it(bench: Bench, server: FakeBotApi):
    result = bench.send()

    assert (result.fate, result.method, result.tries, result.note) == (Fate.SENT, "sendMessage", 1, None)
    [call] = server.calls
    assert (call.method, call.body) == ("sendmessage", ANSWER)


def test_a_form_is_sent_as_a_form(bench: Bench, server: FakeBotApi):
    assert bench.send(b"method=answerCallbackQuery&callback_query_id=77", FORM).fate is Fate.SENT
    assert server.calls[0].parameters == {"method": "answerCallbackQuery", "callback_query_id": "77"}


@pytest.mark.parametrize("answer", [b"", b" \n", b"ok", b'{"ok":true}', b"<p>hi</p>"])
def test_anything_else_is_nothing_to_do(bench: Bench, server: FakeBotApi, answer: bytes):
    assert bench.send(answer) == ReplyResult(Fate.NONE)
    assert server.connections == 0


def test_the_type_the_bot_gave_counts(bench: Bench, server: FakeBotApi):
    assert bench.send(content_type="text/html; charset=UTF-8").fate is Fate.NONE
    assert bench.send(content_type="application/json").fate is Fate.SENT


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (b'{"method":"deleteWebhook"}', "deleteWebhook is no answer to an update"),
        (b'{"method":"banChatMember","chat_id":5,"user_id":6}', "banChatMember is no answer to an update"),
        (b'{"method":"getUpdates","offset":-1}', "getUpdates is no answer to an update"),
        (ANSWER.replace(b":5", b":6"), "sendMessage to another chat than the update's"),
        (b"method=sendMessage&chat_id=5&text=private", "sendMessage, because it is no JSON object"),
    ],
)
def test_what_somebody_wrote_and_the_bot_printed_is_performed_only_as_an_answer(
    bench: Bench, server: FakeBotApi, answer: bytes, note: str
):
    result = bench.send(answer)

    assert (result.fate, result.note) == (Fate.REFUSED, f"reply refused: {note} (see BOT_REPLY_ANY)")
    assert "private" not in result.log_line(id=1) + str(result.note)
    assert server.connections == 0


@pytest.mark.parametrize("answer", [ANSWER.replace(b":5", b":6"), b"method=sendMessage&chat_id=6&text=hi"])
def test_an_owner_may_opt_in_and_where_the_bot_named_the_type_nothing_is_refused(
    bench: Bench, server: FakeBotApi, answer: bytes
):
    kind = "application/json" if answer.startswith(b"{") else FORM
    typed = bench.send(answer, kind)
    bench.sender.performs_any = True
    printed = bench.send(answer)

    assert (typed.fate, printed.fate) == (Fate.SENT, Fate.SENT)
    assert len(server.calls) == 2


@pytest.mark.parametrize("content_type", [None, "application/json"])
def test_the_webhook_is_never_changed_from_an_answer(bench: Bench, server: FakeBotApi, content_type: str | None):
    bench.sender.performs_any = True

    for method in (b"setWebhook", b"deleteWebhook", b"logOut", b"close", b"getUpdates"):
        assert bench.send(b'{"method":"%s","url":""}' % method, content_type) == ReplyResult(Fate.NONE)
    assert server.connections == 0


def test_without_a_token_it_is_told_what_to_set():
    result = ReplySender(None).send(ANSWER, update=UPDATE)

    assert (result.fate, result.note) == (Fate.NOT_SENT, "reply not sent: BOT_TOKEN is not set")
    assert ReplySender(None).send(b"ok").note is None


@pytest.mark.parametrize(
    ("turn", "note"),
    [
        (refuses("Bad Request: chat not found"), "reply not sent: Bad Request: chat not found"),
        (
            refuses("Unauthorized", 401),
            "reply not sent: Unauthorized (the token in BOT_TOKEN is wrong, or was revoked)",
        ),
        (
            refuses("Forbidden: bot was blocked by the user", 403),
            "reply not sent: Forbidden: bot was blocked by the user",
        ),
    ],
)
def test_a_refusal_is_final_and_noted(bench: Bench, server: FakeBotApi, turn: Turn, note: str):
    server.will("sendMessage", turn)

    result = bench.send()

    assert (result.fate, result.note, result.tries) == (Fate.NOT_SENT, note, 1)
    assert len(server.calls) == 1
    assert bench.waits == []


def test_a_redirect_and_a_stranger_are_final(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", redirects("http://127.0.0.1/"), says(b"<h1>It works!</h1>"))

    notes = [bench.send().note, bench.send().note]

    assert all(str(note).endswith("is BOT_API_URL right?") for note in notes)
    assert len(server.calls) == 2


@pytest.mark.parametrize("turn", [fails(500), fails(502, "Bad Gateway"), says(b"<h1>503</h1>", 503)])
def test_a_failing_server_is_tried_three_times(bench: Bench, server: FakeBotApi, turn: Turn):
    server.will("sendMessage", turn, turn)

    result = bench.send()

    assert (result.fate, result.tries) == (Fate.SENT, 3)
    assert sum(bench.waits) == 0.5 + 1.0
    assert len(server.calls) == 3


def test_after_three_failures_it_is_given_up(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", fails(500), fails(500), fails(500), fails(500))

    result = bench.send()

    assert result.note == f"reply not sent: {server.url} is failing: Internal Server Error"
    assert (result.tries, len(server.calls), sum(bench.waits)) == (3, 3, 1.5)


def test_a_server_that_cannot_be_reached_is_tried_three_times():
    bench = Bench(f"http://127.0.0.1:{free_port()}")

    result = bench.send()

    assert (result.fate, result.tries, sum(bench.waits)) == (Fate.NOT_SENT, 3, 1.5)
    assert str(result.note).endswith(" cannot be reached: Connection refused")


def test_a_server_that_comes_back_gets_the_call():
    port = free_port()
    bench = Bench(f"http://127.0.0.1:{port}")
    with ExitStack() as stack:
        bench.during_wait = lambda: servers.append(stack.enter_context(FakeBotApi(port=port)))
        servers: list[FakeBotApi] = []

        result = bench.send()

        assert (result.fate, result.tries, servers[0].methods()) == (Fate.SENT, 2, ["sendmessage"])
        bench.api.close()


@pytest.mark.parametrize("turn", [drops_before_answer(), drops_in_answer(), says(b"<h1>504</h1>", 504)])
def test_what_may_have_been_performed_is_not_sent_again_and_noted_as_such(bench: Bench, server: FakeBotApi, turn: Turn):
    server.will("sendMessage", turn)

    result = bench.send()

    assert result.fate is Fate.PERHAPS_SENT
    assert str(result.note).startswith(f"reply perhaps not sent: {server.url} ")
    assert len(server.calls) == 1


def test_a_connection_that_ended_between_two_jobs_costs_no_reply(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", *[drops_after_answer()] * 5)

    for _ in range(5):
        assert bench.send().fate is Fate.SENT
        wait_until_closed(bench.api)

    assert bench.send().fate is Fate.SENT
    assert [call.connection for call in server.calls] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seconds", [1, 7, 30])
def test_what_telegram_asks_to_wait_is_granted_up_to_30_seconds(bench: Bench, server: FakeBotApi, seconds: int):
    server.will("sendMessage", is_busy(seconds))

    result = bench.send()

    assert (result.fate, result.tries, sum(bench.waits)) == (Fate.SENT, 2, seconds)


def test_a_longer_wait_is_the_end(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", is_busy(31))

    result = bench.send()

    assert result.note == "reply not sent: Too Many Requests: retry after 31"
    assert (bench.waits, len(server.calls)) == ([], 1)


def test_waits_never_add_up_to_more_than_the_deadline(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", is_busy(25), is_busy(10), is_busy(10))

    result = bench.send()

    assert result.note == "reply not sent: Too Many Requests: retry after 10"
    assert (result.tries, sum(bench.waits)) == (3, 35)
    assert result.seconds <= DEADLINE_SECONDS


def test_waiting_for_telegram_is_no_failure(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", fails(500), is_busy(1), fails(500), is_busy(1))

    result = bench.send()

    assert (result.fate, result.tries) == (Fate.SENT, 5)


def test_a_call_near_the_deadline_gets_only_the_time_that_is_left(server: FakeBotApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replies, "DEADLINE_SECONDS", 0.4)
    server.will("sendMessage", stalls(60))
    began = time.monotonic()

    result = ReplySender(BotApi(TOKEN, server.url)).send(ANSWER, update=UPDATE)

    assert result.fate is Fate.PERHAPS_SENT
    assert 0.3 < time.monotonic() - began < SOON_SECONDS


def test_the_tick_comes_twice_a_second_while_it_waits(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", is_busy(5))

    bench.send()

    assert len(bench.ticks) == 10
    assert all(wait <= 0.5 for wait in bench.waits)


def test_the_tick_comes_while_telegram_thinks(bench: Bench, server: FakeBotApi):
    server.will("sendMessage", stalls(1.3))

    assert bench.send().fate is Fate.SENT
    assert 1 <= len(bench.ticks) <= 3


@pytest.mark.parametrize("error", [LeaseLost("taken away"), StoppedAtOnce("asked to stop")])
@pytest.mark.parametrize("turn", [is_busy(20), stalls(60), fails(500)])
def test_what_the_tick_raises_ends_it_at_once(bench: Bench, server: FakeBotApi, turn: Turn, error: Exception):
    server.will("sendMessage", turn)
    began = time.monotonic()

    def tick() -> None:
        raise error

    with pytest.raises(type(error)):
        bench.sender.send(ANSWER, tick, update=UPDATE)

    assert time.monotonic() - began < SOON_SECONDS
    assert len(server.calls) == 1


def test_the_log_line_has_facts_and_no_words(bench: Bench, server: FakeBotApi, caplog: pytest.LogCaptureFixture):
    server.will("sendMessage", refuses("Bad Request: chat not found"))
    with caplog.at_level(logging.DEBUG):
        lines = [bench.send().log_line(id=17), bench.send().log_line(id=18)]
        bench.send(b"private words")

    assert lines[0] == ('reply not sent id=17 method=sendMessage tries=1 seconds=0 cause="Bad Request: chat not found"')
    assert lines[1] == "reply sent id=18 method=sendMessage tries=1 seconds=0"
    assert "answer is no method call bytes=13" in caplog.text
    assert "private words" not in caplog.text + "".join(lines)
    assert TOKEN not in caplog.text + "".join(lines)


def test_answers_of_many_jobs_share_a_connection(bench: Bench, server: FakeBotApi):
    for number in range(20):
        answer = json.dumps({"method": "sendMessage", "chat_id": 5, "text": str(number)})
        assert bench.send(answer.encode()).fate is Fate.SENT

    assert [call.parameters["text"] for call in server.calls] == [str(number) for number in range(20)]
    assert server.connections == 1
