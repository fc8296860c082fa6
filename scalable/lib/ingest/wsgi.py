"""What the WSGI applications are wrapped in: built at the first request, mounted, their errors caught and logged."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.responses import refused
from scalable.lib.logs import event

log = logging.getLogger(__name__)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
RETRY_AFTER_SECONDS = 60


def with_error_boundary(application: Wsgi) -> Wsgi:
    """`application`, with a 500 in JSON and a traceback in the log for every exception that escapes it.

    5xx makes Telegram keep the update and deliver it again.
    """

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except Exception:  # the top of the request: no caller could do better
            script = str(environ.get("SCRIPT_NAME", ""))
            log.exception(event("request failed", method=environ.get("REQUEST_METHOD"), script=script))
            response = refused(500, "unexpected error; the reason is in the server's log")
            return response(environ, start_response, sys.exc_info())

    return respond


def lazy_application(build: Callable[[], Wsgi]) -> Wsgi:
    """What `build` returns, called at the first request, so that importing an entry script does nothing.

    Wrong settings are answered with 503, and read again at the next request.
    """
    built: list[Wsgi] = []
    lock = threading.Lock()

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            with lock:
                if not built:
                    built.append(build())
        except ConfigurationError as error:
            for problem in error.problems:
                log.error(event("request refused", status=503, cause=problem))
            explanation = "the settings are wrong; run `python3 scalable/config.py` to see what to put right"
            response = refused(503, explanation, {"Retry-After": str(RETRY_AFTER_SECONDS)})
            return response(environ, start_response)
        return built[0](environ, start_response)

    return with_error_boundary(respond)


def mount(scripts: Mapping[str, Wsgi], prefix: str = "") -> Wsgi:
    """A WSGI application that answers `{prefix}/{name}` with the script of that name, and 404 elsewhere.

    SCRIPT_NAME and PATH_INFO are moved as PEP 3333 asks, so that links are right wherever the site is mounted.
    """
    mounted = {f"{prefix}/{name}": application for name, application in scripts.items()}

    def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        for place, application in mounted.items():
            if path == place or path.startswith(place + "/"):
                environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + place
                environ["PATH_INFO"] = path[len(place) :]
                return application(environ, start_response)
        return refused(404, "nothing here; there is " + " and ".join(mounted))(environ, start_response)

    return site
