"""The example bots on the libraries people use, called by a PythonRunner, against a Bot API on loopback.

What these tests hold is above all one promise: an exception in a handler is a failed attempt, with every library.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.python.runner import PythonRunner
from tests.support.fakes.bot_api import TOKEN, FakeBotApi, as_read, refuses
from tests.support.generators.bots import outcome_of
from tests.support.generators.python_bots import AMPLE_SECONDS, PythonBots
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.children import free_port

EXAMPLES = REPOSITORY / "examples"
UPDATES = sorted(path.stem for path in (EXAMPLES / "updates").glob("*.json"))
# The first Python that requirements-dev.txt has no release of the libraries for.
TOO_NEW = (3, 15)


@dataclass(frozen=True)
class Library:
    """How it is imported, the example for it, and updates that a tested release cannot read, whatever the bot does."""

    package: str
    example: str
    unreadable: tuple[str, ...] = ()


LIBRARIES = {
    # It looks for `from_user` where Telegram says `from`; 4.32 wants a field that Telegram no longer sends.
    "pyTelegramBotAPI": Library("telebot", "telebot_bot.py", ("purchased_paid_media", "business_connection")),
    "aiogram": Library("aiogram", "aiogram_bot.py"),
    "python-telegram-bot": Library("telegram", "ptb_bot.py"),
}


@pytest.fixture(params=list(LIBRARIES))
def library(request: pytest.FixtureRequest) -> Library:
    """Each in turn."""
    found = LIBRARIES[request.param]
    if find_spec(found.package) is None:
        python = "Python {}.{}".format(*sys.version_info)
        if sys.version_info >= TOO_NEW:
            pytest.skip(f"{request.param} has no tested release for {python}")
        need(f"{request.param} is not installed for {python}: pip install -r requirements-dev.txt")
    return found


@pytest.fixture
def api() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        yield api


@dataclass(frozen=True)
class Bot:
    """Makes runners for one copy of an example; `name` is its file."""

    bots: PythonBots
    name: str

    def runner(self, timeout_seconds: float = AMPLE_SECONDS) -> PythonRunner:
        return self.bots.runner(
            (EXAMPLES / "python" / self.name).read_text("utf-8"), file=self.name, timeout_seconds=timeout_seconds
        )


@pytest.fixture
def bot(library: Library, api: FakeBotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    """The example for the library, talking to `api`."""
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    monkeypatch.setenv("BOT_API_URL", api.url)
    bots = PythonBots(tmp_path)
    yield Bot(bots, library.example)
    bots.clean_up()


def sample(name: str) -> str:
    return (EXAMPLES / "updates" / f"{name}.json").read_text("utf-8")


def message(text: str, number: int = 1) -> str:
    chat = {"id": 9_900_000_000 + number, "type": "private", "first_name": "Ada"}
    entities = [{"type": "bot_command", "offset": 0, "length": len(text.split(" ")[0])}]
    return json.dumps(
        {
            "update_id": number,
            "message": {
                "message_id": number,
                "date": 1_700_000_000,
                "chat": chat,
                "text": text,
                "entities": entities,
                "from": {"id": chat["id"], "is_bot": False, "first_name": "Ada"},
            },
        }
    )


def calls_of_the_plain_bot(name: str) -> list[dict[str, Any]]:
    """What examples/bot.py would call, as it prints it without a token; the method in lower case."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BOT_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "bot.py")],
        input=sample(name).encode(),
        capture_output=True,
        timeout=60,
        env=environment,
    )
    calls = [json.loads(line) for line in done.stdout.decode("utf-8").split("\n") if line]
    return [{**as_read(call), "method": call["method"].lower()} for call in calls]


def differences(expected: Any, made: Any, place: str = "") -> list[str]:
    """Where `made` lacks something of `expected`; a library may say more."""
    if isinstance(expected, dict) and isinstance(made, dict):
        return [line for key in expected for line in differences(expected[key], made.get(key), f"{place}.{key}")]
    if isinstance(expected, list) and isinstance(made, list) and len(expected) == len(made):
        return [line for pair in zip(expected, made) for line in differences(*pair, place)]
    return [] if str(expected) == str(made) else [f"{place}: {expected!r} is {made!r}"]


# Handled


@pytest.mark.parametrize(
    "name",
    [
        "message-start",
        "message-help",
        "message-echo",
        "message-button",
        "message-topic",
        "callback_query",
        "inline_query",
        "message-slow",
    ],
)
def test_it_makes_the_calls_the_plain_example_makes(bot: Bot, api: FakeBotApi, name: str):
    outcome = outcome_of(bot.runner(), sample(name))

    assert (outcome.kind, outcome.cause) == (Kind.SUCCEEDED, "handle() returned"), outcome.explanation()
    made = [{"method": call.method, **as_read(call.parameters)} for call in api.calls if call.method != "getme"]
    expected = calls_of_the_plain_bot(name)
    assert [call["method"] for call in made] == [call["method"] for call in expected]
    assert differences(expected, made) == []


def test_many_updates_in_a_row_are_handled_in_their_order(bot: Bot, api: FakeBotApi):
    runner = bot.runner()

    outcomes = [outcome_of(runner, message(f"/echo {number}", number)) for number in range(1, 31)]

    assert [outcome.kind for outcome in outcomes] == [Kind.SUCCEEDED] * 30
    assert [call["text"] for call in api.named("sendMessage")] == [str(number) for number in range(1, 31)]
    assert len(api.named("getMe")) <= 1


def test_every_kind_of_update_is_taken_and_only_the_one_that_asks_for_it_fails(library: Library, bot: Bot):
    runner = bot.runner()

    failed = {name for name in UPDATES if not outcome_of(runner, sample(name)).succeeded}

    assert failed - set(library.unreadable) == {"message-fail"}


def test_two_workers_in_threads_of_one_process_do_not_disturb_each_other(bot: Bot, api: FakeBotApi):
    runners = [bot.runner() for _ in range(2)]
    barrier = threading.Barrier(2)
    outcomes: list[Outcome] = []

    def work(runner: PythonRunner, first: int) -> None:
        barrier.wait(60)
        outcomes.extend(outcome_of(runner, message(f"/echo {number}", number)) for number in range(first, first + 20))

    threads = [threading.Thread(target=work, args=(runner, 100 * at)) for at, runner in enumerate(runners, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * AMPLE_SECONDS)

    assert [outcome.cause for outcome in outcomes] == ["handle() returned"] * 40
    texts = sorted(int(call["text"]) for call in api.named("sendMessage"))
    assert texts == [*range(100, 120), *range(200, 220)]


# Failed


def test_an_exception_in_a_handler_is_a_failed_attempt_that_names_the_line(bot: Bot, api: FakeBotApi):
    runner = bot.runner()
    line = (EXAMPLES / "python" / bot.name).read_text("utf-8").split("raise RuntimeError")[0].count("\n") + 1

    for _ in range(2):
        outcome = outcome_of(runner, sample("message-fail"))

        assert (outcome.kind, outcome.cause) == (
            Kind.FAILED,
            f"RuntimeError: this update asked for a failure with /fail ({bot.name}:{line} in fail)",
        )
        assert "Traceback (most recent call last):" in outcome.output
    assert outcome_of(runner, message("/echo well again")).succeeded
    assert api.named("sendMessage")[0]["text"] == "well again"


@pytest.mark.parametrize(
    ("status", "description"),
    [
        (400, "Bad Request: chat not found"),
        (403, "Forbidden: bot was blocked by the user"),
    ],
)
def test_a_call_that_telegram_refuses_is_a_failed_attempt_with_its_reason(
    bot: Bot, api: FakeBotApi, status: int, description: str
):
    runner = bot.runner()
    api.will("sendMessage", refuses(description, status))

    outcome = outcome_of(runner, message("/start"))

    assert outcome.kind is Kind.FAILED
    assert description.split(": ")[1].lower() in outcome.cause.lower()
    assert f"({bot.name}:" in outcome.cause
    assert len(api.named("sendMessage")) == 1
    assert outcome_of(runner, message("/start")).succeeded


def test_a_telegram_that_cannot_be_reached_is_a_failed_attempt_that_does_not_show_the_token(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BOT_API_URL", f"http://127.0.0.1:{free_port()}")

    outcome = outcome_of(bot.runner(), message("/start"))

    assert outcome.kind is Kind.FAILED
    assert TOKEN not in outcome.explanation()


def test_a_handler_over_its_time_is_stopped_and_the_next_update_goes_well(bot: Bot):
    """Given a handler that takes two seconds: the library that is not async sleeps them out, within the grace time."""
    runner = bot.runner(timeout_seconds=1.0)
    assert outcome_of(runner, message("/start")).succeeded

    outcome = outcome_of(runner, message("/slow"))

    assert outcome.kind is Kind.TIMED_OUT
    assert not runner.is_stuck
    assert outcome_of(runner, message("/start")).succeeded


# The end


def test_it_can_be_closed_and_used_again_and_leaves_no_complaint(
    bot: Bot, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
):
    """Given sessions, which complain loudly when nobody closes them."""
    runner = bot.runner()

    for number in range(3):
        assert outcome_of(runner, message("/start", number)).succeeded
        runner.close()

    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert [str(warning.message) for warning in recwarn if "nclosed" in str(warning.message)] == []


def test_without_a_token_it_is_told_at_once_what_is_missing(bot: Bot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BOT_TOKEN")

    assert (
        f"cannot be imported: KeyError: 'BOT_TOKEN' ({bot.name}:" in outcome_of(bot.runner(), message("/start")).cause
    )


@pytest.mark.parametrize("example", [library.example for library in LIBRARIES.values()])
def test_the_example_is_short(example: str):
    assert (EXAMPLES / "python" / example).read_bytes().count(b"\n") < 120


def test_a_process_that_ran_it_ends_by_itself(bot: Bot, api: FakeBotApi):
    """Given threads and sessions that libraries keep, in a process of their own."""
    shutil.copy(EXAMPLES / "python" / bot.name, bot.bots.folder / bot.name)
    code = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from scalable.lib.runners.python.runner import PythonRunner\n"
        "runner = PythonRunner(Path(sys.argv[2]), 'handle', 45)\n"
        "print(runner.run(sys.argv[3]).end.name)\nrunner.close()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(REPOSITORY), str(bot.bots.folder / bot.name), message("/start")],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("RETURNED\n", "", 0)
