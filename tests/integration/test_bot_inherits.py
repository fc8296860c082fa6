"""What of a worker's environment reaches the bot, in every mode that runs on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalable.lib.runners.bot_environment import OURS
from tests.support.servers.idle_installation import Ticks

# The queue is on SQLite here; BOT_DB_PASS is asked for without a server in test_bot_environment.py.
PASSWORDS = {name: f"hush-{name.lower().replace('_', '-')}" for name in OURS if name != "BOT_DB_PASS"}
OWN = {"SHOP_DB_PASSWORD": "the bot's own", "BOT_TOKEN": "", "BOT_FLAVOUR": "mild"}
PROGRAM = """
import json, os, subprocess, sys
child = subprocess.run([sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
                       stdout=subprocess.PIPE, check=True)
open("seen", "w").write(json.dumps([dict(os.environ), json.loads(child.stdout)]))
"""
FUNCTION = "def handle(update):\n" + "".join(f"    {line}\n" for line in PROGRAM.strip().splitlines())
PHP = "<?php file_put_contents('seen.part', json_encode([getenv(), (object) $_ENV])); rename('seen.part', 'seen');"
WAYS = {
    "program": ("bot.py", PROGRAM, "cli", ""),
    "function": ("bot.py", FUNCTION, "python", ":handle"),
    "PHP as a program": ("bot.php", PHP, "cli", ""),
    "PHP by CGI": ("bot.php", PHP, "cgi", ""),
    "PHP by FastCGI": ("bot.php", PHP, "fastcgi", ""),
}


class Bot:
    """One that writes down what it finds in its environment, and what a program does that it starts."""

    def __init__(self, folder: Path, way: str) -> None:
        name, source, self.mode, function = WAYS[way]
        self.folder, self.path = folder, folder / name
        self.target = f"{self.path}{function}"
        self.path.write_text(source)

    def run_once(self, **settings: str) -> list[dict[str, str]]:
        """Its update is run by a worker with this environment."""
        given = {"BOT_LEGACY_PATH": self.target, "BOT_LEGACY_MODE": self.mode, **OWN, **PASSWORDS, **settings}
        with Ticks(self.folder, self.path, **given) as ticks:
            ticks.store(1)
            done = ticks.run("worker.py", "--drain", "--max-seconds", "30")
            assert (self.folder / "seen").exists(), (done, ticks.states())
        return [each or {} for each in json.loads((self.folder / "seen").read_text())]


@pytest.fixture(params=WAYS)
def bot(request: pytest.FixtureRequest, tmp_path: Path) -> Bot:
    return Bot(tmp_path, request.param)


def test_no_password_of_ours_reaches_the_bot_and_its_own_variables_do(bot: Bot) -> None:
    seen = bot.run_once()

    for environment in seen:
        allowed = {"BOT_WEBHOOK_SECRET"} if bot.path.suffix == ".php" else set()  # in the header of its request, too
        assert not [name for name in PASSWORDS if name in environment and name not in allowed]
    assert seen[0]["BOT_FLAVOUR"] == "mild"
    assert {"PATH", "HOME"} <= set(seen[0])
    if bot.mode in ("cli", "python"):
        assert seen[0]["SHOP_DB_PASSWORD"] == "the bot's own"


def test_what_the_owner_names_reaches_it_and_only_that(bot: Bot) -> None:
    seen = bot.run_once(BOT_LEGACY_ENV="SHOP_DB_PASSWORD, BOT_TICK_TOKEN", STRAY="x")

    assert seen[0]["SHOP_DB_PASSWORD"] == "the bot's own"
    assert seen[0]["BOT_TICK_TOKEN"] == "hush-bot-tick-token"
    assert "BOT_MONITOR_TOKEN" not in seen[0]
    if bot.mode != "python":  # a function is called in our own process
        assert "STRAY" not in seen[0]
