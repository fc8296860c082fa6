"""Runs a program as a web server runs a CGI script (RFC 3875): variables in the environment, the body on its input."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

VARIABLES = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "example.com",
    "SERVER_PORT": "443",
    "HTTPS": "on",
    "HTTP_HOST": "example.com",
    "REMOTE_ADDR": "203.0.113.9",
    "SCRIPT_NAME": "/scalable/webhook_queue.py",
    "REQUEST_URI": "/scalable/webhook_queue.py",
    "QUERY_STRING": "",
}


@dataclass(frozen=True)
class CgiAnswer:
    """What the program wrote: for the visitor, and for the server's log."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    log: str
    raw: bytes = field(repr=False)


def cgi_variables(method: str, body: bytes, **changed: str) -> dict[str, str]:
    """The environment of one request."""
    length = {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json"} if method == "POST" else {}
    return {**VARIABLES, "REQUEST_METHOD": method, **length, **changed}


def run_cgi(command: Sequence[str], variables: Mapping[str, str], body: bytes = b"") -> CgiAnswer:
    """One request. Fails when what was written does not begin with a status and headers."""
    done = subprocess.run(list(command), input=body, capture_output=True, timeout=60, env=dict(variables), check=False)
    log = done.stderr.decode(errors="replace")
    head, separator, content = done.stdout.partition(b"\r\n\r\n")
    assert separator, (done.stdout, log)
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return CgiAnswer(int(headers["Status"].split()[0]), headers, content, log, done.stdout)
