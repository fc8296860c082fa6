"""The page of the checks: every finding about this installation as this web server sees it, and the same to copy."""

from __future__ import annotations

from typing import Any

from bottle import HTTPResponse

from scalable.lib.dashboard.request import DashboardRequest

# As the states of jobs are coloured.
_COLOUR_OF = {"ok": "done", "warning": "pending", "error": "failed"}


def show_checks(request: DashboardRequest) -> HTTPResponse:
    """The page, for the owner. Takes some seconds: it starts each PHP and Python it finds, and asks where the
    webhook is: where Telegram says, never where the request does."""
    if request.settings.run_checks is None:
        return request.refuse(404, "not_found")
    if not request.visitor.is_owner:
        return request.refuse(403, "hidden_here")
    environ = request.environ
    server = str(environ.get("SERVER_SOFTWARE") or "a web server without a name")
    found = request.settings.run_checks(server, _way(environ))
    errors = sum(line.verdict.value == "error" for line in found.findings)
    return request.html(200, "check.tpl", request.page("/doctor"), found=found, errors=errors, colours=_COLOUR_OF)


def _way(environ: dict[str, Any]) -> str:
    if "mod_wsgi.version" in environ:
        return "mod_wsgi"
    if any(name.startswith("PASSENGER_") for name in environ):
        return "Passenger"
    return "CGI" if str(environ.get("GATEWAY_INTERFACE", "")).startswith("CGI/") else "WSGI"
