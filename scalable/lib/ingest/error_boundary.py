"""The last resort of every web application: what nobody foresaw is logged whole and answered without a detail."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from scalable.lib.ingest.responses import refused
from scalable.lib.logs import event

log = logging.getLogger(__name__)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_error_boundary(application: Wsgi) -> Wsgi:
    """`application`, with a 500 in JSON and a traceback in the log for every exception that escapes it.

    5xx makes Telegram keep the update and deliver it again.
    """

    def reaper(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except Exception:  # the top of the request: nobody above could do better
            log.exception(event("request failed", method=environ.get("REQUEST_METHOD"), script=_script(environ)))
            answer = refused(500, "unexpected error; the reason is in the server's log")
            return answer(environ, start_response, sys.exc_info())

    return reaper


def _script(environ: dict[str, Any]) -> str:
    return str(environ.get("SCRIPT_NAME", ""))
