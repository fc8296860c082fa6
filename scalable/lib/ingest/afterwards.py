"""Work that is done once an answer is on its way, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scalable.lib.errors import ScalableError
from scalable.lib.ingest.error_boundary import Wsgi
from scalable.lib.logs import event

log = logging.getLogger(__name__)
_KEY = "scalable.afterwards"


def do_afterwards(environ: dict[str, Any], work: Callable[[], None]) -> None:
    """Let `work` be done when the answer to this request was sent; one a request."""
    environ[_KEY] = work


def with_afterwards(application: Wsgi) -> Wsgi:
    """`application`, whose requests may ask for that. In a thread where the server has threads, else right after."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chunks = application(environ, start_response)
        work = environ.pop(_KEY, None)
        return chunks if work is None else _Answer(chunks, work, bool(environ.get("wsgi.multithread")))

    return answer


class _Answer:
    """The answer's body; a server calls `close` when it was sent (PEP 3333)."""

    def __init__(self, chunks: Iterable[bytes], work: Callable[[], None], in_thread: bool) -> None:
        self._chunks = chunks
        self._work = work
        self._in_thread = in_thread

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def close(self) -> None:
        """Begin the work."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        if self._in_thread:
            threading.Thread(target=self._guarded, name="afterwards", daemon=True).start()
        else:
            self._guarded()

    def _guarded(self) -> None:
        try:
            self._work()
        except ScalableError as error:
            log.warning(event("work after an answer failed", cause=error))
        except Exception:  # the top of a thread: nobody above could do better
            log.exception(event("work after an answer failed"))
