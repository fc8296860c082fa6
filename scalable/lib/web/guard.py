"""The last resort of every web application: what nobody foresaw is logged whole and answered without a detail."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from scalable.lib.logs import event

log = logging.getLogger(__name__)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def guarded(application: Wsgi) -> Wsgi:
    """`application`, with a 500 in JSON and a traceback in the log for every exception that escapes it.

    5xx makes Telegram keep the update and deliver it again.
    """

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except Exception:  # the top of the request: nobody above could do better
            log.exception(event("request failed", method=environ.get("REQUEST_METHOD"), script=_script(environ)))
            body = {"ok": False, "error": "unexpected error; the reason is in the server's log"}
            start_response(
                "500 Internal Server Error", [("Content-Type", "application/json; charset=utf-8")], sys.exc_info()
            )
            return [json.dumps(body).encode() + b"\n"]

    return guard


def _script(environ: dict[str, Any]) -> str:
    return str(environ.get("SCRIPT_NAME", ""))
