"""Runs the bot as a web server does with FastCGI: the request goes to a PHP that is running already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing
from scalable.lib.runners.bot_environment import bot_variables
from scalable.lib.runners.php.cgi_request import (
    PLAIN,
    WebRequest,
    check_php_bot,
    request_variables,
    site_folder,
)
from scalable.lib.runners.php.cgi_response import NotACgiResponse, has_answered, read_response
from scalable.lib.runners.php.fastcgi_client import Answer, RequestEnd
from scalable.lib.runners.php.fastcgi_protocol import ProtocolStatus, begin_request, finish_request
from scalable.lib.runners.php.fastcgi_server import FastCgiServer
from scalable.lib.runners.php.public_address import PublicAddress
from scalable.lib.runners.php.script_report import ReportedOutput, new_key
from scalable.lib.runners.php.working_on import FastCgiWorkingOn
from scalable.lib.runners.run_result import End, RunResult, ran_too_long
from scalable.lib.runners.runner import Runner

REFUSALS: dict[int, str] = {
    ProtocolStatus.CANT_MPX_CONN: "it takes no second request on one connection",
    ProtocolStatus.OVERLOADED: "it is overloaded and takes no request just now",
    ProtocolStatus.UNKNOWN_ROLE: "it answers no requests (the FastCGI role of a responder)",
}


class FastCgiRunner(Runner):
    """Sends each update to `server`. The status of the bot's response tells how it went, as it does Telegram.

    Of `environment`, the owner's, the bot finds the BOT_* variables and those `named`. A bot that has answered may
    work on until `background_seconds` after its start.
    """

    def __init__(
        self,
        bot: Path,
        timeout_seconds: float,
        server: FastCgiServer,
        request: WebRequest = PLAIN,
        environment: Mapping[str, str] = MappingProxyType({}),
        background_seconds: float = 0.0,
        named: Sequence[str] = (),
    ) -> None:
        self._bot = bot
        self._timeout_seconds = timeout_seconds
        self._background_seconds = max(background_seconds, timeout_seconds)
        self._server = server
        self._file: Optional[tuple[int, int]] = None
        self._request = request
        self._environment = bot_variables(environment, named)
        self._address: Optional[PublicAddress] = None
        self._beginning = b""

    def check(self) -> str:
        """Who will run the bot. Raises BotMissing."""
        check_php_bot(self._bot)
        return f"{self._server.check()}, SCRIPT_FILENAME={self._bot}"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run."""
        started = time.monotonic()
        body = payload.encode("utf-8")
        result, had_not_begun = self._attempt(body, started, tick)
        if had_not_begun:
            result, _ = self._attempt(body, started, tick)
        return result

    def rest(self) -> None:
        """See Runner.rest. A php-cgi of the slot's own is started again by the next run."""
        self._server.close()

    def close(self) -> None:
        """See Runner.close."""
        self._server.close()

    def _attempt(self, body: bytes, started: float, tick: Callable[[], None]) -> tuple[RunResult, bool]:
        """The result, and whether it is certain that the bot had not begun though a connection was there."""
        deadline, key = started + self._timeout_seconds, new_key()
        errors = ReportedOutput(key)
        try:
            self._renew_when_replaced()
            self._renew_when_moved()
            connection = self._server.connect(deadline)
        except BotMissing as error:
            return RunResult(End.NOT_STARTED, time.monotonic() - started, str(error)), False
        try:
            request = self._beginning + finish_request(body, self._server.prelude.told(key))
            answer = connection.ask(request, deadline, tick, errors, lambda output: has_answered(output, errors))
            errors.flush()
        except BaseException:
            self._server.abandon(connection)
            raise
        if answer.ended is RequestEnd.IN_ORDER:
            self._server.release(connection, answer.is_reusable)
            return self._of_answer(answer, errors, time.monotonic() - started), False
        if answer.ended is RequestEnd.ANSWERED:
            works_on = FastCgiWorkingOn(
                started, self._timeout_seconds, self._background_seconds, errors.warnings, self._server, connection
            )
            result = self._of_answer(answer, errors, time.monotonic() - started)
            return replace(result, works_on=works_on), False
        if answer.ended is RequestEnd.CONNECTION_LOST:
            loss = self._server.lost(connection, answer)
            seconds = time.monotonic() - started
            return RunResult(End.DIED, seconds, loss.cause, output=answer.text()), loss.had_not_begun
        note = self._server.abandon(connection)
        return self._of_abandoned(note, answer, time.monotonic() - started), False

    def _renew_when_replaced(self) -> None:
        """Raises BotMissing while the file is away, as for a moment when the owner uploads a new version.

        PHP detects by itself that a file was changed, but not that its name, or a symbolic link on the way to it, now
        leads to another file: it keeps the old one, and what that includes.
        """
        state = check_php_bot(self._bot)
        file = (state.st_dev, state.st_ino)
        if file != self._file:
            self._server.renew()
            self._file = file

    def _renew_when_moved(self) -> None:
        """The site's own folder may be known only now, and with it the .user.ini files that PHP is to heed."""
        address = self._request.find_address()
        if address != self._address:
            self._server.serve(self._bot, site_folder(self._bot, address))
            variables = {**self._environment, **request_variables(self._bot, self._request, address)}
            self._beginning = begin_request(variables, self._server.keeps_connection)
            self._address = address

    def _of_answer(self, answer: Answer, errors: ReportedOutput, seconds: float) -> RunResult:
        """Of a request that the server ended. Its exit status does not count: PHP's is 0, whatever exit() said."""
        name = self._server.name
        if answer.protocol_status != ProtocolStatus.REQUEST_COMPLETE:
            why = REFUSALS.get(answer.protocol_status, f"it refuses the request with status {answer.protocol_status}")
            return RunResult(End.NOT_STARTED, seconds, f"{name}: {why}", output=answer.text())
        try:
            return read_response(answer.output, errors, seconds, printed=answer.printed.text())
        except NotACgiResponse as error:
            cause = f"{name} gave no response: {error}"
            return RunResult(End.NO_USABLE_ANSWER, seconds, cause, output=answer.text())

    def _of_abandoned(self, note: str, answer: Answer, seconds: float) -> RunResult:
        """Of a request that we ended."""
        if answer.ended is RequestEnd.NOT_FASTCGI:
            cause = f"{self._server.name} does not speak FastCGI: {answer.problem}"
            return RunResult(End.NO_USABLE_ANSWER, seconds, cause, output=answer.text())
        return ran_too_long(self._timeout_seconds, seconds, answer.text(), note)
