"""Work that must not keep anybody waiting: it is done when the answer is with the web server."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scalable.lib.logs import event
from scalable.lib.web.guard import Wsgi

log = logging.getLogger(__name__)


def after_answers(application: Wsgi, mark: str, work: Callable[[], None]) -> Wsgi:
    """`application`, and `work` done after each answer to a request that got `mark` into its environment.

    A server calls `close` of what an application returns when it has sent all of it, or when the client is gone
    (PEP 3333). An error of `work` is logged: it concerns nobody who waits for this answer.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = application(environ, start_response)
        return _Followed(body, work) if environ.get(mark) else body

    return answer


class _Followed:
    def __init__(self, body: Iterable[bytes], work: Callable[[], None]) -> None:
        self._body = body
        self._work = work

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
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
