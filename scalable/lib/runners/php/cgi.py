"""Runs the bot as a web server does with CGI: one php-cgi per update, the request in its environment and input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing
from scalable.lib.runners.bot_environment import php_environment
from scalable.lib.runners.php.cgi_request import (
    PLAIN,
    WebRequest,
    check_php_bot,
    request_variables,
    site_folder,
)
from scalable.lib.runners.php.cgi_response import NotACgiResponse, has_answered, read_response
from scalable.lib.runners.php.find_php import CGI, Php, find_php
from scalable.lib.runners.php.prelude import prelude_for
from scalable.lib.runners.php.script_report import ReportedOutput, new_key
from scalable.lib.runners.process import MayWorkOn, ProcessEnd, run_process
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.runners.runner import Runner


class CgiRunner(Runner):
    """Starts php-cgi once per update. The status of the bot's response tells how it went, as it does Telegram.

    `environment` is the owner's, of which php_environment passes a part on, and what is `named`. A bot that has
    answered may work on until `background_seconds` after its start. `takes_log`: see prelude_for.
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
        named: Sequence[str] = (),
        takes_log: bool = False,
    ) -> None:
        self._takes_log = takes_log
        self._reaper = reaper
        self._bot = bot
        self._timeout_seconds = timeout_seconds
        self._php_binary = php_binary
        self._environment = php_environment(environment, named)
        self._request = request
        self._background_seconds = max(background_seconds, timeout_seconds)

    def check(self) -> str:
        """Which php-cgi will run the bot. Raises BotMissing."""
        return f"{self._php_cgi().path} as CGI, once per update, SCRIPT_FILENAME={self._bot}"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run."""
        body, key = payload.encode("utf-8"), new_key()
        errors = ReportedOutput(key)
        try:
            command, variables = self._command(key)
            variables["CONTENT_LENGTH"] = str(len(body))
            end = run_process(
                command,
                body,
                self._bot.parent,
                self._timeout_seconds,
                tick,
                variables,
                self._reaper,
                errors,
                may_work_on=MayWorkOn(
                    self._background_seconds, lambda output: has_answered(output, errors), errors.warnings
                ),
            )
        except BotMissing as error:  # while the owner uploads a new version the file may be away for a moment
            return RunResult(End.NOT_STARTED, 0.0, str(error))
        except OSError as error:
            return RunResult(End.NOT_STARTED, 0.0, f"php-cgi could not be started: {error}")
        errors.flush()
        return self._result(end, errors)

    def _command(self, key: str) -> tuple[list[str], dict[str, str]]:
        """The command, and the variables of its environment."""
        php, address = self._php_cgi(), self._request.find_address()
        site = site_folder(self._bot, address)
        prelude = prelude_for(php, self._bot, site, self._environment, self._takes_log)
        request = request_variables(self._bot, self._request, address)
        return [php.path, *prelude.options], {**self._environment, **request, **prelude.told(key)}

    def _php_cgi(self) -> Php:
        check_php_bot(self._bot)
        return find_php(self._php_binary, CGI)

    def _result(self, end: ProcessEnd, errors: ReportedOutput) -> RunResult:
        if end.timed_out or end.returncode < 0:
            return end.result(self._timeout_seconds, errors.report)
        try:
            # The exit code is logged and does not count: web servers ignore it.
            result = read_response(end.stdout, errors, end.seconds, exit_code=end.returncode)
            return replace(result, works_on=end.works_on)
        except NotACgiResponse as error:
            cause = f"php-cgi gave no response: {error} (exit code {end.returncode})"
            return RunResult(End.NO_USABLE_ANSWER, end.seconds, cause, end.returncode, output=end.output)
