"""The dashboard: identifies the visitor and routes the request to the page, the action or the file."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Optional

import bottle
from bottle import HTTPResponse

from scalable.lib.dashboard import views
from scalable.lib.dashboard.access import Keys, asked_from_elsewhere
from scalable.lib.dashboard.ended_sessions import EndedSessions
from scalable.lib.dashboard.language import NAMES
from scalable.lib.dashboard.login import Login, log_out, login_from_elsewhere, switch_language
from scalable.lib.dashboard.login_attempts import LoginAttempts
from scalable.lib.dashboard.overview import health_json
from scalable.lib.dashboard.request import YEAR_SECONDS, DashboardRequest, DashboardSettings, packed
from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, StatementRefused
from scalable.lib.ingest.after_response import with_after_response
from scalable.lib.ingest.wsgi import Wsgi, with_error_boundary
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.views.verdict import without_database

log = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_STATIC_NAME = re.compile(r"static/([a-z]+\.(?:css|js|svg))", re.ASCII)
_JOB = re.compile(r"job/([0-9]{1,18})(/payload)?", re.ASCII)
_View = Callable[[DashboardRequest, DatabaseQueue], HTTPResponse]


def create_dashboard_app(
    open_queue: Callable[[], DatabaseQueue],
    read_secret: Callable[[], bytes],
    attempts_file: Path,
    settings: DashboardSettings,
    on_enqueued: Callable[[], None] = lambda: None,
) -> Wsgi:
    """A WSGI application. `attempts_file` counts wrong passwords, and beside it is the file of the sessions that have
    ended; `on_enqueued` is called when jobs have become due, and must neither fail nor wait."""
    app = bottle.Bottle()
    app.catchall = False
    dashboard = _Dashboard(open_queue, read_secret, attempts_file, settings, on_enqueued)
    app.route(["/", "/<path:path>"], method="ANY", callback=dashboard.answer)
    return with_after_response(with_error_boundary(app))


class _Dashboard:
    def __init__(
        self,
        open_queue: Callable[[], DatabaseQueue],
        read_secret: Callable[[], bytes],
        attempts_file: Path,
        settings: DashboardSettings,
        on_enqueued: Callable[[], None],
    ) -> None:
        self._open_queue = open_queue
        self._read_secret = read_secret
        self._attempts_file = attempts_file
        self._ended = EndedSessions(attempts_file.with_name(".ht-ended-sessions"))
        self._settings = settings
        self._on_enqueued = on_enqueued

    def answer(self, path: str = "") -> HTTPResponse:
        """The answer to the request that bottle holds; `path` is below the script. HTTPResponse may also be raised."""
        static = _STATIC_NAME.fullmatch(path)
        if static is not None and (_STATIC / static.group(1)).is_file():
            return _static(static.group(1))
        request = DashboardRequest(self._settings, path)
        request.check()
        try:
            queue = self._open_queue()  # first, because it makes the folder that the secret is kept in
            keys = Keys(self._read_secret(), self._settings.token, self._settings.read_token)
            request.identify(keys, self._ended)
            return (self._act if request.method == "POST" else self._show)(request, keys, queue)
        except (DatabaseUnavailable, ConfigurationError) as error:
            log.error(event("dashboard not shown", status=503, cause=error))
            return _unavailable(request, error)

    def _show(self, request: DashboardRequest, keys: Keys, queue: DatabaseQueue) -> HTTPResponse:
        view, language, given = _view_at(request.path), str(request.query.lang), str(request.query.token)
        if language in NAMES:
            return request.refuse(404, "not_found") if view is None else switch_language(request, language)
        if given and self._settings.has_password:
            if asked_from_elsewhere(request.environ):
                return login_from_elsewhere(request, given)
            login = self._login(request, keys)
            if not request.format:
                return login.by_address(given)
            login.for_this_request(given)
        if request.visitor.is_stranger and (request.path or self._settings.has_password):
            return request.ask_for_password()
        return request.refuse(404, "not_found") if view is None else view(request, queue)

    def _act(self, request: DashboardRequest, keys: Keys, queue: DatabaseQueue) -> HTTPResponse:
        if request.form.action == "login" and self._settings.has_password:
            if asked_from_elsewhere(request.environ):
                return login_from_elsewhere(request, str(request.form.token))
            return self._login(request, keys).by_form(str(request.form.token))
        if request.form.action == "login" or request.visitor.is_stranger:
            return request.ask_for_password()
        matches = keys.form_token_matches(str(request.form.csrf), request.visitor)
        if not matches or asked_from_elsewhere(request.environ):
            return request.refuse(403, "form_expired")
        if request.form.action == "logout":
            return log_out(request, keys, self._ended)
        if not request.visitor.may_change:
            return request.refuse(403, "reader_cannot")
        from scalable.lib.dashboard.actions import Actions  # imported here, because most requests change nothing

        queue.ensure_schema()  # the first action may come before any worker has run
        return Actions(request, queue, self._on_enqueued).act()

    def _login(self, request: DashboardRequest, keys: Keys) -> Login:
        return Login(request, keys, LoginAttempts(self._attempts_file, keys.secret))


def _view_at(path: str) -> Optional[_View]:
    job = _JOB.fullmatch(path)
    if job is not None:
        return partial(views.show_payload if job.group(2) else views.show_job, job_id=int(job.group(1)))
    return {"": views.show_overview, "jobs": views.show_jobs, "doctor": _show_checks}.get(path)


def _show_checks(request: DashboardRequest, _: DatabaseQueue) -> HTTPResponse:
    from scalable.lib.dashboard.check_page import show_checks  # imported here, because few requests need it

    return show_checks(request)


def _unavailable(request: DashboardRequest, error: Exception) -> HTTPResponse:
    key, text = "database_away", "the database cannot be reached"
    if isinstance(error, StatementRefused):
        key, text = "database_refuses", "the database refuses a statement"
    elif isinstance(error, ConfigurationError):
        key, text = "settings_wrong", "a setting has to be put right"
    if request.format == "health":
        return request.json(503, health_json(without_database(text)))
    return request.refuse(503, key)


def _static(name: str) -> HTTPResponse:
    """A file that is the same for every visitor; the address holds the version, so it may be kept."""
    seconds = YEAR_SECONDS if bottle.request.query.v else 3600
    headers = {"Cache-Control": f"max-age={seconds}", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
    kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[name.rpartition(".")[2]]
    body = (_STATIC / name).read_bytes()
    return packed(HTTPResponse(body, 200, {"Content-Type": f"{kind}; charset=utf-8", **headers}))
