"""Serves one WSGI application to one CGI request (RFC 3875). Knows no application."""

from __future__ import annotations

import os
import sys
from typing import Any
from wsgiref.handlers import BaseCGIHandler


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
    handler = BaseCGIHandler(
        sys.stdin.buffer, output, sys.stderr, dict(os.environ), multithread=False, multiprocess=True
    )
    handler.run(application)
