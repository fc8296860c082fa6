"""Runs the bot as a program: the update on standard input, and the exit code tells how it went."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing
from scalable.lib.runners.bot_environment import ALL, program_environment
from scalable.lib.runners.bot_file import check_bot_file
from scalable.lib.runners.php.cgi_request import PLAIN, WebRequest, request_variables, site_folder
from scalable.lib.runners.php.find_php import Php, find_php
from scalable.lib.runners.php.prelude import prelude_for
from scalable.lib.runners.php.script_report import ReportedOutput, new_key
from scalable.lib.runners.process import MayWorkOn, run_process
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner


def bot_command(bot: Path) -> list[str]:
    """The command that runs a `bot` which is no PHP: this same Python for `.py`, else the file itself.

    Raises BotMissing, naming the file and what to do, when it is not there or cannot be run.
    """
    check_bot_file(bot)
    if bot.suffix == ".py":
        return [sys.executable, str(bot)]
    if not os.access(bot, os.X_OK):
        raise BotMissing(f"BOT_LEGACY_PATH: {bot} is neither .php nor .py and not executable; chmod 755 it")
    return [str(bot)]


class CliRunner(Runner):
    """Starts the bot once per update, in the bot's own folder as a web server would.

    A bot in PHP is run behind the prelude, so that it finds the `request` it is made for. Of `environment`, the
    owner's, it gets what program_environment passes, with `named`; without one, this process's own. It may work on
    until `background_seconds` after its start when it has called fastcgi_finish_request(). `reaper` ends a bot
    whose worker is killed; it is the caller's to close. `takes_log`: see prelude_for.
    """

    def __init__(
        self,
        bot: Path,
        timeout_seconds: float,
        php_binary: str = "",
        request: WebRequest = PLAIN,
        environment: Mapping[str, str] = MappingProxyType({}),
        reaper: Optional[ProcessReaper] = None,
        background_seconds: float = 0.0,
        named: Sequence[str] = (ALL,),
        takes_log: bool = False,
    ) -> None:
        self._takes_log = takes_log
        self._bot = bot
        self._timeout_seconds = timeout_seconds
        self._php_binary = php_binary
        self._environment = program_environment(environment, named, self._is_php)
        self._inherits = not environment
        self._request = request
        self._reaper = reaper
        self._background_seconds = max(background_seconds, timeout_seconds)

    def check(self) -> str:
        """The command it will run. Raises BotMissing."""
        return " ".join([self._php().path, str(self._bot)] if self._is_php else bot_command(self._bot))

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run."""
        body = payload.encode("utf-8")
        try:
            if self._is_php:
                return self._run_php(body, tick)
            command = bot_command(self._bot)
            own = None if self._inherits else self._environment
            end = run_process(command, body, self._bot.parent, self._timeout_seconds, tick, own, self._reaper)
        except BotMissing as error:  # while the owner uploads a new version the file may be away for a moment
            return RunResult(End.NOT_STARTED, 0.0, str(error))
        except OSError as error:
            return RunResult(End.NOT_STARTED, 0.0, f"the bot could not be started: {error}")
        return end.result(self._timeout_seconds)

    @property
    def _is_php(self) -> bool:
        return self._bot.suffix == ".php"

    def _php(self) -> Php:
        check_bot_file(self._bot)
        return find_php(self._php_binary)

    def _run_php(self, body: bytes, tick: Callable[[], None]) -> RunResult:
        """Its standard input is a file: the prelude reads it, and the bot may do so again."""
        php, key, address = self._php(), new_key(), self._request.find_address()
        site = site_folder(self._bot, address)
        prelude = prelude_for(php, self._bot, site, self._environment, self._takes_log)
        variables = request_variables(self._bot, self._request, address)
        errors = ReportedOutput(key)
        end = run_process(
            [php.path, *prelude.options, str(self._bot)],
            body,
            self._bot.parent,
            self._timeout_seconds,
            tick,
            {**self._environment, **prelude.told(key, variables)},
            self._reaper,
            errors,
            input_is_file=True,
            may_work_on=MayWorkOn(self._background_seconds, lambda _: errors.has_answered, errors.warnings),
        )
        errors.flush()
        return end.result(self._timeout_seconds, errors.report)
