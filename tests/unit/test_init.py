"""First lines and addresses: what is kept, what is chosen, and what is only guessed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scalable.lib.setup.addresses import bot_address, webhook_address
from scalable.lib.setup.init import cron_line, webhook_command
from scalable.lib.setup.script_repair import USUAL, first_line

OURS, BOT = "https://example.com/x/scalable/webhook_queue.py", "https://example.com/x/bot.php?key=1"
PUBLIC = Path("/home/you/public_html/x")


@pytest.fixture
def web_path(tmp_path: Path) -> str:
    """A PATH where `python3` is another name of `python3.11`."""
    (tmp_path / "python3.11").touch(mode=0o755)
    (tmp_path / "python3").symlink_to("python3.11")
    return str(tmp_path)


def test_where_the_web_server_finds_the_same_python_the_line_has_the_name_it_finds_it_by(web_path: str) -> None:
    assert first_line(USUAL, f"{web_path}/python3.11", web_path) == f"#!{web_path}/python3 -S"


def test_where_it_finds_another_or_none_the_line_names_the_python_itself(web_path: str) -> None:
    assert first_line(USUAL, "/opt/python311/bin/python3", web_path) == "#!/opt/python311/bin/python3 -S"
    assert first_line("", "/opt/python311/bin/python3", "/nowhere") == "#!/opt/python311/bin/python3 -S"


def test_a_line_it_wrote_itself_stays(web_path: str) -> None:
    line = first_line(USUAL, f"{web_path}/python3.11", web_path)

    assert first_line(line, "/opt/other/python3", "/nowhere") == line


def test_the_python_of_a_virtual_environment_is_not_taken_for_its_base(web_path: str, tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    python = tmp_path / "env" / "bin" / "python"
    python.symlink_to(f"{web_path}/python3.11")

    assert first_line(USUAL, str(python), web_path) == f"#!{python} -S"


def test_an_interpreter_the_owner_chose_stays_as_long_as_it_is_there(web_path: str) -> None:
    assert first_line("#!/bin/sh", sys.executable, web_path) == "#!/bin/sh"
    assert first_line("#!/opt/gone/python3", f"{web_path}/python3.11", web_path) == f"#!{web_path}/python3 -S"


@pytest.mark.parametrize("python", ["/home/my folder/python3", "/" + "x" * 126])
def test_a_path_the_kernel_cannot_read_in_a_first_line_is_not_written(python: str) -> None:
    assert first_line(USUAL, python, "/nowhere") == USUAL


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("/home/you/public_html", "https://YOUR-DOMAIN/scalable/webhook_queue.py"),
        ("/home/you/public_html/x", "https://YOUR-DOMAIN/x/scalable/webhook_queue.py"),
        ("/home/you/domains/example.com/public_html", "https://example.com/scalable/webhook_queue.py"),
        ("/var/www/vhosts/example.com/httpdocs/a/b", "https://example.com/a/b/scalable/webhook_queue.py"),
        ("/srv/bot", "https://YOUR-DOMAIN/scalable/webhook_queue.py"),
    ],
)
def test_without_a_word_of_telegram_the_folders_say_where_the_webhook_may_be(site: str, expected: str) -> None:
    assert webhook_address(Path(site) / "scalable", Path(site) / "bot.php", "") == expected


def test_telegrams_address_of_the_bot_says_it_exactly() -> None:
    assert webhook_address(PUBLIC / "scalable", PUBLIC / "bot.php", BOT) == OURS
    assert webhook_address(PUBLIC / "scalable", PUBLIC / "bot.php", OURS) == OURS


def test_an_address_of_something_else_says_nothing() -> None:
    assert webhook_address(PUBLIC / "scalable", PUBLIC / "bot.php", "https://example.org/z.php").startswith(
        "https://YOUR-DOMAIN/x/"
    )


def test_the_way_back_is_where_telegram_brings_updates_or_brought_them_before() -> None:
    assert bot_address(PUBLIC / "scalable", PUBLIC / "bot.php", BOT, "") == BOT
    assert bot_address(PUBLIC / "scalable", PUBLIC / "bot.php", OURS, BOT) == BOT
    assert bot_address(PUBLIC / "scalable", PUBLIC / "bot.php", OURS, "") == "https://YOUR-DOMAIN/x/bot.php"


def test_a_cron_line_survives_spaces_and_percent_signs() -> None:
    line = cron_line(Path("/home/you/100% mine/scalable"), "--ensure")

    assert r"'/home/you/100\% mine/scalable/worker_pool.py' --ensure >> " in line


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/bot.php?key=hush",
        "https://you:hush@example.com/bot.php",
        "https://example.com/123456789:hushAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/bot.php",
    ],
)
def test_a_command_that_is_shown_asks_for_an_address_with_a_key_in_it(url: str) -> None:
    shown = webhook_command(PUBLIC / "scalable", "rollback", url)

    assert "hush" not in shown
    assert "webhook_queue.py rollback -  # asks for the address" in shown


def test_a_command_that_is_shown_names_an_address_without_one() -> None:
    assert webhook_command(PUBLIC / "scalable", "set", OURS).endswith(f"/scalable/webhook_queue.py set {OURS}")
