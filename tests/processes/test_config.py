"""The check of the settings with the PHP of this machine: every setting is shown, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.setup.checks import run_check_command
from scalable.lib.setup.config import SCALABLE_FOLDER
from scalable.lib.setup.script_check import WEB_SCRIPTS
from scalable.lib.setup.settings_table import SETTINGS

MYSQL = {"BOT_DB_HOST": "db.example.com", "BOT_DB_NAME": "bot", "BOT_DB_USER": "me", "BOT_DB_PASS": "hush-database"}
SECRETS = {
    "BOT_DB_PASS": "hush-database",
    "BOT_WEBHOOK_SECRET": "hush-webhook",
    "BOT_MONITOR_TOKEN": "hush-monitor",
    "BOT_TOKEN": "123456:hush-bot",
    "BOT_MONITOR_READ_TOKEN": "hush-reader",
    "BOT_TICK_TOKEN": "hush-tick",
}


def test_the_checks_show_every_setting_and_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Given an address without a server, so that the checks also print what the driver says of it."""
    environment = {**MYSQL, **SECRETS, "BOT_DB_HOST": "127.0.0.1:1"}

    exit_code = run_check_command([], environment, tmp_path)

    shown = capsys.readouterr()
    assert exit_code == 2
    assert "hush" not in shown.out + shown.err
    assert all(setting.name in shown.out for setting in SETTINGS)
    assert shown.out.count("(set, hidden)") == len(SECRETS)
    assert "error    database: MySQL database 'bot' at 127.0.0.1:1" in shown.out


def test_the_checks_show_problems_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in WEB_SCRIPTS:
        (tmp_path / name).symlink_to(SCALABLE_FOLDER / name)
    environment = {**MYSQL, "BOT_WEBHOOK_SECRET": "hush hush", "BOT_DB_USER": ""}

    exit_code = run_check_command([], environment, tmp_path)

    shown = capsys.readouterr().out
    assert exit_code == 2
    assert "BOT_DB_USER is missing" in shown
    assert "BOT_WEBHOOK_SECRET=(hidden)" in shown
    assert "hush" not in shown
    assert "2 things to put right." in shown
