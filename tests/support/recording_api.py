"""A Bot API server on loopback that keeps every call and answers it plausibly, whatever way a library sends it in."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
ME = {"id": 123456789, "is_bot": True, "first_name": "Example", "username": "example_scalable_bot"}


@dataclass(frozen=True)
class ApiCall:
    """`parameters` as they came, but for JSON objects and arrays in them, which are decoded; numbers may be text."""

    method: str
    parameters: Mapping[str, Any]


class RecordingApi:
    """Serves from `with` on. `refusals`: by method, the HTTP status and description it is refused with."""

    def __init__(self) -> None:
        self.calls: list[ApiCall] = []
        self.refusals: dict[str, tuple[int, str]] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self._send(*api.answer(self.path, _parameters(self)))

            do_GET = do_POST

            def _send(self, status: int, answer: Mapping[str, Any]) -> None:
                body = json.dumps(answer).encode()
                head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write(head.encode() + body)  # in one piece, or clients wait for the second one

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> RecordingApi:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def named(self, method: str) -> list[Mapping[str, Any]]:
        """The parameters of every call of that method."""
        return [call.parameters for call in self.calls if call.method == method]

    def answer(self, path: str, parameters: dict[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Keep the call; the HTTP status and the JSON of the answer."""
        place, method = urlsplit(path).path.strip("/").split("/")
        if place != f"bot{TOKEN}":
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        self.calls.append(ApiCall(method, parameters))
        if method in self.refusals:
            status, description = self.refusals[method]
            return status, {"ok": False, "error_code": status, "description": description}
        return 200, {"ok": True, "result": _result(method, parameters)}


def _result(method: str, parameters: Mapping[str, Any]) -> Any:
    if method == "getMe":
        return ME
    if method in ("sendMessage", "editMessageText"):
        chat = {"id": int(parameters.get("chat_id", 1)), "type": "private", "first_name": "Example"}
        number = int(parameters.get("message_id", 1))
        return {"message_id": number, "date": 1_700_000_000, "chat": chat, "text": str(parameters.get("text", ""))}
    return True


def _parameters(request: BaseHTTPRequestHandler) -> dict[str, Any]:
    """Of the query and the body, in each of the forms of core.telegram.org/bots/api#making-requests."""
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    kind = request.headers.get("Content-Type", "")
    found: dict[str, Any] = dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))
    if kind.startswith("application/json"):
        return {**found, **json.loads(body)}
    if kind.startswith("application/x-www-form-urlencoded"):
        found.update(parse_qsl(body.decode(), keep_blank_values=True))
    elif kind.startswith("multipart/form-data"):
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        for part in message.iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            found[name] = cast(bytes, part.get_payload(decode=True)).decode()
    return {name: json.loads(value) if value.startswith(("{", "[")) else value for name, value in found.items()}
