"""The tick: an address that runs due jobs when it is fetched, for hosts whose cron can only fetch addresses."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable

from bottle import Bottle, HTTPResponse, request

from scalable.lib.errors import ExitCode, ScalableError
from scalable.lib.ingest.wsgi import Wsgi, with_error_boundary
from scalable.lib.logs import event
from scalable.lib.pool.drain_starter import DrainStarter
from scalable.lib.queue.database_queue import DatabaseQueue

log = logging.getLogger(__name__)
# Hosts end a request after 30 s.
MOST_SECONDS = 25
# For the start of the drain, and the end of a quick job.
BEYOND_SECONDS = 1.0
CLOSED = "BOT_TICK_TOKEN is empty, so this address is closed: set it in the settings file and add ?token=… here"
WRONG_TOKEN = "add ?token=… with the value of BOT_TICK_TOKEN to the address"
BUSY = "busy"
DRAIN_LOG = "the reason is in the file .ht-drain.log of the data folder"
SERVER_LOG = "the reason is in the web server's error log"
CAUSES: dict[int, str] = {
    ExitCode.BAD_CONFIGURATION: "a setting is wrong",
    ExitCode.DATABASE_UNREACHABLE: "the database cannot be reached",
    ExitCode.BOT_MISSING: "the bot or PHP is missing",
    ExitCode.NO_PROCESS_LEFT: "the host allows no more processes",
}
HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_tick_app(token: str, starter: DrainStarter, open_queue: Callable[[], DatabaseQueue]) -> Wsgi:
    """A WSGI application; closed when `token` is empty. `open_queue` returns the same queue each time."""
    app = Bottle()
    app.catchall = False

    @app.route("/", method="ANY")
    @app.route("/<path:path>", method="ANY")
    def tick(path: str = "") -> HTTPResponse:  # noqa: ARG001 - any path under the script is the tick
        if request.method not in ("GET", "HEAD", "POST"):
            return _line(405, "fetch this address with GET or POST", Allow="GET, HEAD, POST")
        if not token:
            return _line(403, CLOSED)
        if not hmac.compare_digest(request.query.token.encode("utf-8", "surrogateescape"), token.encode()):
            return _line(403, WRONG_TOKEN)
        given = request.query.seconds or str(MOST_SECONDS)
        if not re.fullmatch("[0-9]{1,3}", given, re.ASCII) or not 1 <= int(given) <= MOST_SECONDS:
            return _line(400, f"seconds={given[:20]!r}: expected a whole number from 1 to {MOST_SECONDS}")
        return _drain(int(given), starter, open_queue)

    return with_error_boundary(app)


def _drain(seconds: int, starter: DrainStarter, open_queue: Callable[[], DatabaseQueue]) -> HTTPResponse:
    try:
        queue = open_queue()
        drain = starter.start(seconds)
        if drain is None:
            return _line(200, BUSY)
        drained = drain.wait(seconds + BEYOND_SECONDS)
        drain.detach()
        if drained.exit_code in (None, ExitCode.OK):
            goes_on = ", still running" if drained.exit_code is None else ""
            waiting = queue.counts().pending
            return _line(200, f"ok {drained.runs} run, {drained.succeeded} done, {waiting} waiting{goes_on}")
        cause, where = CAUSES.get(drained.exit_code or 0, "the drain failed"), DRAIN_LOG
    except (ScalableError, OSError) as error:
        log.error(event("tick failed", status=503, cause=error))
        cause, where = CAUSES.get(getattr(error, "exit_code", 0), "no drain could be started"), SERVER_LOG
    return _line(503, f"error: {cause}; {where}")


def _line(status: int, text: str, **headers: str) -> HTTPResponse:
    return HTTPResponse(text + "\n", status, {**HEADERS, **headers})
