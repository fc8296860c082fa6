"""Calls methods of the Telegram Bot API. Beside the web layer the only place that speaks HTTP; knows no queue.

The token is a part of every address, so no message, repr or exception here holds an address, nor the words of an error
that might. Source of the form of calls and answers: Bot API, "Making requests" and ResponseParameters.
"""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any, Optional
from urllib.parse import urlsplit

from scalable.lib.errors import (
    BotApiBusy,
    BotApiError,
    BotApiRefused,
    BotApiUnanswered,
    BotApiUnreachable,
    ConfigurationError,
)
from scalable.lib.telegram.webhook_reply import JSON, MethodCall

DEFAULT_API_URL = "https://api.telegram.org"
# A call takes Telegram some tenths of a second.
DEFAULT_TIMEOUT_SECONDS = 10.0
# For each address of the server: on a host whose IPv6 leads nowhere, IPv4 must still get its turn.
CONNECT_SECONDS = 3.0
# Later than this the other side may be closing the connection just when it is used again.
IDLE_SECONDS = 15.0
TICK_SECONDS = 0.5
MAX_ANSWER_BYTES = 256 * 1024
# A hundred updates (getUpdates), each as long as Telegram makes them.
MAX_UPDATES_BYTES = 16 * 1024 * 1024
MAX_DESCRIPTION_CHARACTERS = 300
# The server wants a number, a colon, no slash and at most 80 characters (telegram-bot-api, ClientManager.cpp).
_TOKEN = re.compile(r"(?=.{3,80}\Z)[0-9]+:[A-Za-z0-9_-]+", re.ASCII)
_METHOD = re.compile(r"[A-Za-z]{1,64}")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)
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
        self._server = _read_address(api_url, tls)
        self._path = f"{self._server.path}/bot{token}/"
        self._secret = token.partition(":")[2]
        self._timeout_seconds = timeout_seconds
        self._idle: list[_Line] = []

    def __repr__(self) -> str:
        return f"BotApi({self._server.place!r})"

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
        if not _METHOD.fullmatch(call.method):
            raise ValueError(f"method {call.method!r}: expected 1 to 64 letters")
        line = self._take_line()
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        answer = _Exchange(line, self._path + call.method, call, seconds).wait(tick)
        if line.is_usable():
            self._idle.append(line)
        return self._result(answer)

    def close(self) -> None:
        """Let go of the connections; another call may follow."""
        while self._idle:
            self._idle.pop().close()

    def _take_line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.is_fresh():
                return line
            line.close()
        return _Line(self._server)

    def _result(self, answer: _Answer) -> Any:
        said = answer.said()
        if said.get("ok") is True and "result" in said:
            return said["result"]
        code, description = said.get("error_code"), said.get("description")
        if isinstance(code, int) and isinstance(description, str):
            raise self._error(code, self._shown(description), said)
        raise self._stranger(answer)

    def _error(self, code: int, description: str, said: Mapping[str, Any]) -> BotApiError:
        """The error that a Bot API server says in its own form."""
        if code == 429:
            return BotApiBusy(description, _retry_after(said.get("parameters")))
        if code >= 500:
            return BotApiUnreachable(f"{self._server.place} is failing: {description}")
        return BotApiRefused(description + _HINTS.get(code, ""), code, description)

    def _stranger(self, answer: _Answer) -> BotApiError:
        """The error that an answer in another form is: from what stands before the server, or from another one."""
        said = f"HTTP status {answer.status}"
        if answer.status == 429:
            return BotApiBusy(said, 1.0)
        if answer.status == 504:  # a gateway that waited in vain: who knows what became of the call (RFC 9110, 15.6.5)
            return BotApiUnanswered(f"{self._server.place} gave no answer: {said}")
        if answer.status >= 500:
            return BotApiUnreachable(f"{self._server.place} is failing: {said}")
        if 300 <= answer.status < 400:
            said += ", a redirect, which is not followed"
        message = f"no Bot API server answers at {self._server.place} ({said}); is BOT_API_URL right?"
        return BotApiRefused(message, answer.status, said)

    def _shown(self, text: str) -> str:
        """For a person, on one line. Telegram never repeats the token; somebody else's server might."""
        words = " ".join(text.replace(self._secret, "<token>").split())
        return "".join(c for c in words if c.isprintable())[:MAX_DESCRIPTION_CHARACTERS]


@dataclass(frozen=True)
class _Server:
    """`place` is for a person; `path` starts with a slash or is empty."""

    place: str
    host: str
    port: int
    path: str
    is_tls: bool
    given_tls: Optional[ssl.SSLContext]

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Made when first needed: reading all authorities takes some 20 ms."""
        return self.given_tls or ssl.create_default_context()


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes = field(repr=False)

    def said(self) -> Mapping[str, Any]:
        """The object in it; an empty one for anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class _Line:
    """One connection, for one thread at a time."""

    def __init__(self, server: _Server) -> None:
        self.place = server.place
        self._server = server
        self._connection: Optional[http.client.HTTPConnection] = None
        self._used = 0.0

    def open(self, seconds: float) -> None:
        """Connect, unless it is connected. Raises OSError."""
        if self._connection is not None:
            return
        server, deadline = self._server, min(CONNECT_SECONDS, seconds)
        if server.is_tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                server.host, server.port, timeout=deadline, context=server.tls
            )
        else:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=deadline)
        connection.connect()
        self._connection = connection

    def send(self, path: str, call: MethodCall, seconds: float) -> None:
        """Raises OSError when not all of it could be sent."""
        assert self._connection is not None
        self._connection.sock.settimeout(seconds)
        self._connection.request("POST", path, call.body, {"Content-Type": call.content_type})

    def receive(self, seconds: float, max_bytes: int) -> _Answer:
        """Raises OSError or HTTPException when no whole answer comes."""
        assert self._connection is not None
        self._connection.sock.settimeout(seconds)
        response = self._connection.getresponse()
        body = response.read(max_bytes)
        if not response.isclosed() and (response.length or response.read(1)):
            raise http.client.IncompleteRead(b"")
        self._used = time.monotonic()
        return _Answer(response.status, body)

    def is_usable(self) -> bool:
        """Whether another call may follow on it."""
        return self._connection is not None and self._connection.sock is not None

    def is_fresh(self) -> bool:
        """Whether the other side has very probably not closed it meanwhile."""
        if self._connection is None or time.monotonic() - self._used > IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        return not poll.poll(0)

    def abort(self) -> None:
        """From another thread: whoever waits on it waits no more."""
        sock = self._connection.sock if self._connection is not None else None
        if sock is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:  # it was over already
                return

    def close(self) -> None:
        """Safe to repeat."""
        if self._connection is not None:
            self._connection.close()


class _Exchange:
    """One call and its answer, in a thread of its own: neither a name server nor a slow answer can hold the caller.

    Whoever takes `_decision` first decides: the thread to send the call, or the caller to give up. So a call that the
    caller was told is not sent cannot be sent later.
    """

    def __init__(self, line: _Line, path: str, call: MethodCall, seconds: float) -> None:
        self._line = line
        self._path = path
        self._call = call
        self._is_large = call.method.lower() == "getupdates"
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._decision = threading.Lock()
        self._outcomes: SimpleQueue[_Answer | BotApiError] = SimpleQueue()
        try:
            threading.Thread(target=self._run, name="bot-api-call", daemon=True).start()
        except RuntimeError as error:  # the host allows this user no more of them
            raise BotApiUnreachable(f"{line.place} was not called: {error}") from error

    def wait(self, tick: Callable[[], None]) -> _Answer:
        """The answer. Raises what the call came to otherwise, and what `tick` raises."""
        try:
            while True:
                outcome = self._outcome_within(min(self._left(), TICK_SECONDS))
                if isinstance(outcome, BotApiError):
                    raise outcome
                if outcome is not None:
                    return outcome
                if self._left() <= 0:
                    raise self._given_up()
                tick()
        except BaseException:
            self._decision.acquire(blocking=False)
            self._line.abort()
            raise

    def _outcome_within(self, seconds: float) -> _Answer | BotApiError | None:
        try:
            return self._outcomes.get(timeout=max(seconds, 0.0))
        except Empty:
            return None

    def _given_up(self) -> BotApiError:
        waited = f"within {self._seconds:.3g} s"
        if self._decision.acquire(blocking=False):
            return BotApiUnreachable(f"{self._line.place} cannot be reached {waited}")
        return BotApiUnanswered(f"{self._line.place} gave no answer {waited}")

    def _left(self) -> float:
        return self._ends - time.monotonic()

    def _patience(self) -> float:
        """How long the thread waits for anything: longer than the caller, who then hangs up."""
        return max(self._left(), 0.0) + 1.0

    def _run(self) -> None:
        outcome = self._perform()
        if isinstance(outcome, BotApiError):
            self._line.close()
        self._outcomes.put(outcome)

    def _perform(self) -> _Answer | BotApiError:
        """Returns its errors: raised here they would carry the one they were made of, and with it words of others."""
        line = self._line
        try:
            line.open(self._patience())
        except OSError as error:
            return BotApiUnreachable(f"{line.place} cannot be reached: {_reason(error)}")
        if not self._decision.acquire(blocking=False):
            return BotApiUnreachable(f"{line.place} was reached when nobody waited any more")
        try:
            line.send(self._path, self._call, self._patience())
        except OSError as error:  # a part of a request is none
            return BotApiUnreachable(f"{line.place} did not take the call: {_reason(error)}")
        try:
            return line.receive(self._patience(), MAX_UPDATES_BYTES if self._is_large else MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return BotApiUnanswered(f"{line.place} took the call and gave no answer: {_reason(error)}")


def _reason(error: Exception) -> str:
    """In words that cannot hold an address: what http.client says may quote what it sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, http.client.HTTPException):
        return "the connection was closed too early, or what came is not HTTP"
    if isinstance(error, socket.timeout):
        return "it took too long"
    return str(error.strerror) if isinstance(error, OSError) and error.strerror else type(error).__name__


def _retry_after(parameters: object) -> float:
    """Seconds from ResponseParameters; one where the server forgot to say."""
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    return float(seconds) if isinstance(seconds, int) and 0 < seconds < 10**9 else 1.0


def _read_address(api_url: str, tls: Optional[ssl.SSLContext]) -> _Server:
    server = _as_server(api_url, tls)
    if server is None:
        # Shown as far as it cannot hold a password or a token.
        shown = re.sub(r"[0-9]+(?::|%3[aA])[^/]*", "<token>", re.sub(r"//[^/]*@", "//<hidden>@", api_url))
        raise ConfigurationError(f"BOT_API_URL={shown!r}: expected an address such as {DEFAULT_API_URL}, without /bot…")
    return server


def _as_server(api_url: str, tls: Optional[ssl.SSLContext]) -> Optional[_Server]:
    """None when it is not the address of one."""
    try:
        parts = urlsplit(api_url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # a port that is none, brackets without an address in them, a name nobody can look up
        return None
    path = parts.path.rstrip("/")
    place = f"{parts.scheme}://{parts.netloc}{path}"
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or place != api_url.rstrip("/"):
        return None
    if not _PATH.fullmatch(path) or path.rpartition("/")[2].startswith("bot"):
        return None
    is_tls = parts.scheme == "https"
    return _Server(place, host, port or (443 if is_tls else 80), path, is_tls, tls)
