"""The dashboard: finds out who asks, and leads to the page, the action or the file. Parses, checks, calls, answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from bottle import Bottle, HTTPResponse, request

from scalable.lib.dashboard.access import Keys, Role, asked_from_elsewhere
from scalable.lib.dashboard.language import TABLES
from scalable.lib.dashboard.login import Login, log_out, switch_language
from scalable.lib.dashboard.login_attempts import LoginAttempts
from scalable.lib.dashboard.request import YEAR_SECONDS, DashboardRequest, DashboardSettings, packed
from scalable.lib.dashboard.views import FORMATS, Views
from scalable.lib.errors import ConfigurationError, DatabaseUnavailable
from scalable.lib.ingest.after_response import with_after_response
from scalable.lib.ingest.wsgi import Wsgi, with_error_boundary
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue

if TYPE_CHECKING:
    from scalable.lib.dashboard.examination import Examine

log = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_STATIC_NAME = re.compile(r"static/([a-z]+\.(?:css|js|svg))", re.ASCII)
_JOB = re.compile(r"job/([0-9]{1,18})(/payload)?", re.ASCII)
MAX_FORM_BYTES = 10_000
METHODS = ("GET", "HEAD", "POST")


class Dashboard:
    """The dashboard's answers."""

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
        self._settings = settings
        self._on_enqueued = on_enqueued

    def answer(self, path: str) -> HTTPResponse:
        """The answer to the request at hand, whose path below the script is `path`, without the first slash."""
        refused = self._refused_at_once(path)
        if refused is not None:
            return refused
        visit = DashboardRequest(self._settings)
        try:
            queue = self._open_queue()  # first, because it makes the folder that the secret is kept in
            keys = Keys(self._read_secret(), self._settings.token, self._settings.read_token)
            visit = DashboardRequest(self._settings, keys)
            login = Login(visit, keys, LoginAttempts(self._attempts_file, keys.secret))
            if request.method == "POST":
                return self._act(visit, keys, login, queue)
            return self._come_in(visit, login, path) or self._show(visit, queue, path)
        except (DatabaseUnavailable, ConfigurationError) as error:
            log.error(event("dashboard not shown", status=503, cause=error))
            return self._away(visit)

    def _refused_at_once(self, path: str) -> Optional[HTTPResponse]:
        visit = DashboardRequest(self._settings)
        if request.method not in METHODS or (request.method == "POST" and path):
            refused = visit.refuse(405, "wrong_method")
            refused.set_header("Allow", ", ".join(METHODS if not path else METHODS[:2]))
            return refused
        if request.content_length > MAX_FORM_BYTES:
            return visit.refuse(413, "too_large")
        if visit.format and visit.format not in FORMATS:
            return visit.refuse(400, "bad_format")
        return None

    def _come_in(self, visit: DashboardRequest, login: Login, path: str) -> Optional[HTTPResponse]:
        """What a GET is answered with before anything is shown; None: go on."""
        language = str(request.query.lang)
        if language in TABLES:
            return switch_language(visit, language, path) if _exists(path) else visit.refuse(404, "not_found")
        given = str(request.query.token)
        if given and visit.keys is not None and visit.keys.asks:
            return login.for_this_request(given) if visit.format else login.by_address(given, path)
        return None

    def _show(self, visit: DashboardRequest, queue: DatabaseQueue, path: str) -> HTTPResponse:
        if visit.visitor.role is Role.STRANGER and (path or self._settings.token):
            return visit.refuse(403, "ask_token" if visit.keys is not None and visit.keys.asks else "set_token")
        views, job = Views(visit, queue), _JOB.fullmatch(path)
        if path == "":
            return views.overview()
        if path == "jobs":
            return views.jobs()
        if path == "doctor" and self._settings.examine is not None:
            return self._examined(visit, self._settings.examine)
        if job is not None:
            return views.payload(int(job.group(1))) if job.group(2) else views.job(int(job.group(1)))
        return visit.refuse(404, "not_found")

    def _examined(self, visit: DashboardRequest, examine: Examine) -> HTTPResponse:
        if visit.visitor.role is not Role.OWNER:
            return visit.refuse(403, "hidden_here")
        from scalable.lib.dashboard.check_page import show_doctor  # here, because hardly any request is for it

        return show_doctor(visit, examine)

    def _act(self, visit: DashboardRequest, keys: Keys, login: Login, queue: DatabaseQueue) -> HTTPResponse:
        if request.forms.action == "login":
            return login.by_form(str(request.forms.token)) if keys.asks else visit.refuse(403, "set_token")
        if visit.visitor.role is Role.STRANGER:
            return visit.refuse(403, "ask_token" if keys.asks else "set_token")
        matches = keys.form_token_matches(str(request.forms.csrf), visit.visitor)
        if not matches or asked_from_elsewhere(visit.environ):
            return visit.refuse(403, "form_expired")
        if request.forms.action == "logout":
            return log_out(visit)
        if visit.visitor.role is not Role.OWNER:
            return visit.refuse(403, "reader_cannot")
        from scalable.lib.dashboard.actions import Actions  # here, because most requests only look

        queue.ensure_schema()  # a button may be pressed before any worker has run
        return Actions(visit, queue, self._on_enqueued).act()

    def _away(self, visit: DashboardRequest) -> HTTPResponse:
        if visit.format == "health":
            return visit.json(
                503, {"ok": False, "reasons": [{"code": "database", "text": "the database cannot be reached"}]}
            )
        return visit.refuse(503, "database_away")


def _exists(path: str) -> bool:
    return path in ("", "jobs", "doctor") or _JOB.fullmatch(path) is not None


def create_dashboard_app(
    open_queue: Callable[[], DatabaseQueue],
    read_secret: Callable[[], bytes],
    attempts_file: Path,
    settings: DashboardSettings,
    on_enqueued: Callable[[], None] = lambda: None,
) -> Wsgi:
    """A WSGI application. `attempts_file` counts wrong passwords; `announce` is called when jobs have become due, and
    must neither fail nor wait."""
    app = Bottle()
    app.catchall = False
    dashboard = Dashboard(open_queue, read_secret, attempts_file, settings, on_enqueued)

    @app.route("/", method="ANY")
    @app.route("/<path:path>", method="ANY")
    def page(path: str = "") -> HTTPResponse:
        static = _STATIC_NAME.fullmatch(path)
        if static is not None and (_STATIC / static.group(1)).is_file():
            return _static(static.group(1))
        return dashboard.answer(path)

    return with_after_response(with_error_boundary(app))


def _static(name: str) -> HTTPResponse:
    """A file that is the same for everybody; the address holds the version, so it may be kept."""
    seconds = YEAR_SECONDS if request.query.v else 3600
    headers = {"Cache-Control": f"max-age={seconds}", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
    kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[name.rpartition(".")[2]]
    body = (_STATIC / name).read_bytes()
    return packed(HTTPResponse(body, 200, {"Content-Type": f"{kind}; charset=utf-8", **headers}))
