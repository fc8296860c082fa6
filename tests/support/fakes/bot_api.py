"""A Bot API server on this machine: real HTTP, answers in the form of the real one, and every call written down.

with FakeBotApi() as api:
    api.will("sendMessage", fails(500), drops_before_answer())  # how the next calls of this method go, in turn
    ...                                                         # BOT_API_URL is api.url
    assert api.calls[0].parameters["text"] == "hi"
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from scalable.lib.telegram.bot_api import BotApi
from tests.support.waiting import PATIENCE_SECONDS, eventually

TOKEN = "123456:TEST-token_of_nobody"
# The bot that the commands in examples/updates are meant for.
BOT = {"id": 123456, "is_bot": True, "first_name": "Test", "username": "example_scalable_bot"}
_PATH = re.compile(r"(?P<prefix>.*)/bot(?P<token>[^/]+)/(?P<method>[^/]+)")


@dataclass(frozen=True)
class Call:
    """One request as it came; `method` in lower case, as the server compares it."""

    method: str
    parameters: Mapping[str, Any]
    token: str
    prefix: str
    content_type: str
    body: bytes = field(repr=False)
    connection: int


@dataclass(frozen=True)
class Turn:
    """How one call goes, other than well. `body` None: an error in the Bot API's form, or the usual result for 200."""

    status: int = 200
    description: str = ""
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    stall_seconds: float = 0.0
    drop: str = ""


def fails(status: int, description: str = "Internal Server Error") -> Turn:
    """An error of the server, in its own form."""
    return Turn(status, description)


def refuses(description: str, status: int = 400) -> Turn:
    """An error of the caller: `Bad Request: chat not found`."""
    return Turn(status, description)


def is_busy(retry_after: int) -> Turn:
    """429, with the seconds to wait."""
    return Turn(429, f"Too Many Requests: retry after {retry_after}", retry_after)


def redirects(url: str) -> Turn:
    """302 to somewhere else."""
    return Turn(302, headers={"Location": url}, body=b"")


def says(body: bytes, status: int = 200, content_type: str = "text/html") -> Turn:
    """Whatever is not a Bot API answer, as a gateway or a web page gives it."""
    return Turn(status, headers={"Content-Type": content_type}, body=body)


def drops_before_answer() -> Turn:
    """The call is taken, and the connection closed without a word."""
    return Turn(drop="before")


def drops_in_answer() -> Turn:
    """Half of the answer comes."""
    return Turn(drop="within")


def drops_after_answer() -> Turn:
    """The connection is closed after the answer, although nobody said so."""
    return Turn(drop="after")


def stalls(seconds: float) -> Turn:
    """The answer comes after so long, or when the server is closed."""
    return Turn(stall_seconds=seconds)


class FakeBotApi:
    """The server; it answers from `with` on. Another token than `token` is unauthorized; `tls` makes it https."""

    def __init__(self, token: str = TOKEN, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.token = token
        self.calls: list[Call] = []
        self.connections = 0
        self.webhook_url = ""
        # More of what getWebhookInfo says, such as a last error.
        self.webhook_facts: dict[str, object] = {}
        # Groups that became supergroups, and their new ids.
        self.moved: dict[str, int] = {}
        # What getUpdates gives out until it is asked for a later one.
        self.updates: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._turns: dict[str, deque[Turn]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.api = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def will(self, method: str, *turns: Turn) -> None:
        """The next calls of `method` go like this, one after the other; the ones after that go well."""
        self._turns[method.lower()].extend(turns)

    def bring(self, *updates: dict[str, Any]) -> None:
        """More of what getUpdates gives out."""
        with self._changed:
            self.updates.extend(updates)
            self._changed.notify_all()

    def take_updates(self, offset: int, limit: int, seconds: float) -> list[dict[str, Any]]:
        """Forget the ones before `offset`; the next ones, once there are any."""
        with self._changed:
            self.updates[:] = [update for update in self.updates if update["update_id"] >= offset]
            self._changed.wait_for(lambda: self.updates or self.closing.is_set(), seconds)
            return self.updates[:limit]

    def wait_for_calls(self, count: int, within_seconds: float = PATIENCE_SECONDS) -> list[Call]:
        """The calls, once there are `count` of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= count, within_seconds), self.calls
            return list(self.calls)

    def forget(self) -> None:
        """Begin anew: no calls, and chats without messages."""
        with self._changed:
            self.calls.clear()

    def methods(self) -> list[str]:
        """The names of the calls, in lower case, in their order."""
        return [call.method for call in self.calls]

    def named(self, method: str) -> list[Mapping[str, Any]]:
        """The parameters of every call of that method, read as `as_read` does."""
        return [as_read(call.parameters) for call in self.calls if call.method == method.lower()]

    def close(self) -> None:
        """Answer no more."""
        self.closing.set()
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join(timeout=10)
        self._server.server_close()

    def __enter__(self) -> FakeBotApi:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def took(self, call: Call) -> Turn:
        """Write the call down; how it goes."""
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
            turns = self._turns[call.method]
            return turns.popleft() if turns else Turn()

    def connected(self) -> int:
        """The number of a new connection."""
        with self._changed:
            self.connections += 1
            return self.connections


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: FakeBotApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is what tests are about, and no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body
    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.api: FakeBotApi = self.server.api  # type: ignore[attr-defined]
        self.number = self.api.connected()

    def log_message(self, *_: object) -> None:
        """Tests read `calls`."""

    def do_GET(self) -> None:
        self._take(b"")

    def do_POST(self) -> None:
        self._take(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _take(self, body: bytes) -> None:
        address = urlsplit(self.path)
        found = _PATH.fullmatch(address.path)
        if found is None:
            self._answer(404, _error(404, "Not Found"))
            return
        content_type = self.headers.get("Content-Type", "")
        parameters = {**dict(parse_qsl(address.query, keep_blank_values=True)), **decode(body, content_type)}
        call = Call(
            found["method"].lower(), parameters, found["token"], found["prefix"], content_type, body, self.number
        )
        self._act(call, self.api.took(call))

    def _act(self, call: Call, turn: Turn) -> None:
        if turn.stall_seconds:
            self.api.closing.wait(turn.stall_seconds)
        self.close_connection = bool(turn.drop) or self.close_connection or self.api.closing.is_set()
        if turn.drop == "before":
            return
        if turn.body is not None:
            status, content = turn.status, turn.body
        elif call.token != self.api.token:
            status, content = 401, _error(401, "Unauthorized")
        elif turn.status != 200:
            status, content = turn.status, _error(turn.status, turn.description, turn.retry_after)
        else:
            status, content = usual_answer(self.api, call)
        headers = {**({"Retry-After": str(turn.retry_after)} if turn.retry_after else {}), **turn.headers}
        self._answer(status, content, headers, len(content) // 2 if turn.drop == "within" else None)

    def _answer(
        self, status: int, content: bytes, headers: Mapping[str, str] | None = None, cut_at: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut_at])


def wait_until_closed(api: BotApi) -> None:
    """Until the server's closing of the one connection that `api` keeps has arrived."""
    [(connection, _)] = api._client._idle
    eventually(lambda: not connection.is_quiet())


def decode(body: bytes, content_type: str) -> dict[str, Any]:
    """The parameters in a request's body: JSON values, texts of a form, bytes of a file; none where there are none."""
    if content_type.startswith("multipart/form-data"):
        message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        parts = message.get_payload()
        return dict(_field(part) for part in parts) if isinstance(parts, list) else {}
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def as_read(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as the server reads them, the same whatever form they came in: texts, and what was JSON in a text.

    It takes every value as a text, an object or array as the JSON of it (telegram-bot-api, HttpReader of td).
    """
    return {name: _value_as_read(value) for name, value in parameters.items()}


def _value_as_read(value: Any) -> Any:
    if not isinstance(value, str):
        return value if isinstance(value, (dict, list, bytes)) else json.dumps(value)
    try:
        return json.loads(value) if value.startswith(("{", "[")) else value
    except ValueError:
        return value


def _field(part: Any) -> tuple[str, Any]:
    content = part.get_payload(decode=True)
    name = part.get_param("name", header="Content-Disposition")
    return name, content if part.get_filename() else content.decode()


def usual_answer(api: FakeBotApi, call: Call) -> tuple[int, bytes]:
    """What the real server says when all goes well, or when something is missing."""
    make = _RESULTS.get(call.method)
    try:
        result = True if make is None else make(api, call)
    except _Conflict as conflict:
        return 409, _error(409, f"Conflict: {conflict}")
    except _Moved as moved:
        words = "Bad Request: group chat was upgraded to a supergroup chat"
        return 400, _error(400, words, migrate_to_chat_id=int(moved.args[0]))
    except KeyError as missing:
        return 400, _error(400, f"Bad Request: {missing.args[0]} is empty")
    return 200, json.dumps({"ok": True, "result": result}).encode()


def _error(status: int, description: str, retry_after: int | None = None, **parameters: int) -> bytes:
    error: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if retry_after is not None:
        parameters["retry_after"] = retry_after
    if parameters:
        error["parameters"] = parameters
    return json.dumps(error).encode()


def _message(api: FakeBotApi, call: Call) -> dict[str, Any]:
    """One of the chat's own numbering, so that it does not depend on what other chats do."""
    chat = str(call.parameters["chat_id"])
    if chat in api.moved:
        raise _Moved(api.moved[chat])
    sent = sum(call.method == "sendmessage" and str(call.parameters.get("chat_id")) == chat for call in api.calls)
    return {
        "message_id": int(call.parameters.get("message_id", sent)),
        "date": int(time.time()),
        "from": BOT,
        "chat": {"id": int(chat) if chat.lstrip("-").isdigit() else chat, "type": "private"},
        "text": call.parameters["text"],
    }


def _edited(api: FakeBotApi, call: Call) -> object:
    return True if "inline_message_id" in call.parameters else _message(api, call)


def _answer_query(_api: FakeBotApi, call: Call) -> bool:
    return bool(call.parameters["callback_query_id"])


class _Moved(Exception):
    """The chat has another id now."""


class _Conflict(Exception):
    """Updates go one way only."""


def _get_updates(api: FakeBotApi, call: Call) -> list[dict[str, Any]]:
    if api.webhook_url:
        raise _Conflict("can't use getUpdates method while webhook is active; use deleteWebhook to delete it first")
    numbers = {
        name: int(call.parameters.get(name, usual)) for name, usual in (("offset", 0), ("limit", 100), ("timeout", 0))
    }
    return api.take_updates(numbers["offset"], numbers["limit"], numbers["timeout"])


def _set_webhook(api: FakeBotApi, call: Call) -> bool:
    api.webhook_url = call.parameters.get("url", "")
    for name in ("max_connections", "allowed_updates"):
        if name in call.parameters:
            api.webhook_facts[name] = call.parameters[name]
    return True


def _delete_webhook(api: FakeBotApi, _call: Call) -> bool:
    api.webhook_url = ""
    return True


def _webhook_info(api: FakeBotApi, _call: Call) -> dict[str, Any]:
    return {"url": api.webhook_url, "has_custom_certificate": False, "pending_update_count": 0, **api.webhook_facts}


_RESULTS: dict[str, Callable[[FakeBotApi, Call], object]] = {
    "getme": lambda _api, _call: BOT,
    "getupdates": _get_updates,
    "getwebhookinfo": _webhook_info,
    "setwebhook": _set_webhook,
    "deletewebhook": _delete_webhook,
    "sendmessage": _message,
    "editmessagetext": _edited,
    "answercallbackquery": _answer_query,
}
