"""A WSGI application that is built at its first request, so that importing an entry script does nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.error_boundary import Wsgi, with_error_boundary
from scalable.lib.ingest.responses import JsonResponse, refused
from scalable.lib.logs import event

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 60


class LazyApplication:
    """Builds the real application once; wrong settings answer 503 and are read again at the next request."""

    def __init__(self, build: Callable[[], Wsgi]) -> None:
        self._build = build
        self._application: Optional[Wsgi] = None
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return with_error_boundary(self._answer)(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            with self._lock:
                if self._application is None:
                    self._application = self._build()
        except ConfigurationError as error:
            return _misconfigured(error)(environ, start_response)
        return self._application(environ, start_response)


def _misconfigured(error: ConfigurationError) -> JsonResponse:
    for problem in error.problems:
        log.error(event("request refused", status=503, cause=problem))
    explanation = "the settings are wrong; run `python3 scalable/config.py` to see what to put right"
    return refused(503, explanation, {"Retry-After": str(RETRY_AFTER_SECONDS)})
