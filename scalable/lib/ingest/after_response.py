"""Work that is done once the response to a request was sent, so that its client does not wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scalable.lib.errors import ScalableError
from scalable.lib.ingest.wsgi import Wsgi
from scalable.lib.logs import event

log = logging.getLogger(__name__)
_KEY = "scalable.after_response"


def do_after_response(environ: dict[str, Any], work: Callable[[], None], *, in_thread: bool = False) -> None:
    """Let `work` be done when the response to this request was sent; one a request. Its errors are logged.

    `in_thread`: in a thread of its own where the server has threads.
    """
    environ[_KEY] = work, in_thread and bool(environ.get("wsgi.multithread"))


def with_after_response(application: Wsgi) -> Wsgi:
    """`application`, whose requests may ask for that."""

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chunks = application(environ, start_response)
        return _Body(chunks, *environ.pop(_KEY)) if _KEY in environ else chunks

    return respond


class _Body:
    """The body of a response; a server calls `close` when it was sent, or when the client is gone (PEP 3333)."""

    def __init__(self, chunks: Iterable[bytes], work: Callable[[], None], in_thread: bool) -> None:
        self._chunks = chunks
        self._work = work
        self._in_thread = in_thread

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        try:
            if hasattr(self._chunks, "close"):
                self._chunks.close()
        finally:
            if self._in_thread:
                threading.Thread(target=self._do, name="after response", daemon=True).start()
            else:
                self._do()

    def _do(self) -> None:
        try:
            self._work()
        except ScalableError as error:
            log.warning(event("work after an answer failed", cause=error))
        except Exception:  # the top of this work: no caller could do better
            log.exception(event("work after an answer failed"))
