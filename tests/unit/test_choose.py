"""Which way the bot is run, made out from its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.errors import BotMissing, ConfigurationError
from scalable.lib.runners.choose import BotSettings, checked, create_runner, without_password
from scalable.lib.runners.php.find_php import CGI, CLI
from tests.support.generators.bots import shell_bot


def bot(target: str, mode: str = "auto", socket: str = "", folder: Path = Path("/tmp")) -> BotSettings:
    return BotSettings(target, mode, 60.0, "", socket, "hush-secret", folder)


@pytest.mark.parametrize(
    ("target", "mode", "runner"),
    [
        ("/b/bot.php", "auto", "AutoRunner"),
        ("/b/bot.py", "auto", "CliRunner"),
        ("/b/bot", "auto", "CliRunner"),
        ("/b/bot.php", "cli", "CliRunner"),
        ("/b/bot.php", "cgi", "CgiRunner"),
        ("/b/bot.php", "fastcgi", "FastCgiRunner"),
        ("/b/bot.py:handle", "auto", "PythonRunner"),
        ("/b/bot.py:handle", "python", "PythonRunner"),
        ("https://example.com/bot.php", "auto", "HttpRunner"),
        ("http://example.com/bot.py:handle", "auto", "HttpRunner"),
    ],
)
def test_path_and_mode_choose_the_runner(target: str, mode: str, runner: str):
    assert type(create_runner(bot(target, mode), {})).__name__ == runner


@pytest.mark.parametrize(
    ("target", "mode", "socket", "interface"),
    [
        ("/b/bot.php", "auto", "", None),
        ("/b/bot.php", "cli", "", CLI),
        ("/b/bot.py", "auto", "", None),
        ("/b/bot.php", "cgi", "", CGI),
        ("/b/bot.php", "fastcgi", "", CGI),
        ("/b/bot.php", "fastcgi", "/run/fpm.sock", None),
        ("https://example.com/bot.php", "auto", "", None),
        ("/b/bot.py:handle", "auto", "", None),
    ],
)
def test_only_what_this_machines_php_runs_needs_one(target: str, mode: str, socket: str, interface: str | None):
    assert bot(target, mode, socket).php_interface == interface


def test_a_socket_that_cannot_be_one_is_told_before_anything_is_run():
    with pytest.raises(ConfigurationError, match="BOT_FASTCGI_SOCKET='fpm'"):
        create_runner(bot("/b/bot.php", "fastcgi", "fpm"), {})


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://me:hush@example.com/bot.php", "https://…@example.com/bot.php"),
        ("HTTPS://me@example.com", "HTTPS://…@example.com"),
        ("https://example.com/a@b?c=d@e", "https://example.com/a@b?…"),
        ("https://example.com/bot.php?key=hush&again=?", "https://example.com/bot.php?…"),
        ("../bot.php", "../bot.php"),
        ("../what?.php", "../what?.php"),
        ("../bot.php?s=hush", "../bot.php?…"),
        ("../bot.phtml?hush", "../bot.phtml?…"),
    ],
)
def test_user_password_and_query_of_an_address_are_not_shown(target: str, shown: str):
    assert without_password(target) == shown


def test_no_secret_is_in_the_repr():
    assert "hush" not in repr(bot("https://me:hush-password@example.com/bot.php"))


def test_a_check_says_how_the_bot_is_run_or_why_it_is_not(tmp_path: Path):
    runs = shell_bot(tmp_path, "exit 0")

    assert checked(create_runner(bot(str(runs)), {})) == str(runs)
    with pytest.raises(BotMissing, match="there is no bot at"):
        checked(create_runner(bot(str(tmp_path / "nothing.php")), {}))


def test_a_checked_python_bot_is_let_go(tmp_path: Path):
    (tmp_path / "bot.py").write_text(
        "from pathlib import Path\n"
        "def handle(update): pass\n"
        f"def on_worker_stop(): Path({str(tmp_path / 'stopped')!r}).touch()\n"
    )

    checked(create_runner(bot(f"{tmp_path}/bot.py:handle"), {}))

    assert (tmp_path / "stopped").exists()
