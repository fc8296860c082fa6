"""Two unmodified bots, as people write them, make the same Bot API calls behind the queue as directly under Apache.

Directly, the test plays Telegram: it brings each update to the bot's own address, and performs the call that the answer
is. Behind the queue nobody does but the worker. Compared is what the Bot API server got: method, parameters, and the
order in every chat.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes.bot_api import TOKEN, Call, FakeBotApi, as_read
from tests.support.fakes.telegram import Telegram
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.apache import Apache, apache_available, start_apache
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

BOTS = REPOSITORY / "tests" / "support" / "generators" / "typical"
SAMPLES = [json.loads(path.read_text("utf-8")) for path in sorted((REPOSITORY / "examples/updates").glob("*.json"))]
MODES = ("fastcgi", "cgi", "http")
PERSON_SECONDS = 30.0
Deliver = Callable[[Mapping[str, Any]], None]
# Method and parameters in their order, by what Telegram keeps in order: a chat, a business chat, what a user asked for.
Calls = dict[str, list[tuple[str, dict[str, Any]]]]


@dataclass(frozen=True)
class Bot:
    """A file in tests/support/typical, its secret, what three chats say to it, and how often it calls what all in all.

    All lines follow each other without a wait, but for two kinds: ? waits for an answer with these words; ! presses the
    button with that data, once it is there, and waits for what comes of it. (Messages and presses are brought side by
    side, by Telegram as behind the queue; but a person presses what he sees.)
    """

    file: str
    secret: str
    chats: tuple[tuple[str, ...], ...]
    calls: Mapping[str, int]


ORDERS = Bot(
    "order_bot.php",
    "warung-2024",
    (
        ("/start", "/menu", "!add:nasi", "!add:teh", "2 mie", "3 teh", "/cart", "/pay", "1 nasi", "/cart"),
        ("/menu", "1 teh", "2 teh", "3 teh", "4 teh", "5 teh", "?Pesanan #5", "!add:mie", "/cart", "ありがとう 🙇 <&>"),
        ("/cart", "/pay", "/pay", "7 nasi", "/start", "/menu", "!add:teh", "/cart"),
    ),
    {
        "sendmessage": 37,
        "editmessagetext": 4,
        "answercallbackquery": 5,
        "sendchataction": 6,
        "answerinlinequery": 1,
        "answerprecheckoutquery": 1,
        "answershippingquery": 1,
        "approvechatjoinrequest": 1,
    },
)
QUIZ = Bot(
    "form_bot.php",
    "quiz_secret-7",
    (
        ("/start", "!0|4", "/ask 2", "!1|Kyoto", "!1|Tokyo", "/score", "a+b = c & d", "100% ✓"),
        ("/ask 3", "!2|ya", "/break", "/score", "/ask 1", "!0|3", "/score", "two\nlines"),
        ("one", "two", "three", "/break", "four", "five", "/score"),
    ),
    {"sendmessage": 28, "editmessagetext": 5, "answercallbackquery": 6},
)


class Apaches:
    """One Apache that shows every bot in two folders, one for Telegram and one for the worker; and the Bot API."""

    def __init__(self, apache: Apache, api: FakeBotApi) -> None:
        self.api = api
        self._apache = apache
        self._direct: dict[str, Calls] = {}

    def address(self, folder: str, bot: Bot) -> str:
        """Where a bot is reached."""
        return f"{self._apache.url}/{folder}/{bot.file}"

    def direct_calls(self, bot: Bot) -> Calls:
        """What the bot calls when Telegram itself brings the updates; found out once."""
        if bot.file not in self._direct:
            self.api.forget()
            telegram = Telegram(self.address("direct", bot), bot.secret, self.api.url, TOKEN)
            have_conversations(bot, telegram.deliver, self.api)
            assert telegram.refused >= 2  # each once, and taken when it came again
            self._direct[bot.file] = in_order(self.api.calls)
        return self._direct[bot.file]


@pytest.fixture(scope="module")
def apaches() -> Iterator[Apaches]:
    """Not in tmp_path: pytest closes that to the web user when another run begins."""
    need(apache_available(with_php=True))
    home = Path(tempfile.mkdtemp(prefix="hosts-"))
    home.chmod(0o711)
    for folder in ("direct", "http"):
        shutil.copytree(BOTS, home / "public_html" / folder)
    with FakeBotApi() as api:
        environment = {"BOT_TOKEN": TOKEN, "BOT_API_URL": api.url}
        apache = start_apache(home / "apache", site=home / "public_html", environment=environment, handler_php="cgi")
        yield Apaches(apache, api)
        apache.stop()
    shutil.rmtree(home)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bot", [ORDERS, QUIZ], ids=lambda bot: bot.file)
def test_the_same_calls_are_made_behind_the_queue(apaches: Apaches, tmp_path: Path, bot: Bot, mode: str):
    directly = apaches.direct_calls(bot)
    apaches.api.forget()
    own = Path(shutil.copytree(BOTS, tmp_path / "public_html")) / bot.file
    settings = {
        "BOT_TOKEN": TOKEN,
        "BOT_API_URL": apaches.api.url,
        "BOT_WEBHOOK_SECRET": bot.secret,
        "BOT_LEGACY_MODE": mode,
        "BOT_LEGACY_PATH": apaches.address("http", bot) if mode == "http" else str(own),
        "BOT_WORKER_POOL_SIZE": "4",
    }
    sent: list[int] = []
    with ServedSite(tmp_path, own, **settings) as site:

        def enqueue(update: Mapping[str, Any]) -> int:
            answer = site.send(update, X_Telegram_Bot_Api_Secret_Token=bot.secret)
            assert answer.status == 200, answer
            job_id: int = answer.json()["queued_job_id"]
            sent.append(job_id)
            return job_id

        def deliver(update: Mapping[str, Any]) -> None:
            enqueue(update)

        def deliver_and_wait(update: Mapping[str, Any]) -> None:
            """The samples are of several lanes, and some of one person: without a queue they come one by one."""
            job_id = enqueue(update)
            wait_until(lambda: job_state(site, job_id) == "done", site.overview)

        have_conversations(bot, deliver, apaches.api, deliver_and_wait)
        site.wait_for_counts(done=len(sent), total=len(sent))
        jobs = site.overview()["jobs"]

    assert differences(directly, in_order(apaches.api.calls)) == []
    assert max(job["attempts"] for job in jobs) == 2
    assert {job["error_message"] for job in jobs} == {None}
    assert Counter(call.method for call in apaches.api.calls) == bot.calls


def job_state(site: ServedSite, job_id: int) -> str | None:
    states: dict[int, str] = {job["id"]: job["status"] for job in site.overview()["jobs"]}
    return states.get(job_id)


def have_conversations(bot: Bot, deliver: Deliver, api: FakeBotApi, deliver_sample: Deliver | None = None) -> None:
    """All chats at the same time, and the sample updates beside them, one after the other."""
    with ThreadPoolExecutor(len(bot.chats) + 1) as people:
        talks = [people.submit(Person(number, deliver, api).talk, lines) for number, lines in enumerate(bot.chats, 1)]
        samples = people.submit(lambda: [(deliver_sample or deliver)(sample) for sample in SAMPLES])
        for each in (*talks, samples):
            each.result(timeout=120)


class Person:
    """Somebody who writes to the bot, in the second chat in a group, and presses buttons."""

    def __init__(self, number: int, deliver: Deliver, api: FakeBotApi) -> None:
        self._user = {"id": 5_000_000_000 + number, "is_bot": False, "first_name": f"Budi <{number}>"}
        is_group = number == 2
        self._chat = {"id": -1_002_000_000_000 if is_group else self._user["id"], "type": "private"}
        if is_group:
            self._chat.update(type="supergroup", title="Kelompok")
        self._next_update = 500_000_000 + 1000 * number
        self._deliver = deliver
        self._api = api

    def talk(self, lines: tuple[str, ...]) -> None:
        """Say every line, wait for every answer and press every button, in their order."""
        for line in lines:
            if line.startswith("?"):
                self._number_of(line[1:])
            elif line.startswith("!"):
                self._press(line[1:], self._number_of(line[1:]))
            else:
                self._send(message=self._message(self._next_update, line))

    def _press(self, data: str, number: int) -> None:
        edits = len(self._seen("editMessageText"))
        self._send(
            callback_query={
                "id": str(self._next_update),
                "from": self._user,
                "message": self._message(number, "?"),
                "chat_instance": "1",
                "data": data,
            }
        )
        self._wait_for(lambda: len(self._seen("editMessageText")) > edits)

    def _number_of(self, words: str) -> int:
        """The number of the newest message with these words, in it or on its buttons, once there is one."""

        def numbers() -> list[int]:
            messages = enumerate(self._seen("sendMessage"), 1)
            return [number for number, sent in messages if words in json.dumps(sent, ensure_ascii=False)]

        self._wait_for(lambda: numbers() != [])
        return numbers()[-1]

    def _seen(self, method: str) -> list[Mapping[str, Any]]:
        return [call for call in self._api.named(method) if call["chat_id"] == str(self._chat["id"])]

    def _message(self, number: int, text: str) -> dict[str, Any]:
        return {"message_id": number, "date": 1_700_000_000, "chat": self._chat, "from": self._user, "text": text}

    def _send(self, **content: Any) -> None:
        self._next_update += 1
        self._deliver({"update_id": self._next_update, **content})

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, self._api.methods, PERSON_SECONDS)


def in_order(calls: list[Call]) -> Calls:
    """The calls as the server reads them; the name of the method is no parameter, wherever it was written."""
    found: Calls = {}
    for call in calls:
        parameters = {name: value for name, value in as_read(call.parameters).items() if name != "method"}
        kept_by = sorted(name for name in parameters if name.endswith(("query_id", "user_id", "connection_id")))
        place = " ".join(str(parameters[name]) for name in kept_by or ["chat_id"])
        found.setdefault(place, []).append((call.method, parameters))
    return found


def differences(directly: Calls, queued: Calls) -> list[str]:
    """One line for every call that is another, or is missing, or is too many."""
    return [
        f"{place}, call {number}: directly {left}, behind the queue {right}"
        for place in sorted({*directly, *queued})
        for number, (left, right) in enumerate(_pairs(directly.get(place, []), queued.get(place, [])), 1)
        if left != right
    ]


def _pairs(left: list[Any], right: list[Any]) -> list[tuple[Any, Any]]:
    length = max(len(left), len(right))
    return list(zip(left + [None] * (length - len(left)), right + [None] * (length - len(right))))


@pytest.mark.parametrize(
    "queued",
    [
        {"7": [("sendmessage", {"text": "a"})]},
        {"7": [("sendmessage", {"text": "b"}), ("sendmessage", {"text": "a"})]},
        {"7": [("sendmessage", {"text": "a"}), ("sendmessage", {"text": "B"})]},
        {"7": [("sendmessage", {"text": "a"}), ("sendmessage", {"text": "b"}), ("sendmessage", {"text": "b"})]},
        {"7": [("sendmessage", {"text": "a"}), ("sendmessage", {"text": "b"})], "8": [("sendmessage", {"text": "a"})]},
    ],
    ids=["missing", "order", "other", "twice", "other chat"],
)
def test_a_difference_would_be_found(queued: Calls):
    directly = {"7": [("sendmessage", {"text": "a"}), ("sendmessage", {"text": "b"})]}

    assert differences(directly, directly) == []
    assert differences(directly, queued) != []
