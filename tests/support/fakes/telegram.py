"""Telegram in front of a webhook: brings updates, again until they are taken, and performs what the answer asks for.

Written from the open Bot API server (tdlib/telegram-bot-api: WebhookActor.cpp, and HttpReader.cpp of td) and on purpose
without the worker's own reading of answers, which is compared with it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

TRIES = 5
TIMEOUT_SECONDS = 60.0
FORM = "application/x-www-form-urlencoded"
NOT_PERFORMED = ("setwebhook", "deletewebhook", "close", "logout")


class Telegram:
    """Brings updates to `webhook_url` and performs calls at `api_url`. For several threads, a chat in each."""

    def __init__(self, webhook_url: str, secret: str, api_url: str, token: str) -> None:
        self._webhook_url = webhook_url
        self._headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
        self._api_url = f"{api_url}/bot{token}"
        self.refused = 0

    def deliver(self, update: Mapping[str, Any]) -> None:
        """Return when the update was taken and its answer performed. Any 2xx takes it, at the first try or later."""
        body = json.dumps(update).encode()
        for _ in range(TRIES):
            status, content_type, answer = _post(self._webhook_url, body, self._headers)
            if 200 <= status <= 299:
                self._perform(_arguments(content_type, answer))
                return
            self.refused += 1
        raise AssertionError(f"the webhook refused update {update['update_id']} {TRIES} times: {status} {answer!r}")

    def _perform(self, arguments: Mapping[str, str]) -> None:
        method = arguments.get("method", "").lower()
        if not method or method in NOT_PERFORMED or method.startswith("get"):
            return
        parameters = {name: value for name, value in arguments.items() if name != "method"}
        _post(f"{self._api_url}/{method}", urlencode(parameters).encode(), {"Content-Type": FORM})


def _arguments(content_type: str, body: bytes) -> dict[str, str]:
    """What the server takes for arguments of a query: by the type alone, every value as text."""
    if FORM in content_type.lower():
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    if "application/json" in content_type.lower() and body.strip():
        given = json.loads(body)
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return {}


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
    """Status, type and body of the answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", address.path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read()
    finally:
        connection.close()
