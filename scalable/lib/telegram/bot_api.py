"""Calls methods of the Telegram Bot API. Does not use the queue.

The token is a part of every address, so no message, repr or exception here holds an address, nor the words of an error
that might. Source of the form of calls and answers: Bot API, "Making requests" and ResponseParameters.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from scalable.lib.deadline import Deadline
from scalable.lib.errors import (
    BotApiBusy,
    BotApiError,
    BotApiRefused,
    BotApiUnanswered,
    BotApiUnreachable,
    ConfigurationError,
    NoProcessLeft,
)
from scalable.lib.http_client.address import WebAddress, parse_web_address
from scalable.lib.http_client.client import HttpClient, HttpError, PerhapsSent, Reason, Request, Response, Stage
from scalable.lib.redaction import MAX_CHARACTERS
from scalable.lib.telegram.webhook_reply import JSON, METHOD_NAME, MethodCall

if TYPE_CHECKING:
    import ssl

DEFAULT_API_URL = "https://api.telegram.org"
# A call takes Telegram some tenths of a second.
DEFAULT_TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 3.0
# Later than this the other side may be closing the connection just when it is used again.
IDLE_SECONDS = 15.0
MAX_ANSWER_BYTES = 256 * 1024
# A hundred updates (getUpdates), each as long as Telegram makes them.
MAX_UPDATES_BYTES = 16 * 1024 * 1024
# The server requires a number, a colon, no slash and at most 80 characters (telegram-bot-api, ClientManager.cpp).
_TOKEN = re.compile(r"(?=.{3,80}\Z)[0-9]+:[A-Za-z0-9_-]+", re.ASCII)
# No user, query or fragment; a path of plain characters, whose last part is not the /bot… of a whole call.
_API_URL = re.compile(r"https?://[^/?#@]+(?:/(?!bot[^/]*\Z)[A-Za-z0-9._~-]+)*", re.ASCII)
_HINTS = {
    401: " (the token in BOT_TOKEN is wrong, or was revoked)",
    409: " (another program asks for the updates of this bot, or a webhook was set)",
    404: " (no such method, or the token in BOT_TOKEN is wrong)",
}


class BotApi:
    """The methods of one bot. Connections are kept for the next call; several threads may call at the same time.

    `token` is the one from @BotFather. `api_url` is the server, without `/bot…`; it may have a path, and may be plain
    http for a server of one's own. `timeout_seconds` is for a whole call, from looking up the name to the end of the
    answer. `tls` None: certificates are checked as Python does by default. Nothing is connected yet.
    Raises ConfigurationError, which names the setting, when token or address cannot be right.
    """

    def __init__(
        self,
        token: str,
        api_url: str = DEFAULT_API_URL,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        tls: Optional[ssl.SSLContext] = None,
    ) -> None:
        if not _TOKEN.fullmatch(token):
            raise ConfigurationError(
                "BOT_TOKEN=(hidden): expected the token from @BotFather, a number, a colon, and letters, digits, _ or -"
            )
        address = _read_address(api_url)
        self._place = api_url.rstrip("/")
        self._path = f"{address.target.rstrip('/')}/bot{token}/"
        self._secret = token.partition(":")[2]
        self._timeout_seconds = timeout_seconds
        self._client = HttpClient(address, IDLE_SECONDS, CONNECT_SECONDS, tls)

    def __repr__(self) -> str:
        return f"BotApi({self._place!r})"

    def call(
        self, method: str, parameters: Optional[Mapping[str, object]] = None, tick: Callable[[], None] = lambda: None
    ) -> Any:
        """The `result` of a method, whose parameters are anything JSON can hold. `tick` and errors as for `post`."""
        body = json.dumps(dict(parameters or {}), ensure_ascii=False).encode("utf-8")
        return self.post(MethodCall(method, JSON, body), tick=tick)

    def post(
        self, call: MethodCall, timeout_seconds: Optional[float] = None, tick: Callable[[], None] = lambda: None
    ) -> Any:
        """The `result` of a call, whose parameters are posted byte for byte, once.

        `tick` is called about twice a second; what it raises ends the wait and is passed on. Raises BotApiRefused,
        BotApiBusy and BotApiUnreachable (it was not performed), or BotApiUnanswered (it may have been).
        """
        if not METHOD_NAME.fullmatch(call.method):
            raise ValueError(f"method {call.method!r}: expected 1 to 64 letters")
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        max_bytes = MAX_UPDATES_BYTES if call.method.lower() == "getupdates" else MAX_ANSWER_BYTES
        headers = {"Content-Type": call.content_type}
        request = Request("POST", self._path + call.method, headers, call.body, max_bytes)
        try:
            response = self._client.send(request, Deadline(seconds, tick))
        except HttpError as error:
            failure = self._not_answered(error, seconds)
        except NoProcessLeft as error:
            failure = BotApiUnreachable(f"{self._place} was not called: {error.__cause__}")
        else:
            return self._result(response)
        raise failure  # here, where no error that may quote the request becomes its context

    def close(self) -> None:
        """Close the connections; another call may follow."""
        self._client.close()

    def _not_answered(self, error: HttpError, seconds: float) -> BotApiError:
        perhaps_sent = isinstance(error, PerhapsSent)
        if error.reason is Reason.DEADLINE:
            if perhaps_sent:
                return BotApiUnanswered(f"{self._place} gave no answer within {seconds:.3g} s")
            return BotApiUnreachable(f"{self._place} cannot be reached within {seconds:.3g} s")
        if perhaps_sent:
            return BotApiUnanswered(f"{self._place} took the call and gave no answer: {_why(error)}")
        failed = "did not take the call" if error.stage is Stage.SENDING else "cannot be reached"
        return BotApiUnreachable(f"{self._place} {failed}: {_why(error)}")

    def _result(self, response: Response) -> Any:
        said = _read_object(response.body)
        if said.get("ok") is True and "result" in said:
            return said["result"]
        code, description = said.get("error_code"), said.get("description")
        if isinstance(code, int) and isinstance(description, str):
            raise self._error(code, self._shown(description), said)
        raise self._stranger(response.status)

    def _error(self, code: int, description: str, said: Mapping[str, Any]) -> BotApiError:
        """The error in the Bot API's own form."""
        if code == 429:
            return BotApiBusy(description, _retry_after(said.get("parameters")))
        if code >= 500:
            return BotApiUnreachable(f"{self._place} is failing: {description}")
        return BotApiRefused(
            description + _HINTS.get(code, ""), code, description, _new_chat_id(said.get("parameters"))
        )

    def _stranger(self, status: int) -> BotApiError:
        """The error for an answer in another form: of a proxy before the server, or of another server."""
        said = f"HTTP status {status}"
        if status == 429:
            return BotApiBusy(said, 1.0)
        if status == 504:  # a gateway without a response: the call may have been performed (RFC 9110, 15.6.5)
            return BotApiUnanswered(f"{self._place} gave no answer: {said}")
        if status >= 500:
            return BotApiUnreachable(f"{self._place} is failing: {said}")
        if 300 <= status < 400:
            said += ", a redirect, which is not followed"
        message = f"no Bot API server answers at {self._place} ({said}); is BOT_API_URL right?"
        return BotApiRefused(message, status, said)

    def _shown(self, text: str) -> str:
        """For a person, on one line. Telegram never repeats the token; another server might."""
        words = " ".join(text.replace(self._secret, "<token>").split())
        return "".join(c for c in words if c.isprintable())[:MAX_CHARACTERS]


def _read_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in it; an empty one for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _why(error: HttpError) -> str:
    """In words that cannot hold an address: `detail` of what is not HTTP may quote what was sent."""
    if error.reason is Reason.CERTIFICATE:
        return f"its certificate is not trusted ({error.detail})"
    if error.reason in (Reason.CLOSED, Reason.UNUSABLE):
        return "the connection was closed too early, or what came is not HTTP"
    if isinstance(error.cause, TimeoutError):
        return "it took too long"
    return getattr(error.cause, "strerror", None) or type(error.cause).__name__


def _retry_after(parameters: object) -> float:
    """Seconds from ResponseParameters; one where the server gives none."""
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    return float(seconds) if isinstance(seconds, int) and 0 < seconds < 10**9 else 1.0


def _new_chat_id(parameters: object) -> Optional[int]:
    """Of a group that became a supergroup, from ResponseParameters."""
    number = parameters.get("migrate_to_chat_id") if isinstance(parameters, dict) else None
    return number if type(number) is int else None


def _read_address(api_url: str) -> WebAddress:
    with contextlib.suppress(ValueError):  # and thereby no context of the error below, which might quote a password
        address = parse_web_address(api_url)
        if _API_URL.fullmatch(api_url.rstrip("/")):
            return address
    # Shown as far as it cannot hold a password or a token.
    shown = re.sub(r"[0-9]+(?::|%3[aA])[^/]*", "<token>", re.sub(r"//[^/]*@", "//<hidden>@", api_url))
    raise ConfigurationError(f"BOT_API_URL={shown!r}: expected an address such as {DEFAULT_API_URL}, without /bot…")
