"""Serves one WSGI application to one CGI request (RFC 3875). Knows no application."""

from __future__ import annotations

import os
import sys
from typing import Any, BinaryIO
from wsgiref.handlers import BaseCGIHandler

MAX_DRAIN_BYTES = 64 * 1024 * 1024


def in_cgi() -> bool:
    """Whether a web server started this process for one request."""
    return "GATEWAY_INTERFACE" in os.environ and "REQUEST_METHOD" in os.environ


def serve_cgi(application: Any) -> None:
    """Answer the request on standard input; only the answer reaches standard output.

    Whatever else is printed goes to standard error, the server's log, because a stray line before the headers turns
    the whole answer into a 500.
    """
    output = sys.stdout.buffer
    sys.stdout = sys.stderr
    # Apache leaves out what is empty, WSGI wants it there.
    environment = {"SCRIPT_NAME": "", "PATH_INFO": "", "QUERY_STRING": "", **os.environ}
    handler = BaseCGIHandler(
        sys.stdin.buffer, output, sys.stderr, environment, multithread=False, multiprocess=True
    )
    handler.run(application)
    _drain(sys.stdin.buffer)


def _drain(body: BinaryIO) -> None:
    """Read what a refused request left unread: a server that still writes would lose our answer with the connection."""
    left = MAX_DRAIN_BYTES
    while left > 0:
        chunk = body.read(min(left, 65536))
        if not chunk:
            break
        left -= len(chunk)
