"""Runs the bot as a program: the update on standard input, and the exit code tells how it went."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from scalable.lib.errors import BotMissing
from scalable.lib.runners.bot_file import check_bot_file
from scalable.lib.runners.php.find_php import find_php
from scalable.lib.runners.process import run_process
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner


def bot_command(bot: Path, php_binary: str = "") -> list[str]:
    """The command that runs `bot`: PHP for `.php`, this same Python for `.py`, else the file itself.

    Raises BotMissing, naming the file and what to do, when it is not there or cannot be run.
    """
    check_bot_file(bot)
    if bot.suffix == ".php":
        return [find_php(php_binary).path, str(bot)]
    if bot.suffix == ".py":
        return [sys.executable, str(bot)]
    if not os.access(bot, os.X_OK):
        raise BotMissing(f"BOT_LEGACY_PATH: {bot} is neither .php nor .py and not executable; chmod 755 it")
    return [str(bot)]


class CliRunner(Runner):
    """Starts the bot once per update, in the bot's own folder as a web server would.

    `reaper` ends a bot whose worker is killed; it is the caller's to close.
    """

    def __init__(
        self, bot: Path, timeout_seconds: float, php_binary: str = "", reaper: Optional[ProcessReaper] = None
    ) -> None:
        self._bot = bot
        self._timeout_seconds = timeout_seconds
        self._php_binary = php_binary
        self._reaper = reaper

    def check(self) -> str:
        """The command it will run. Raises BotMissing."""
        return " ".join(bot_command(self._bot, self._php_binary))

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run."""
        body = payload.encode("utf-8")
        try:
            command = bot_command(self._bot, self._php_binary)
            end = run_process(command, body, self._bot.parent, self._timeout_seconds, tick, reaper=self._reaper)
        except BotMissing as error:  # while the owner uploads a new version the file may be away for a moment
            return RunResult(End.NOT_STARTED, 0.0, str(error))
        except OSError as error:
            return RunResult(End.NOT_STARTED, 0.0, f"the bot could not be started: {error}")
        return end.result(self._timeout_seconds)
