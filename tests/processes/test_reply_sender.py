"""ReplySender with replies that real bots print."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.runners.cli import CliRunner
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.worker.reply_sender import Fate, ReplySender
from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.generators.bots import outcome_of
from tests.support.need import need
from tests.support.places import REPOSITORY

ECHO = {
    "echo.php": '<?php echo json_decode(file_get_contents("php://input"))->message->text;',
    "echo.py": 'import json, sys\nprint(json.load(sys.stdin)["message"]["text"])\n',
}


@pytest.fixture
def server() -> Iterator[FakeBotApi]:
    with FakeBotApi() as server:
        yield server


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"method":"banChatMember","chat_id":5,"user_id":6}', "banChatMember is no answer to an update"),
        ('{"method":"sendMessage","chat_id":6,"text":"hi"}', "sendMessage to another chat than the update's"),
        ('{"method":"deleteWebhook","drop_pending_updates":true}', "deleteWebhook is no answer to an update"),
        ("method=sendMessage&chat_id=5&text=hi", "sendMessage, because it is no JSON object"),
        ('Hello {"method":"sendMessage","chat_id":5,"text":"hi"}', None),
        ('{"method":"sendMessage","chat_id":5,"text":"hi"}', None),
    ],
)
@pytest.mark.parametrize("name", ["echo.php", "echo.py"])
def test_of_what_a_user_writes_to_a_bot_that_echoes_it_only_an_answer_is_performed(
    server: FakeBotApi, tmp_path: Path, name: str, text: str, told: str | None
):
    need(None if name == "echo.py" or shutil.which("php") else "php is not installed")
    bot = tmp_path / name
    bot.write_text(ECHO[name])
    update = json.dumps({"update_id": 1, "message": {"chat": {"id": 5}, "text": text}})
    outcome = outcome_of(CliRunner(bot, 30), update)

    result = ReplySender(BotApi(TOKEN, server.url)).send(outcome.answer, update=update)

    performed = told is None and text.startswith("{")
    assert result.note == (None if told is None else f"reply refused: {told} (see BOT_REPLY_ANY)")
    assert [call.method for call in server.calls] == (["sendmessage"] if performed else [])


@pytest.mark.parametrize("bot", ["bot.py", "bot.php"])
def test_what_a_real_bot_prints_arrives_at_telegram(server: FakeBotApi, bot: str):
    need(None if bot == "bot.py" or shutil.which("php") else "php is not installed")
    update = (REPOSITORY / "examples/updates/message-start.json").read_text()
    outcome = outcome_of(CliRunner(REPOSITORY / "examples" / bot, 30), update)

    result = ReplySender(BotApi(TOKEN, server.url)).send(outcome.answer, update=update)

    assert result.fate is Fate.SENT
    [call] = server.calls
    assert call.method == "sendmessage"
    assert call.parameters["text"].startswith("Hello, Budi <Contoh>! 👋\n")


@pytest.mark.parametrize("bot", ["bot.py", "bot.php"])
def test_no_answer_of_a_real_bot_to_any_sample_update_is_refused(server: FakeBotApi, bot: str):
    need(None if bot == "bot.py" or shutil.which("php") else "php is not installed")
    runner, sender = CliRunner(REPOSITORY / "examples" / bot, 30), ReplySender(BotApi(TOKEN, server.url))
    notes = {}
    for sample in sorted((REPOSITORY / "examples/updates").glob("*.json")):
        update = sample.read_text(encoding="utf-8")
        notes[sample.stem] = sender.send(outcome_of(runner, update).answer, update=update).note

    assert {name: note for name, note in notes.items() if note} == {}
    assert len(server.calls) >= 5
