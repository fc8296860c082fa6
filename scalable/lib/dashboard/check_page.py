"""The page of the checks: every finding about this installation as this web server sees it, and the same to copy."""

from __future__ import annotations

import re
from typing import Any

from bottle import HTTPResponse

from scalable.lib.dashboard.request import DashboardRequest

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
# As the states of jobs are coloured.
_COLOUR_OF = {"ok": "done", "warning": "pending", "error": "failed"}


def show_checks(request: DashboardRequest) -> HTTPResponse:
    """The page, for the owner. Takes some seconds: it starts each PHP and Python it finds, and asks its own address."""
    if request.settings.run_checks is None:
        return request.refuse(404, "not_found")
    if not request.visitor.is_owner:
        return request.refuse(403, "hidden_here")
    environ = request.environ
    server = str(environ.get("SERVER_SOFTWARE") or "a web server without a name")
    found = request.settings.run_checks(_folder_address(request), server, _way(environ))
    errors = sum(line.verdict.value == "error" for line in found.findings)
    return request.html(200, "check.tpl", request.page("/doctor"), found=found, errors=errors, colours=_COLOUR_OF)


def _folder_address(request: DashboardRequest) -> str:
    """Where the folder is on the web, as the browser sees it; empty when the Host header is none."""
    host = str(request.environ.get("HTTP_HOST", ""))
    return f"{request.scheme}://{host}{request.base.rpartition('/')[0]}" if _HOST.fullmatch(host) else ""


def _way(environ: dict[str, Any]) -> str:
    if "mod_wsgi.version" in environ:
        return "mod_wsgi"
    if any(name.startswith("PASSENGER_") for name in environ):
        return "Passenger"
    return "CGI" if str(environ.get("GATEWAY_INTERFACE", "")).startswith("CGI/") else "WSGI"
