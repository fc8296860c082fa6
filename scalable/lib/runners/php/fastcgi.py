"""Runs the bot as a web server does with FastCGI: the request goes to a PHP that is running already."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing
from scalable.lib.runners.judgement import judge_response, ran_too_long
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php.cgi_request import bot_variables, check_php_bot, request_variables
from scalable.lib.runners.php.cgi_response import NotACgiResponse, parse_response
from scalable.lib.runners.php.fastcgi_client import Answer, Ended
from scalable.lib.runners.php.fastcgi_protocol import ProtocolStatus, begin_request, finish_request
from scalable.lib.runners.php.fpm import FastCgiServer
from scalable.lib.runners.runner import Runner

REFUSALS: dict[int, str] = {
    ProtocolStatus.CANT_MPX_CONN: "it takes no second request on one connection",
    ProtocolStatus.OVERLOADED: "it is overloaded and takes no request just now",
    ProtocolStatus.UNKNOWN_ROLE: "it answers no requests (the FastCGI role of a responder)",
}


class FastCgiRunner(Runner):
    """Sends each update to `server`. The status of the bot's response decides, as it does for Telegram.

    `secret` is the webhook's; of `environment`, the owner's, the bot finds the BOT_* variables.
    """

    def __init__(
        self,
        bot: Path,
        timeout_seconds: float,
        server: FastCgiServer,
        secret: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._bot = bot
        self._timeout_seconds = timeout_seconds
        self._server = server
        self._file: Optional[tuple[int, int]] = None
        variables = {**bot_variables(environment), **request_variables(bot, secret)}
        self._beginning = begin_request(variables, server.keeps_connection)

    def check(self) -> str:
        """Who will run the bot. Raises BotMissing."""
        check_php_bot(self._bot)
        return f"{self._server.check()}, SCRIPT_FILENAME={self._bot}"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> Outcome:
        """See Runner.run."""
        started = time.monotonic()
        request = self._beginning + finish_request(payload.encode("utf-8"))
        outcome, had_not_begun = self._attempt(request, started, tick)
        if had_not_begun:
            outcome, _ = self._attempt(request, started, tick)
        return outcome

    def close(self) -> None:
        """See Runner.close."""
        self._server.close()

    def _attempt(self, request: bytes, started: float, tick: Callable[[], None]) -> tuple[Outcome, bool]:
        """The outcome, and whether it is certain that the bot had not begun though a connection was there."""
        deadline = started + self._timeout_seconds
        try:
            self._look_at_the_bot()
            connection = self._server.connect(deadline)
        except BotMissing as error:
            return Outcome(Kind.FAILED, str(error), time.monotonic() - started), False
        try:
            answer = connection.ask(request, deadline, tick)
        except BaseException:
            self._server.abandon(connection)
            raise
        if answer.ended is Ended.IN_ORDER:
            self._server.release(connection, answer.is_reusable)
            return self._judge(answer, time.monotonic() - started), False
        if answer.ended is Ended.CONNECTION_LOST:
            loss = self._server.lost(connection, answer)
            seconds = time.monotonic() - started
            return Outcome(Kind.DIED, loss.cause, seconds, output=answer.text()), loss.had_not_begun
        note = self._server.abandon(connection)
        return self._judge_abandoned(note, answer, time.monotonic() - started), False

    def _look_at_the_bot(self) -> None:
        """Raises BotMissing while the file is away, as for a moment when the owner uploads a new version.

        PHP notices by itself that a file was changed, but not that its name, or a symbolic link on the way to it, now
        leads to another file: it keeps the old one, and what that includes.
        """
        state = check_php_bot(self._bot)
        file = (state.st_dev, state.st_ino)
        if file != self._file:
            self._server.renew()
            self._file = file

    def _judge(self, answer: Answer, seconds: float) -> Outcome:
        """Of a request that the server ended. Its exit status does not count: PHP's is 0, whatever exit() said."""
        name = self._server.name
        if answer.protocol_status != ProtocolStatus.REQUEST_COMPLETE:
            why = REFUSALS.get(answer.protocol_status, f"it refuses the request with status {answer.protocol_status}")
            return Outcome(Kind.FAILED, f"{name}: {why}", seconds, output=answer.text())
        output, errors = answer.output, answer.errors
        try:
            response = parse_response(bytes(output.head), output.is_whole, output.text(), errors.text(), errors.kept())
        except NotACgiResponse as error:
            return Outcome(Kind.FAILED, f"{name} gave no response: {error}", seconds, output=answer.text())
        outcome = judge_response(response, seconds)
        if answer.printed.size:  # by anyone in the process's group, so it is shown, and does not decide
            outcome = dataclasses.replace(outcome, output=f"{outcome.output}\n{answer.printed.text()}".strip())
        return outcome

    def _judge_abandoned(self, note: str, answer: Answer, seconds: float) -> Outcome:
        """Of a request that we ended."""
        if answer.ended is Ended.NOT_FASTCGI:
            cause = f"{self._server.name} does not speak FastCGI: {answer.problem}"
            return Outcome(Kind.FAILED, cause, seconds, output=answer.text())
        outcome = ran_too_long(self._timeout_seconds, seconds, answer.text())
        return dataclasses.replace(outcome, cause=f"{outcome.cause}; {note}") if note else outcome
