"""Work that must not keep anybody waiting: it is done when the answer is with the web server."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scalable.lib.ingest.error_boundary import Wsgi
from scalable.lib.logs import event

log = logging.getLogger(__name__)


def after_answers(application: Wsgi, work: Callable[[], None]) -> Wsgi:
    """`application`, and `work` done after each of its answers that is a 200.

    A server calls `close` of what an application returns when it has sent all of it, or when the client is gone
    (PEP 3333). An error of `work` is logged: it concerns nobody who waits for this answer.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        followed = _Followed(work)
        followed.body = application(environ, followed.noting(start_response))
        return followed

    return answer


class _Followed:
    body: Iterable[bytes]

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._status = ""

    def noting(self, start_response: Callable[..., Any]) -> Callable[..., Any]:
        def start(status: str, *rest: Any) -> Any:
            self._status = status
            return start_response(status, *rest)

        return start

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            if self._status.startswith("200 "):
                self._follow()

    def _follow(self) -> None:
        try:
            self._work()
        except Exception:  # the top of this work: nobody above could do better
            log.exception(event("work after an answer failed"))


def end_cgi_answer() -> None:
    """Let the web server see the end of this CGI answer while the process goes on for a moment.

    mod_cgid then ends the process, by TERM and after 3 seconds by KILL: the first is ignored.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # a handler, because a child would inherit SIG_IGN
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
