"""Runs the bot by sending the update to its address, as Telegram would: the status of the answer decides."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Optional

from scalable.lib.deadline import Deadline, DeadlinePassed, TickRaised
from scalable.lib.http_client.address import parse_web_address
from scalable.lib.http_client.connection import NoAnswer, WebConnection
from scalable.lib.runners.run_result import End, RunResult, ran_too_long
from scalable.lib.runners.runner import Runner

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # core.telegram.org/bots/api#setwebhook


class HttpRunner(Runner):
    """POSTs each update to `url`. `secret` is the secret_token the bot expects. `context` says whose certificates to
    trust; None: those this system trusts.

    Raises BotMissing when `url` is no address. User and password in it are sent as Basic authorization.
    """

    def __init__(
        self, url: str, timeout_seconds: float, secret: str = "", context: Optional[ssl.SSLContext] = None
    ) -> None:
        self._address = parse_web_address(url)
        self._timeout_seconds = timeout_seconds
        self._connection = WebConnection(self._address, context)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "ScalableMode",
            "Accept-Encoding": "identity",
        }
        if secret:
            self._headers[SECRET_HEADER] = secret
        if self._address.authorization:
            self._headers["Authorization"] = self._address.authorization

    def check(self) -> str:
        """Where updates are posted to. It does not connect."""
        line = f"posted to {self._address.shown}"
        if self._address.is_encrypted or self._address.is_loopback:
            return line
        return f"{line} (not encrypted: whoever is on the way can read the updates; prefer https://)"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run. The update is sent once; a bot that is still busy at the end of its time may finish."""
        deadline = Deadline(self._timeout_seconds, tick)
        connection = self._connection
        try:
            response = connection.post(payload.encode("utf-8"), self._headers, deadline)
        except DeadlinePassed:
            return self._let_go(deadline.seconds)
        except TickRaised as error:
            raise error.reason  # noqa: B904  # with its own cause, which `from` would replace
        except NoAnswer as error:
            output = connection.received.text()
            return RunResult(End.NO_USABLE_ANSWER, deadline.seconds, str(error), output=output)
        return RunResult(
            End.RESPONDED,
            deadline.seconds,
            http_status=response.status,
            retry_after=response.headers.get("retry-after", ""),
            output=response.body_end,
            shown=response.body_end,
            answer=response.body if response.is_whole else b"",
            answer_type=response.headers.get("content-type", ""),
        )

    def close(self) -> None:
        """Close the connection that is kept; safe to repeat, and another run may follow."""
        self._connection.close()

    def _let_go(self, seconds: float) -> RunResult:
        connection = self._connection
        output = f"the time was over while {connection.stage}\n{connection.received.text()}".strip()
        note = "the web server may still be running the bot" if connection.has_begun else ""
        return ran_too_long(self._timeout_seconds, seconds, output, note)
