"""Serves one WSGI application to one CGI request (RFC 3875). Does not import any application.

While a pool runs, few requests come this far: fast_cgi/pool_client.py hands them over to it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO
from wsgiref.handlers import BaseCGIHandler

from scalable.lib.ingest.fast_cgi.protocol import is_web_request
from scalable.lib.ingest.request_body import TOO_MANY_BYTES, content_length
from scalable.lib.ingest.wsgi import Wsgi

MAX_DRAIN_BYTES = 64 * 1024 * 1024


def in_cgi() -> bool:
    """Whether a web server started this process for one request."""
    return is_web_request(os.environb)


def serve_cgi(application: Wsgi) -> None:
    """Answer the request on standard input; only the response reaches standard output.

    Everything else that is printed goes to standard error, the server's log, because a stray line before the headers
    turns the whole response into a 500.
    """
    output = sys.stdout.buffer
    sys.stdout = sys.stderr
    variables = {
        os.fsencode(name).decode("latin-1"): os.fsencode(value).decode("latin-1") for name, value in os.environ.items()
    }
    answer_request(application, variables, sys.stdin.buffer, output, sys.stderr, multithread=False)


def end_cgi_response() -> None:
    """Let the web server see the end of this CGI response while the process goes on for a moment.

    mod_cgid then ends the process, by TERM and after 3 seconds by KILL: the first is ignored.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # a handler, because a child would inherit SIG_IGN
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def answer_request(
    application: Wsgi,
    variables: Mapping[str, str],
    stream: BinaryIO,
    output: BinaryIO,
    errors: Any,
    *,
    multithread: bool,
) -> None:
    """Write what `application` answers to the request of these variables (decoded as latin-1, PEP 3333) to `output`.

    The body is what CONTENT_LENGTH says and not a byte more: `stream` need not end there. One without a length that
    can be read is left to the application to refuse.
    """
    try:
        length = content_length(variables.get("CONTENT_LENGTH", ""))
    except ValueError:
        length = TOO_MANY_BYTES
    body = LimitedBody(stream, 0 if length == TOO_MANY_BYTES else length)
    # Apache leaves out empty variables, WSGI requires them.
    environ = {"SCRIPT_NAME": "", "PATH_INFO": "", "QUERY_STRING": "", **variables}
    _Handler(BufferedReader(body), output, errors, environ, multithread, not multithread).run(application)
    _drain(stream if "HTTP_TRANSFER_ENCODING" in variables else body)


class _Handler(BaseCGIHandler):
    os_environ: dict[str, str] = {}  # noqa: RUF012 - the request's variables are handed over, and no others


class LimitedBody(RawIOBase):
    """The next `length` bytes of a stream, and then the end, whether more follows or not."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        """It is read and not written."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As RawIOBase has it."""
        part = self._stream.read(min(len(buffer), self._left))
        buffer[: len(part)] = part
        self._left -= len(part)
        return len(part)


def _drain(body: Any) -> None:
    """Read what a refused request left unread: else a server that still writes loses our response."""
    left = MAX_DRAIN_BYTES
    while left > 0:
        chunk = body.read(min(left, 65536))
        if not chunk:
            break
        left -= len(chunk)
