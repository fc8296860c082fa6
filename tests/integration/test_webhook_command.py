"""webhook_queue.py in a shell: set, info, delete, rollback, against a Bot API server of the tests' own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi, fails, refuses
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite

PY_BOT = REPOSITORY / "examples" / "bot.py"
BOTS_OWN, OURS = "https://example.com/bot.php", "https://example.com/scalable/webhook_queue.py"


@pytest.fixture
def telegram() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        api.webhook_url = BOTS_OWN
        yield api


@pytest.fixture
def site(tmp_path: Path, telegram: FakeBotApi) -> ServedSite:
    """Its settings; no process of it runs."""
    settings = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url, "BOT_WEBHOOK_SECRET": "hush-secret"}
    return ServedSite(tmp_path, PY_BOT, **settings)


def command(site: ServedSite, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    done = site.run("webhook_queue.py", *arguments, **settings)
    assert "hush" not in done.stdout + done.stderr
    assert TOKEN.partition(":")[2] not in done.stdout + done.stderr
    return done


def sent(telegram: FakeBotApi, method: str) -> dict[str, object]:
    """The parameters of the last call of that method."""
    return dict([call.parameters for call in telegram.calls if call.method == method][-1])


def test_set_sends_the_secret_keeps_the_types_of_updates_and_shows_what_telegram_says(
    site: ServedSite, telegram: FakeBotApi
) -> None:
    telegram.webhook_facts = {"allowed_updates": ["message", "message_reaction"], "pending_update_count": 3}

    done = command(site, "set", OURS)

    assert done.returncode == 0
    assert sent(telegram, "setwebhook") == {
        "url": OURS,
        "max_connections": 10,
        "secret_token": "hush-secret",
        "allowed_updates": ["message", "message_reaction"],
    }
    assert done.stdout.splitlines() == [
        f"webhook: {OURS}",
        "wait at Telegram: 3",
        "last failed delivery:",
        "deliveries at the same time: 10 at most",
        "types of updates: message, message_reaction",
        f"before: {BOTS_OWN}",
    ]


def test_set_without_a_secret_and_with_telegrams_usual_types_sends_neither(
    site: ServedSite, telegram: FakeBotApi
) -> None:
    command(site, "set", OURS, "--max-connections", "5", BOT_WEBHOOK_SECRET="")

    assert sent(telegram, "setwebhook") == {"url": OURS, "max_connections": 5}


def test_more_deliveries_at_once_than_hosts_bear_are_set_and_advised_against(
    site: ServedSite, telegram: FakeBotApi
) -> None:
    done = command(site, "set", OURS, "--max-connections", "40")

    assert sent(telegram, "setwebhook")["max_connections"] == 40
    assert "advice: shared hosts refuse more than about 20 requests at once" in done.stdout
    assert "advice: shared hosts refuse" in command(site, "info").stdout


def test_rollback_goes_back_to_the_bot_and_keeps_the_types_of_updates(site: ServedSite, telegram: FakeBotApi) -> None:
    telegram.webhook_facts = {"allowed_updates": ["message"]}
    command(site, "set", OURS)

    done = command(site, "rollback")

    assert done.returncode == 0
    assert telegram.webhook_url == BOTS_OWN
    assert sent(telegram, "setwebhook")["allowed_updates"] == ["message"]
    assert "note: this address is not webhook_queue.py" in done.stdout


@pytest.mark.parametrize(
    ("check", "given", "said"),
    [
        (
            "'hush-mine' !== $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']",
            "hush-mine",
            "a secret token was set: it is the",
        ),
        (
            "getenv('S') !== $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']",
            "hush-secret",
            "a secret token was set: the bot",
        ),
        ("$argc > 1", None, "no secret token was set: the bot was not seen to compare one"),
    ],
)
def test_f4_rollback_gives_telegram_the_secret_that_the_bot_knows_or_none(
    tmp_path: Path, telegram: FakeBotApi, check: str, given: str | None, said: str
) -> None:
    bot = tmp_path / "bot.php"
    bot.write_text(f"<?php if ({check}) exit;")
    settings = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url, "BOT_WEBHOOK_SECRET": "hush-secret"}
    site = ServedSite(tmp_path, bot, **settings)
    command(site, "set", OURS)
    assert sent(telegram, "setwebhook")["secret_token"] == "hush-secret"

    done = command(site, "rollback")

    assert telegram.webhook_url == BOTS_OWN
    assert sent(telegram, "setwebhook").get("secret_token") == given
    assert f"note: {said}" in done.stdout


def test_f34_set_over_a_webhook_with_a_certificate_of_its_own_warns(site: ServedSite, telegram: FakeBotApi) -> None:
    """F34: there, and back."""
    telegram.webhook_facts = {"has_custom_certificate": True}
    there = command(site, "set", OURS)
    telegram.webhook_facts = {}
    back = command(site, "rollback")

    assert "warning: the webhook had a certificate of its own, and Telegram has forgotten it" in there.stdout
    assert "warning: this address had a certificate of its own" in back.stdout
    assert "certificate" not in command(site, "set", OURS).stdout


def test_rollback_goes_to_the_address_that_is_named(site: ServedSite, telegram: FakeBotApi) -> None:
    command(site, "rollback", "https://example.com/other.php")

    assert telegram.webhook_url == "https://example.com/other.php"


@pytest.mark.parametrize(
    ("words", "reached"),
    [(["set", "-"], "?s=hush"), (["rollback", "-"], "?s=hush"), (["set", "-", "--max-connections", "5"], "")],
)
def test_an_address_with_a_key_in_it_is_read_from_standard_input(
    site: ServedSite, telegram: FakeBotApi, words: list[str], reached: str
) -> None:
    """What is on a command line every user of the machine can read."""
    address = f"https://example.com/scalable/webhook_queue.py{reached}"

    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scalable" / "webhook_queue.py"), *words],
        input=f"  {address}\n",
        capture_output=True,
        text=True,
        timeout=60,
        env=site.environment,
        cwd=site.folder,
    )

    assert done.returncode == 0, done.stderr
    assert "hush" not in done.stderr  # the log
    assert telegram.webhook_url == address


def test_no_address_on_standard_input_is_an_error_and_nothing_is_changed(
    site: ServedSite, telegram: FakeBotApi
) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scalable" / "webhook_queue.py"), "set", "-"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=site.environment,
        cwd=site.folder,
    )

    assert done.returncode == 2
    assert "expected an address such as https://example.com/bot.php" in done.stderr
    assert telegram.webhook_url == BOTS_OWN


def test_delete_keeps_what_waits_at_telegram_and_rollback_still_finds_the_bot(
    site: ServedSite, telegram: FakeBotApi
) -> None:
    command(site, "set", OURS)

    done = command(site, "delete")

    assert (done.returncode, telegram.webhook_url) == (0, "")
    assert "drop_pending_updates" not in sent(telegram, "deletewebhook")
    assert "webhook: none is set" in done.stdout
    assert "webhook_queue.py poll" in done.stdout
    command(site, "rollback")
    assert telegram.webhook_url == BOTS_OWN


def test_delete_remembers_the_bots_own_address(site: ServedSite, telegram: FakeBotApi) -> None:
    command(site, "delete")
    command(site, "rollback")

    assert telegram.webhook_url == BOTS_OWN


def test_info_only_looks(site: ServedSite, telegram: FakeBotApi) -> None:
    telegram.webhook_facts = {
        "last_error_date": 1700000000,
        "last_error_message": "Connection timed out",
        "has_custom_certificate": True,
    }

    done = command(site, "info")

    assert done.returncode == 0
    assert set(telegram.methods()) == {"getwebhookinfo"}
    assert "last failed delivery: 2023-11-14 22:13:20 UTC Connection timed out" in done.stdout
    assert "advice: this webhook was given a certificate of its own" in done.stdout


def test_info_says_when_telegram_cannot_be_asked(site: ServedSite, telegram: FakeBotApi) -> None:
    telegram.will("getWebhookInfo", fails(500))

    done = command(site, "info")

    assert done.returncode == 1
    assert "Telegram could not be asked:" in done.stdout


def test_what_telegram_refuses_is_said_in_its_words(site: ServedSite, telegram: FakeBotApi) -> None:
    telegram.will("setWebhook", refuses("Bad Request: bad webhook: HTTPS URL must be provided for webhook"))

    done = command(site, "set", "http://example.com/x")

    assert (done.returncode, telegram.webhook_url) == (1, BOTS_OWN)
    assert "error: Bad Request: bad webhook: HTTPS URL must be provided" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["info"], {"BOT_TOKEN": ""}, "BOT_TOKEN is empty"),
        (["poll"], {"BOT_TOKEN": ""}, "BOT_TOKEN is empty"),
        (["set", "example.com"], {}, "set 'example.com': expected an address such as https://"),
        (["rollback"], {}, "is not known: name the address: webhook_queue.py rollback URL"),
        (["set", OURS, "--max-connections", "0"], {}, "'0': expected a whole number from 1 to 100"),
        (["set", OURS, "--max-connections", "101"], {}, "'101': expected a whole number from 1 to 100"),
        (["set", OURS, "--max-connections", "ten"], {}, "'ten': expected a whole number from 1 to 100"),
        (["set"], {}, "the following arguments are required: URL"),
        ([], {}, "the following arguments are required: command"),
    ],
)
def test_a_wrong_command_says_why_and_changes_nothing(
    site: ServedSite, telegram: FakeBotApi, arguments: list[str], settings: dict[str, str], message: str
) -> None:
    done = command(site, *arguments, **settings)

    assert (done.returncode, message in done.stderr) == (2, True)
    assert {"setwebhook", "deletewebhook"}.isdisjoint(telegram.methods())
