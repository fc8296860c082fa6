"""The dashboard: one page, its JSON, and the retry button. Parses, checks, calls one verb, answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from bottle import Bottle, HTTPError, HTTPResponse, SimpleTemplate, request, static_file

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, JobNotFound, WrongState
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.web.access import csrf_matches, csrf_token, refused
from scalable.lib.web.guard import Wsgi, guarded
from scalable.lib.web.overview import as_json, counts_by_name, error_in_a_line, read_overview
from scalable.lib.web.responses import json_response, refusal

log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
MAX_FORM_BYTES = 10_000
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
                               "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class Dashboard:
    """The dashboard's answers, one method a kind of request."""

    def __init__(
        self, open_queue: Callable[[], DatabaseQueue], read_secret: Callable[[], bytes], token: str, limit: int
    ) -> None:
        self._open_queue = open_queue
        self._read_secret = read_secret
        self._token = token
        self._limit = limit

    def show(self) -> HTTPResponse:
        """GET: the page, or the same as JSON with `?format=json`."""
        overview = read_overview(self._open_queue(), self._limit)
        if _wants_json():
            return json_response(200, as_json(overview), _SECURITY_HEADERS)
        page = _template("dashboard.tpl").render(
            counts=counts_by_name(overview.counts),
            jobs=overview.jobs,
            base=request.script_name.rstrip("/"),
            token=request.query.token if self._token else "",
            csrf=csrf_token(self._read_secret(), self._token),
            notice=_notice(),
            in_a_line=error_in_a_line,
        )
        return _page(200, page)

    def act(self) -> HTTPResponse:
        """POST from the page's own form: retry one failed job, or all of them; then back to the page."""
        if not csrf_matches(request.forms.csrf, self._read_secret(), self._token):
            return self.refuse(403, "this form is not, or no longer, from the dashboard; open the dashboard again")
        action, job_id = request.forms.action, request.forms.id
        if action == "retry" and job_id.isascii() and job_id.isdigit() and len(job_id) < 19:
            self._open_queue().requeue(int(job_id))
            log.info(event("job requeued by hand", id=job_id, address=request.remote_addr))
            return self._back(retried=job_id)
        if action == "retry-all-failed":
            count = self._open_queue().requeue_failed()
            log.info(event("failed jobs requeued by hand", count=count, address=request.remote_addr))
            return self._back(retried_all=str(count))
        return self.refuse(400, "expected action=retry with the id of a job, or action=retry-all-failed")

    def _back(self, **notice: str) -> HTTPResponse:
        query = {**({"token": request.forms.token} if self._token else {}), **notice}
        return HTTPResponse(status=303, headers={"Location": f"{request.script_name.rstrip('/')}?{urlencode(query)}"})

    def refuse(self, status: int, why: str) -> HTTPResponse:
        """A refusal in the form that was asked for."""
        if _wants_json():
            return refusal(status, why, _SECURITY_HEADERS)
        base = request.script_name.rstrip("/")
        return _page(status, _template("refusal.tpl").render(status=status, why=why, base=base))


def create_dashboard_app(
    open_queue: Callable[[], DatabaseQueue], read_secret: Callable[[], bytes], token: str, limit: int
) -> Wsgi:
    """A WSGI application. `token` empty: only loopback may open it; `limit`: how many jobs it lists."""
    app = Bottle()
    app.catchall = False
    dashboard = Dashboard(open_queue, read_secret, token, limit)

    @app.error(404)
    def not_here(error: HTTPError) -> str:  # noqa: ARG001 - the form bottle calls it in
        return "nothing here\n"

    @app.get("/static/<name:re:[a-z]+\\.(?:css|svg)>")
    def static(name: str) -> HTTPResponse:
        return static_file(name, root=str(_HERE / "static"), headers={"Cache-Control": "max-age=3600"})

    @app.route("/", method="ANY")
    def page() -> HTTPResponse:
        answer = {"GET": dashboard.show, "HEAD": dashboard.show, "POST": dashboard.act}.get(request.method)
        if answer is None:
            return refusal(405, "the dashboard takes GET and POST", {"Allow": "GET, HEAD, POST"})
        if request.content_length > MAX_FORM_BYTES:
            return dashboard.refuse(413, "this form is too large to be the dashboard's")
        given = request.forms.token if request.method == "POST" else request.query.token
        why = refused(request.environ, given, token)
        if why:
            return dashboard.refuse(403, why)
        return _answer(dashboard, answer)

    return guarded(app)


def _answer(dashboard: Dashboard, answer: Callable[[], HTTPResponse]) -> HTTPResponse:
    try:
        return answer()
    except JobNotFound as error:
        return dashboard.refuse(404, str(error))
    except WrongState as error:
        return dashboard.refuse(409, str(error))
    except (DatabaseUnavailable, ConfigurationError) as error:
        log.error(event("dashboard not shown", status=503, cause=error))
        return dashboard.refuse(503, "the database cannot be reached just now; the server's log says why")


def _wants_json() -> bool:
    return bool(request.query.format == "json")


def _notice() -> str:
    retried, retried_all = request.query.retried, request.query.retried_all
    if retried.isdigit():
        return f"Job {retried} will run again."
    if retried_all.isdigit():
        return f"{retried_all} failed jobs will run again."
    return ""


@cache
def _template(name: str) -> SimpleTemplate:
    return SimpleTemplate(name=name, lookup=[str(_HERE / "templates")])


def _page(status: int, html: str) -> HTTPResponse:
    return HTTPResponse(html, status, {"Content-Type": "text/html; charset=utf-8", **_SECURITY_HEADERS})
