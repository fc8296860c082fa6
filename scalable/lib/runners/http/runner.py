"""Runs the bot by sending the update to its address, as Telegram would.

What a status means for the job is decided in runners/judgement.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from scalable.lib.deadline import Deadline
from scalable.lib.errors import BotMissing
from scalable.lib.http_client.address import EXPECTED, hide_password, parse_web_address
from scalable.lib.http_client.client import HttpClient, HttpError, PerhapsSent, Reason, Request
from scalable.lib.redaction import one_line
from scalable.lib.runners.run_result import End, RunResult, ran_too_long
from scalable.lib.runners.runner import Runner
from scalable.lib.telegram.secret_token import SECRET_HEADER

if TYPE_CHECKING:
    import ssl

# Servers close idle connections after 2 to 75 seconds; see HttpClient.
KEPT_SECONDS = 1.0
CONNECT_SECONDS = 10.0
# OpenSSL's X509_V_ERR_*: the name or the address is not in the certificate; not yet valid, expired.
_OTHER_NAME = (62, 64)
_DATES = (9, 10)


class HttpRunner(Runner):
    """POSTs each update to `url`. `secret` is the secret_token the bot expects. `context` says whose certificates to
    trust; None: those this system trusts.

    Raises BotMissing when `url` is no address. User and password in it are sent as Basic authorization.
    """

    def __init__(
        self, url: str, timeout_seconds: float, secret: str = "", context: Optional[ssl.SSLContext] = None
    ) -> None:
        try:
            self._address = parse_web_address(url)
        except ValueError:
            raise BotMissing(f"BOT_LEGACY_PATH={hide_password(url)!r}: {EXPECTED}") from None
        self._timeout_seconds = timeout_seconds
        self._client = HttpClient(self._address, KEPT_SECONDS, CONNECT_SECONDS, context)
        self._headers = {"Content-Type": "application/json", "User-Agent": "ScalableMode"}
        if secret:
            self._headers[SECRET_HEADER] = secret
        if self._address.authorization:
            self._headers["Authorization"] = self._address.authorization

    def check(self) -> str:
        """Where updates are posted to. It does not connect."""
        line = f"posted to {self._address.shown}"
        if self._address.is_private:
            return line
        return f"{line} (not encrypted: whoever is on the way can read the updates; prefer https://)"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run. The update is sent once; a bot that is still busy at the end of its time may finish."""
        deadline = Deadline(self._timeout_seconds, tick)
        request = Request("POST", self._address.target, self._headers, payload.encode("utf-8"))
        try:
            response = self._client.send(request, deadline)
        except HttpError as error:
            return self._without_response(error, deadline.seconds)
        return RunResult(
            End.RESPONDED,
            deadline.seconds,
            http_status=response.status,
            retry_after=response.headers.get("retry-after", ""),
            output=response.body_end,
            answer=response.body if response.is_whole else b"",
            answer_type=response.headers.get("content-type", ""),
        )

    def rest(self) -> None:
        """See Runner.rest."""
        self._client.close()

    def close(self) -> None:
        """Close the connection that is kept; safe to repeat, and another run may follow."""
        self._client.close()

    def _without_response(self, error: HttpError, seconds: float) -> RunResult:
        doing = f"while {error.stage.value.replace('request', 'update')} {self._address.authority}"
        received = error.response.body_end if error.response else ""
        if error.reason is not Reason.DEADLINE:
            return RunResult(End.NO_USABLE_ANSWER, seconds, self._explained(error, doing), output=received)
        note = "the web server may still be running the bot" if isinstance(error, PerhapsSent) else ""
        return ran_too_long(self._timeout_seconds, seconds, f"the time was over {doing}\n{received}".strip(), note)

    def _explained(self, error: HttpError, doing: str) -> str:
        place = self._address.authority
        if error.reason is Reason.CERTIFICATE:
            hint = _certificate_hint(getattr(error.cause, "verify_code", 0))
            return f"the certificate of {place} is not accepted ({error.detail}): {hint}"
        if error.reason is Reason.NO_TLS:
            return f"no TLS with {place}: {error.detail}; is it http://, or another port?"
        if error.reason is Reason.CLOSED:
            return f"the connection was closed {doing}"
        if error.reason is Reason.UNKNOWN_NAME:
            return f"the name {self._address.host} is not known ({error.detail}) {doing}"
        if error.reason is Reason.SYSTEM:
            return f"{error.detail} {doing}"
        return one_line(f"what {place} answered is not HTTP: {error.detail}")


def _certificate_hint(verify_code: int) -> str:
    if verify_code in _OTHER_NAME:
        return "put the name that the certificate was made for into BOT_LEGACY_PATH"
    if verify_code in _DATES:
        return "have it renewed, or set this machine's clock"
    return (
        "let the site have one of a known authority, its intermediate certificates with it, or name the "
        "authority's file in the environment variable SSL_CERT_FILE"
    )
