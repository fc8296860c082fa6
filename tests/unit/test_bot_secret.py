"""Which secret token the bot itself knows, for a webhook that leads to it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.runners.bot_secret import BotSecret, secret_of
from scalable.lib.runners.choose import BotSettings

HEADER = "$_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']"


def known(folder: Path, source: str, secret: str = "ours", name: str = "bot.php", target: str = "") -> BotSecret:
    (folder / name).write_text(source)
    return secret_of(BotSettings(target or str(folder / name), "auto", 60.0, "", "", secret, folder))


def test_f4_the_one_in_its_source_is_what_it_knows_whatever_the_settings_say(tmp_path: Path) -> None:
    found = known(tmp_path, f"<?php if ({HEADER} !== 'mine') exit;")

    assert found.token == "mine"
    assert found.why == "it is the one that the bot compares (bot.php, line 1)"
    assert "mine" not in repr(found)


@pytest.mark.parametrize("source", ["<?php echo 1;", "<?php // HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN 'mine'", ""])
def test_f4_a_bot_that_compares_none_is_given_none(tmp_path: Path, source: str) -> None:
    assert known(tmp_path, source) == BotSecret("", "the bot was not seen to compare one", "bot.php")


def test_a_secret_that_is_elsewhere_is_the_one_the_bot_was_run_with(tmp_path: Path) -> None:
    source = f"<?php if ({HEADER} !== getenv('S')) exit;"

    assert known(tmp_path, source).token == "ours"
    assert known(tmp_path, source, secret="").token == ""
    assert "is empty" in known(tmp_path, source, secret="").why


def test_of_several_the_one_of_the_settings_is_taken(tmp_path: Path) -> None:
    source = f"<?php in_array({HEADER}, ['old', 'ours']) or die;"

    assert known(tmp_path, source).token == "ours"


def test_one_that_telegram_would_not_take_is_not_given(tmp_path: Path) -> None:
    assert known(tmp_path, f"<?php if ({HEADER} !== 'not one!') exit;", secret="").token == ""


@pytest.mark.parametrize(("source", "token"), [("x = 'X-Telegram-Bot-Api-Secret-Token'", "ours"), ("x = 1", "")])
def test_of_a_bot_in_another_language_it_counts_whether_it_names_the_header(
    tmp_path: Path, source: str, token: str
) -> None:
    assert known(tmp_path, source, name="bot.py").token == token


def test_a_bot_at_an_address_knows_the_one_it_gets(tmp_path: Path) -> None:
    assert known(tmp_path, "", target="https://example.com/bot.php").token == "ours"


@pytest.mark.parametrize(
    ("url", "is_its_own"),
    [
        ("https://example.com/a/bot.php", True),
        ("https://example.com/bot.php?key=1", True),
        ("https://example.com/a/webhook_queue.py", False),
        ("https://example.com/mybot.php", False),
        ("https://example.com/x?y=/bot.php", False),
    ],
)
def test_the_bots_own_address_is_known_by_its_file(tmp_path: Path, url: str, is_its_own: bool) -> None:
    assert known(tmp_path, "<?php ").is_for(url) == is_its_own
