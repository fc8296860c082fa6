"""What strangers send reaches terminals and logs as text: it moves no cursor, forges no line and fills no disk."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import copy_plugin, request
from tests.support.terminal import seen_in_a_terminal
from tests.support.waiting import eventually

LINE = "2026-01-01T00:00:00Z ERROR forged"
EVIL = f"\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r\u202e{LINE}\n{LINE}"
FORGED = re.compile(f"^{LINE}", re.MULTILINE)
BOT = f"""
import sys
sys.stderr.write({EVIL!r} + "\\n")
sys.stdout.write({EVIL!r})
sys.exit({EVIL!r})
"""
# What our progress bar writes begins with a carriage return.
ALLOWED = "\n\t\u200c\u200d"
COMMANDS: list[tuple[str, ...]] = [
    ("dashboard.py",),
    ("dashboard.py", "--json"),
    ("dashboard.py", "show", "1"),
    ("dashboard.py", "list"),
    ("dashboard.py", "list", "--json"),
    ("dashboard.py", "list", "--search", EVIL.replace("\n", " ")),
    ("dashboard.py", "health"),
    ("dashboard.py", "health", "--json"),
    ("dashboard.py", "webhook"),
    ("config.py",),
    ("worker_pool.py", "--status"),
]


def evil_update(number: int) -> dict[str, Any]:
    who = {"id": 7, "is_bot": False, "first_name": EVIL, "username": EVIL, "language_code": EVIL}
    chat = {"id": 7, "type": EVIL, "title": EVIL, "first_name": EVIL}
    return {"update_id": number, "message": {"message_id": 1, "date": 1, "chat": chat, "from": who, "text": EVIL}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ServedSite]:
    bot = tmp_path / "bot.py"
    bot.write_text(BOT)
    site = ServedSite(tmp_path, bot, BOT_LOG_LEVEL="DEBUG", BOT_JOB_MAX_ATTEMPTS="1", BOT_BREAKER="0")
    with site:
        assert site.send(evil_update(1)).status == 200
        assert site.send({"update_id": 2, EVIL: {"chat": {"id": 8, "type": "private"}}}).status == 200
        eventually(lambda: "job failed id=1" in site.log.read_text())
        yield site


def obeyed(text: str) -> set[str]:
    """The characters that a terminal would obey."""
    return {each for each in text if not each.isprintable() and each not in ALLOWED}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_terminal_gets_no_control_character_of_a_stranger(site: ServedSite, command: tuple[str, ...]) -> None:
    seen = seen_in_a_terminal(site.command(*command), site.environment, site.folder)

    assert seen
    assert obeyed(seen) == set()
    assert not FORGED.search(seen)


def test_json_is_ascii_in_a_terminal_and_the_same_everywhere(site: ServedSite) -> None:
    command = "dashboard.py", "list", "--json"
    in_a_terminal = seen_in_a_terminal(site.command(*command), site.environment, site.folder)
    in_a_pipe = site.run(*command).stdout

    assert in_a_terminal.isascii()
    assert obeyed(in_a_pipe) == set()
    jobs = json.loads(in_a_pipe)
    assert [job["id"] for job in json.loads(in_a_terminal)["jobs"]] == [job["id"] for job in jobs["jobs"]]


def test_the_log_holds_no_line_that_a_bot_or_a_user_has_forged(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text("def handle(update):\n    raise ValueError(update['message']['text'])\n")
    settings = {"BOT_LEGACY_PATH": f"{tmp_path}/bot.py:handle", "BOT_LOG_LEVEL": "DEBUG"}
    with ServedSite(tmp_path, tmp_path / "bot.py", **settings) as site:
        assert site.send(evil_update(1)).status == 200
        eventually(lambda: "owned" in site.log.read_text())

    said = site.log.read_text()
    assert obeyed(said) == set()
    assert not FORGED.search(said)


def test_a_flood_of_refused_requests_is_some_lines_and_a_number(tmp_path: Path) -> None:
    site = ServedSite(tmp_path, REPOSITORY / "examples" / "bot.py", BOT_WEBHOOK_SECRET="s-of-nobody-else")
    with site:
        statuses = [request(site.webhook_url, b"{}").status for _ in range(300)]
        statuses += [site.send(b"no update", X_Telegram_Bot_Api_Secret_Token="s-of-nobody-else").status]
    lines = site.log.read_text().splitlines()

    assert set(statuses) == {401, 400}
    assert 10 <= len([line for line in lines if "update refused" in line and "left out" not in line]) <= 20
    told = [int(re.findall(r"count=(\d+)", line)[0]) for line in lines if 'left out of="update refused"' in line]
    assert sum(told) >= 280, lines


def test_the_doctor_in_a_shell_is_as_plain(tmp_path: Path) -> None:
    need(None if Path("/usr/bin/php").exists() else "PHP: php-cli is not installed: python3 tests/install.py")
    plugin = copy_plugin(tmp_path)
    (tmp_path / "bot.php").write_text("<?php file_get_contents('php://stdin');")
    (plugin / "error_log").write_bytes(f"[x] Premature end of script headers: {EVIL}\n".encode())

    command = ["/usr/bin/php", str(plugin / "doctor.php")]
    said = subprocess.run(
        command, capture_output=True, timeout=120, check=False, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}
    ).stdout.decode()

    assert "error log" in said
    assert obeyed(said) == set()
