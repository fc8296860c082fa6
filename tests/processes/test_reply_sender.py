"""ReplySender with replies that real bots print."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from scalable.lib.runners.cli import CliRunner
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.worker.reply_sender import Fate, ReplySender
from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.generators.bots import outcome_of
from tests.support.need import need
from tests.support.places import REPOSITORY


@pytest.fixture
def server() -> Iterator[FakeBotApi]:
    with FakeBotApi() as server:
        yield server


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
